"""What was recognised at a path: how params.yaml names it, its rows as the pipeline will read them, and notes."""

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from meltpoint.data.labels import build_labels
from meltpoint.data.listing import Listing, SourceError, repository
from meltpoint.data.read_source import read_source
from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.params.data import Label
from meltpoint.params.sources import Source
from meltpoint.tables import MEASURED, PRESENT, RESERVED, Classes

LABELS = TypeAdapter(dict[str, Label])
SCRATCH = Path(".checkpoints/init")  # below the working directory: ignored by git and DVC
SPREADSHEETS = (".xlsx", ".xls", ".ods")  # some are zips
GENERIC = {
    "data", "dataset", "datasets", "images", "image", "imgs", "photos", "pictures", "jpegimages", "raw", "train",
}  # fmt: skip
TAKEN = {*RESERVED, *MEASURED, "size", "nfiles", "class", "classes"}  # of tables, of DVC, and what says nothing


class InitError(UserError, ValueError):
    """A path holds nothing that the pipeline reads."""


@dataclass(frozen=True)
class TaskDefaults:
    """What params.yaml starts from for a task.

    preset: the file. several: whether an image may be of several classes. metric: what decides; None: the classes say.
    largest: the largest side that pays.
    copies: how many augmented ones are stored, and how many where time is short. crop: the least share of an image.
    """

    preset: Path
    dense: bool
    several: bool
    metric: str | None
    largest: int
    copies: tuple[int, int]
    crop: float
    batch: int
    split: Mapping[str, Any]
    probes: Mapping[str, Mapping[str, Any]]


DUPLICATES = {"hash_distance": 64, "correlation": 0.8, "common": 0.005, "tables": 64, "above": 300_000}
CLASSIFICATION = TaskDefaults(
    preset=Path("presets/elpv.yaml"),
    dense=False,
    several=False,
    metric=None,
    largest=288,
    copies=(8, 4),
    crop=0.6,
    batch=32,
    split={"duplicates": DUPLICATES},
    probes={},
)
TAGGING = replace(
    CLASSIFICATION, preset=Path("presets/tags.yaml"), several=True, metric="micro_f1", copies=(4, 2), crop=0.8
)
SEGMENTATION = TaskDefaults(
    preset=Path("presets/camvid.yaml"),
    dense=True,
    several=True,
    metric="miou",
    largest=320,
    copies=(6, 2),
    crop=0.5,
    batch=8,
    split={},
    probes={"frozen": {"epochs": 20, "weight_decays": [0.0]}, "finetune": {"epochs": 10}},
)


@dataclass(frozen=True)
class Table:
    """A table that the pipeline reads, made of what it cannot read itself; `listing` is how it will."""

    path: Path
    rows: pd.DataFrame
    listing: Listing


@dataclass(frozen=True)
class Found:
    """A layout that was recognised.

    layout: in words. name: what the data are called. source, labels: sections of params.yaml as plain mappings.
    main: the label that decides. listing: the rows, as the pipeline reads them. cells: of each label, the class of each
    row or missing; of masks and tags all that it shows, `PRESENT` between them. classes: of each label, in order.
    levels: labels that form a tree, root first. group: the column whose rows belong together.
    notes: what was found and taken. warnings: what the user should fix, each with how.
    """

    layout: str
    name: str
    source: dict[str, Any]
    labels: dict[str, dict[str, Any]]
    main: str
    listing: Listing
    cells: pd.DataFrame
    classes: Classes
    task: TaskDefaults = CLASSIFICATION
    levels: list[str] = field(default_factory=list)
    group: str | None = None
    table: Table | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def shown(self, label: str, name: str) -> "pd.Series[bool]":
        """Whether each row belongs to a class, has it as a tag, or shows it on its mask."""
        cells = self.cells[label].fillna("")
        if self.task.several:
            return cells.map(lambda cell: name in cell.split(PRESENT)).astype(bool)
        return (cells == name).astype(bool)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many images each class of each label has."""
        return {
            label: {name: int(self.shown(label, name).sum()) for name in names} for label, names in self.classes.items()
        }


def label_cells(listing: Listing, labels: Mapping[str, Any]) -> tuple[pd.DataFrame, Classes]:
    """The cells and classes of labels that are made of columns, as the download stage will make them.

    Raises:
        LabelError, SourceError: a column holds what cannot be a class, or folders that are most likely none.
    """
    checked: dict[str, Label] = LABELS.validate_python(dict(labels))
    if listing.class_warning:
        raise SourceError(listing.class_warning)
    rows = listing.columns.set_axis(pd.Index(listing.files["path"]), axis="index")
    cells, classes = build_labels(rows, checked, listing.stated)
    return cells.reset_index(drop=True), classes


def read_listing(source: Mapping[str, Any]) -> Listing:
    """The rows of a source, as the download stage will read them.

    Raises:
        UserError: the pipeline cannot read it.
    """
    checked: Source = TypeAdapter(Source).validate_python(source)
    return read_source(checked, SCRATCH.absolute())


def shown_path(path: Path) -> str:
    """A path as params.yaml names it: relative to the repository if it is inside, else absolute."""
    absolute, root = Path(os.path.normpath(Path.cwd() / path)), repository()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)


def data_name(path: Path) -> str:
    """What data at a path are called: the folder's or file's name, or that of the first one above that says more."""
    absolute = Path(os.path.normpath(Path.cwd() / path))
    stem = re.sub(r"(\.(tar|zip|csv|tsv|txt|json|parquet|gz|tgz|bz2|xz))+$", "", absolute.name, flags=re.I)
    names = [stem, *(parent.name for parent in absolute.parents)]
    return next((name for name in names if name and name.casefold() not in GENERIC), stem)


def label_name(text: str, fallback: str = "label") -> str:
    """A name that params.yaml takes, as like `text` as can be: letters, digits, `_` and `-`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-").lower()
    if not name:
        return fallback
    return f"{name}_label" if name in TAKEN else name


def make_table(name: str, rows: pd.DataFrame, source: Mapping[str, Any]) -> tuple[Table, dict[str, Any]]:
    """A table to be written below data/, and the source that names it; `source` says the rest of it."""
    place = Path("data") / f"{label_name(name, 'images')}-table.csv"
    scratch = SCRATCH / place.name
    with whole_file(scratch) as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")
    made = {**source, "table": str(scratch.absolute()), "separator": ",", "header": None}
    listing = read_listing(made)
    return Table(place, rows, listing), {**made, "table": shown_path(place)}


def plural(count: int, word: str) -> str:
    """`1 image`, `2,000 images`, `3 classes`."""
    more = "es" if word.endswith(("s", "x", "ch")) else "s"
    return f"{count:,} {word if count == 1 else word + more}"


def examples(names: list[str], most: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
