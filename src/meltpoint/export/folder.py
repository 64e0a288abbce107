"""The folder of an export: the files of its format, the winner's card, what it was made from and how, a manifest."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from meltpoint.arrays import Forward, Pixels
from meltpoint.errors import UserError
from meltpoint.export.winner import EXPORT, Winner
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.model.card import CARD, Card, read_card
from meltpoint.model.manifest import check_manifest, write_manifest
from meltpoint.params.base import Section
from meltpoint.params.exports import Export, Exports

if TYPE_CHECKING:
    from meltpoint.export.graph import Decode
    from meltpoint.images.views import Views

BATCH, AT_ONCE = 32, 2**19  # training views that a format sees at once, and pixels: learning ranges takes 4 kB of each

Calibration = Callable[[], Iterator[Pixels]]


class ExportError(UserError, RuntimeError):
    """A model cannot be exported, or an export cannot be used."""


class ExportRecord(Section):
    """export.json: format and settings, the strategy that it was made of, and the fingerprint of its model."""

    format: str
    settings: dict[str, Any]
    strategy: str
    winner: str


def write_export(
    model: Path, fingerprint: str, name: str, settings: Export, decode: "Decode", views: "Views", folder: Path
) -> None:
    """Write the model folder `model` in the format `name` into `folder`, whole or not at all.

    Raises:
        ExportError: the format cannot express this model.
        ModelError, ManifestError: `model` holds no model that can be used.
    """
    from meltpoint.export.graph import build_graph  # and torch, which opening some formats does without

    graph, card = build_graph(model, decode)
    with whole_folder(folder) as new:
        _load(name).write(graph, card, new, settings, lambda: training_views(views))
        (new / CARD).write_bytes((model / CARD).read_bytes())
        record = ExportRecord(format=name, settings=settings.model_dump(mode="json"), strategy=model.name,
                              winner=fingerprint)  # fmt: skip
        write_json(new / EXPORT, record.model_dump(mode="json"))
        write_manifest(new)


def read_record(folder: Path) -> tuple[ExportRecord, Export]:
    """What an export was made from, and its settings.

    Raises:
        ExportError: export.json is damaged, or of a format that this version does not know.
    """
    path = folder / EXPORT
    try:
        record = ExportRecord.model_validate(read_json(path))
        return record, Exports.model_validate({record.format: record.settings}).asked[record.format]
    except (OSError, ValidationError, ValueError, KeyError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ExportError(
            f"{path} says nothing that this version can read: {reason}. Known formats are"
            f" {', '.join(Exports.model_fields)}. Restore the folder with `dvc checkout`, or make it again: dvc repro"
        ) from None


def check_made_of(folder: Path, winner: Winner) -> None:
    """Whether an export was made of this winner, as it is now.

    Raises:
        ExportError: it was made of another one, or export.json cannot be read.
    """
    record, _ = read_record(folder)
    if record.winner != winner.fingerprint:
        raise ExportError(
            f"{folder} was made of another model, of the strategy {record.strategy!r}; the winner is"
            f" {winner.strategy!r}. Make it again: dvc repro --force export@{folder.name}"
        )


def open_export(folder: Path) -> tuple[Card, Forward, bool]:
    """The card of an export, its forward pass, and whether that takes images of any size.

    The forward pass is of images uint8 (N, S, S, 3), or (N, H, W, 3), N >= 1, to probabilities by head.

    Raises:
        ManifestError: a file of the folder is not as it was written.
        ExportError, ModelError: export.json or the card cannot be read.
    """
    check_manifest(folder)
    card = read_card(folder)
    record, settings = read_record(folder)
    forward: Forward = _load(record.format).open_forward(folder, card, settings)
    return card, forward, settings.resize


def _load(name: str) -> Any:
    return import_module(f"meltpoint.export.{name}")


def training_views(views: "Views") -> Iterator[Pixels]:
    """Plain views of training images, uint8 (n, S, S, 3), in a fixed random order; of large ones few at once."""
    rows = np.random.default_rng(0).permutation(views.rows("train"))
    batch = max(1, min(BATCH, AT_ONCE // views.size**2))
    for start in range(0, len(rows), batch):
        yield np.asarray(views.plain[rows[start : start + batch]])
