"""Format `executorch`: a .pte file for PyTorch's runtime on telephones, by XNNPACK, one image at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Forward, Pixels
from meltpoint.export.folder import ExportError
from meltpoint.export.runtimes import extra, one_by_one, reason_of, trace_one
from meltpoint.model.card import Card
from meltpoint.params.exports import ExecutorchExport

if TYPE_CHECKING:
    from torch import nn

FILE = "model.pte"


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: ExecutorchExport,  # noqa: ARG001 - the words of every format
    calibration: Callable[[], Iterator[Pixels]],  # noqa: ARG001
) -> None:
    """Write model.pte.

    Raises:
        ExportError: the extra `executorch` is not installed, or it cannot express the model.
    """
    with extra("executorch", "An export for ExecuTorch"):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    try:
        program = trace_one(graph, card)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    except Exception as error:  # its passes raise whatever they come across
        raise ExportError(
            f"The model {card.strategy!r} cannot be written for ExecuTorch: {reason_of(error)}."
            " Remove export.executorch, or compare strategies with another encoder or head."
        ) from error
    (folder / FILE).write_bytes(lowered.buffer)


def open_forward(folder: Path, card: Card, settings: ExecutorchExport) -> Forward:  # noqa: ARG001
    """The forward pass, on the CPU.

    Raises:
        ExportError: the extra `executorch` is not installed, or the file cannot be run.
    """
    import torch

    with extra("executorch", "An export for ExecuTorch"):
        from executorch.runtime import Runtime
    try:
        method = Runtime.get().load_program(folder / FILE).load_method("forward")
    except RuntimeError as error:
        raise ExportError(
            f"{folder / FILE} cannot be run by ExecuTorch: {reason_of(error)}. Make it again: dvc repro"
        ) from None
    assert method is not None

    def answer(image: Pixels) -> Sequence[NDArray[np.float32]]:
        return [own.numpy().copy() for own in method.execute([torch.from_numpy(image)])]  # it writes there again

    return one_by_one(answer, card)
