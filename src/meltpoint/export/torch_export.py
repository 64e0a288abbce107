"""Format `torch_export`: an archive of torch.export, the successor of TorchScript, for programs that have torch alone.

torch keeps the example that a model was traced with as a pickle, and would run one that it is given. So archives are
written without, and only such archives are opened.
"""

import json
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meltpoint.arrays import Forward, Pixels, Probabilities
from meltpoint.export.folder import ExportError
from meltpoint.export.runtimes import free_sizes, reason_of, separate
from meltpoint.model.card import Card
from meltpoint.params.exports import TorchExport

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

FILE = "model.pt2"
EXAMPLE = "/data/sample_inputs/model.pt"  # after the name of the archive
CONFIGS = ("model_weights_config.json", "model_constants_config.json")


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: TorchExport,
    calibration: Callable[[], Iterator[Pixels]],  # noqa: ARG001 - the words of every format
) -> None:
    """Write model.pt2, for any number of images.

    Raises:
        ExportError: torch.export cannot express the model.
    """
    import torch

    from meltpoint.export.resizing import Resized

    graph = Resized(separate(graph), card.images) if settings.resize else separate(graph)
    example, shapes = free_sizes(card, settings.resize)
    try:
        program = torch.export.export(graph, example, dynamic_shapes=shapes)
    except Exception as error:  # its passes raise whatever they come across
        raise ExportError(
            f"The model {card.strategy!r} cannot be written by torch.export: {reason_of(error)}."
            " Remove export.torch_export, or compare strategies with another encoder or head."
        ) from error
    write_archive(program, folder / FILE)


def write_archive(program: "ExportedProgram", path: Path) -> None:
    """Write a program as an archive without a pickle.

    Raises:
        ExportError: torch keeps one of its tensors as a pickle.
    """
    import torch

    whole = BytesIO()  # torch ends the process where a disk is full
    torch.export.save(program, whole)
    with zipfile.ZipFile(whole) as made, zipfile.ZipFile(path, "w") as kept:
        for member in made.infolist():
            kept.writestr(member, b"" if member.filename.endswith(EXAMPLE) else made.read(member))
    check_unpickled(path)


def open_forward(folder: Path, card: Card, settings: TorchExport) -> Forward:  # noqa: ARG001
    """The forward pass, on the CPU.

    Raises:
        ExportError: the file is no archive of torch.export, or holds a pickle.
    """
    import torch

    check_unpickled(folder / FILE)
    try:
        module = torch.export.load(folder / FILE).module()
    except Exception as error:  # noqa: BLE001 - it raises whatever it comes across
        raise ExportError(
            f"{folder / FILE} cannot be read by torch: {reason_of(error)}. Make it again: dvc repro"
        ) from None

    def forward(images: Pixels) -> Probabilities:
        with torch.inference_mode():
            found = module(torch.from_numpy(np.ascontiguousarray(images)))
        return {head: own.numpy() for head, own in zip(card.heads, found, strict=True)}

    return forward


def check_unpickled(path: Path) -> None:
    """Whether an archive of torch.export can be loaded without unpickling anything.

    Raises:
        ExportError: it holds a pickle, or is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            pickled = [one.filename for one in members if one.filename.endswith(".pt") and one.file_size]
            for config in (one for one in members if one.filename.endswith(CONFIGS)):
                entries = json.loads(archive.read(config))["config"].values()
                pickled += [str(one["path_name"]) for one in entries if one["use_pickle"]]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} is no archive of torch.export: {error}. Make it again: dvc repro") from None
    if pickled:
        raise ExportError(
            f"{path} holds pickles, which run what they say: {', '.join(pickled[:3])}. Allowed are archives without, as"
            " Meltpoint writes them. Make it again: dvc repro"
        )
