"""The tables that cross a stage border: their columns, their dtypes, and the check that they have them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Flags
from meltpoint.errors import UserError
from meltpoint.files import whole_file, whole_folder
from meltpoint.params.heads import Head

SPLITS = ("train", "val", "test")
JUDGED = ("val", "test")  # the splits that predictions are made of
RESERVED = {"id": "int64", "path": "string", "group": "string", "split": "string"}
OF_IMAGE, DECLARED = "image:", "group:"  # what the names of groups of the one and of the other kind begin with
IGNORED = 255  # the id of pixels of no class in a mask: void ones, and those outside of the image
PRESENT = "|"  # between the classes that a mask shows, and around the tags of an image
NOT_KNOWN = "?"  # before a tag of which it is not known whether the image has it
MEASURED = {"width": "int64", "height": "int64", "sha256": "string"}

Classes = dict[str, list[str]]  # label -> its class names, in the order of their ids
Palettes = dict[str, list[str]]  # label of masks -> a colour "#rrggbb" for each class, in the same order


class TableError(UserError, ValueError):
    """A table does not have the columns, dtypes or values that its readers rely on."""


def check_samples(samples: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """The manifest with exactly the columns id, path, one per label, group, split, width, height, sha256.

    `id` is unique int64, `path` is unique (its name in data/raw), a label cell is one of its classes or missing,
    `group` and `split` may be missing. Columns come back in this order, text as pandas `string`. A label of masks has
    a column `<label>.mask` besides, the mask's name there; its cells name the classes on the mask (`present_in`).
    The cells of a label of tags are those of `say_tags`.
    """
    masked = [label for label in classes if mask_column(label) in samples.columns]
    columns = ["id", "path", *classes, *map(mask_column, masked), "group", "split", *MEASURED]
    dtypes = RESERVED | MEASURED | dict.fromkeys([*classes, *map(mask_column, masked)], "string")
    missing = [column for column in columns if column not in samples.columns]
    if missing:
        known = list(samples.columns)
        raise TableError(f"The table of samples lacks {missing}; it has {known}. Run `dvc repro download` again.")
    table = samples[columns].astype({column: dtypes[column] for column in columns}).reset_index(drop=True)
    for column in ("id", "path"):
        if not table[column].is_unique:
            twice = table[column][table[column].duplicated()].iloc[0]
            raise TableError(f"Two samples have the same {column}: {twice!r}. Each image may stand in the table once.")
    for label, names in classes.items():
        cells = set(table[label].dropna())
        several = label in masked or holds_tags(table[label])
        named = {name.removeprefix(NOT_KNOWN) for name in present_in(cells)} if several else cells
        unknown = sorted(named - set(names))
        if unknown:
            raise TableError(f"Label {label!r} has the unknown classes {unknown}; known are {names}.")
    return table


def is_declared(group: str) -> bool:
    """Whether the name that the split stage gave a group is one that the source declared, and not one of its images."""
    return not group.startswith(OF_IMAGE)


def mask_column(label: str) -> str:
    """The column with the paths of the masks of a label."""
    return f"{label}.mask"


def say_present(names: Iterable[str]) -> str:
    """The label cell of an image whose mask has pixels of these classes."""
    return PRESENT.join(names)


def present_in(cells: Iterable[str]) -> set[str]:
    """The classes that label cells of masks name."""
    return {name for cell in cells for name in cell.split(PRESENT) if name}


def say_tags(tags: Iterable[str], unknown: Iterable[str] = ()) -> str:
    """The label cell of an image with these tags, `|beach|dog|`; `|` for none; `?cat` where it is not known of cat."""
    return "".join(f"{PRESENT}{tag}" for tag in [*tags, *(f"{NOT_KNOWN}{tag}" for tag in unknown)]) + PRESENT


def holds_tags(cells: "pd.Series[str]") -> bool:
    """Whether label cells (N,) are those of tags: all that are known begin and end as `say_tags` has it."""
    known = cells.dropna()
    return bool(len(known) and known.str.startswith(PRESENT).all() and known.str.endswith(PRESENT).all())


def read_tags(cells: "pd.Series[str]", names: Sequence[str]) -> NDArray[np.int8]:
    """Which tags images have, of label cells (N,): int8 (N, K), 1 or 0, and -1 where it is not known."""
    places = {name: place for place, name in enumerate(names)}
    found = np.full((len(cells), len(names)), -1, np.int8)
    for row, cell in enumerate(cells):
        if not pd.isna(cell):
            found[row] = 0
            for tag in filter(None, cell.split(PRESENT)):
                found[row, places[tag.removeprefix(NOT_KNOWN)]] = -1 if tag.startswith(NOT_KNOWN) else 1
    return found


def shows_several(samples: pd.DataFrame, label: str) -> bool:
    """Whether a sample may belong to several classes of a label: those on its mask, or its tags."""
    return mask_column(label) in samples or holds_tags(samples[label])


def memberships(samples: pd.DataFrame, label: str, names: list[str]) -> Flags:
    """Whether each sample belongs to each class, shows it on its mask, or has it as a tag: (N, C)."""
    if mask_column(label) not in samples and holds_tags(samples[label]):
        return np.asarray(read_tags(samples[label], names) == 1)
    cells = samples[label].fillna("").to_numpy(dtype=object)
    if mask_column(label) not in samples:
        return np.asarray(cells[:, None] == np.array(names, dtype=object), dtype=np.bool_)
    shown = [present_in([cell]) for cell in cells]
    return np.array([[name in one for name in names] for one in shown], dtype=np.bool_).reshape(-1, len(names))


def write_samples(samples: pd.DataFrame, path: Path) -> None:
    """Write a table of samples as CSV in UTF-8 with `\\n` line ends."""
    with whole_file(path) as temporary:
        samples.to_csv(temporary, index=False, lineterminator="\n")


def read_samples(path: Path, classes: Classes) -> pd.DataFrame:
    """Read and check a table of samples; only an empty cell is missing, a class may be called NA."""
    texts = [*classes, *map(mask_column, classes)]
    dtypes = {**RESERVED, **MEASURED, **dict.fromkeys(texts, "string")}
    table = pd.read_csv(path, dtype=dtypes, keep_default_na=False, na_values=[""], encoding="utf-8")
    return check_samples(table, classes)


def write_splits(samples: pd.DataFrame, folder: Path) -> None:
    """Write `folder`/{train,val,test}.csv from the rows' `split`, each sorted by id: all three or none."""
    with whole_folder(folder) as temporary:
        for split in SPLITS:
            write_samples(samples[samples["split"] == split].sort_values("id"), temporary / f"{split}.csv")


def read_splits(folder: Path, classes: Classes) -> pd.DataFrame:
    """All splits as one table of samples, sorted by id; `split` is train, val or test."""
    parts = [read_samples(folder / f"{split}.csv", classes) for split in SPLITS]
    return check_samples(pd.concat(parts).sort_values("id"), classes)


def read_classes(path: Path) -> Classes:
    """Read data/classes.json."""
    classes: Classes = json.loads(path.read_text(encoding="utf-8"))
    return classes


def labels_of(samples: pd.DataFrame, head: Head) -> "pd.Series[str]":
    """The classes (N,) that a head should answer; missing where an image has no label, or the head is not about it."""
    labels = samples[head.label]
    return labels if head.where is None else labels.where(samples[head.where.label].isin(head.where.is_in))


# predictions: a row per image of val and test; per head the true class, the answer, the probability of each class

IDENTITY = ["id", "path", "split", "group"]  # the columns that say which image a row of predictions is about


def label_column(head: str) -> str:
    """The column with the true class name of a head; missing where the image has no label."""
    return f"{head}.label"


def answer_column(head: str) -> str:
    """The column with the class name that a head answers, by its threshold, or by the tree it stands in."""
    return f"{head}.answer"


def probability_columns(head: str, classes: Sequence[str]) -> list[str]:
    """The columns with the probability of each class, float32, in class order; they sum to 1, but for tags."""
    return [f"{head}.p.{name}" for name in classes]


def check_predictions(predictions: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """The columns of `IDENTITY` and, per head of `classes`, its label, its answer and its probabilities.

    `group` is a string in each row: images of one group are no independent evidence.

    Raises:
        TableError: a column is missing, or an image has no group.
    """
    columns = []
    for head, names in classes.items():
        columns += [label_column(head), answer_column(head), *probability_columns(head, names)]
    return _check_columns(predictions, columns)


def write_predictions(predictions: pd.DataFrame, path: Path) -> None:
    """Write predictions as Parquet."""
    with whole_file(path) as temporary:
        predictions.to_parquet(temporary, index=False)


def read_predictions(path: Path, classes: Classes) -> pd.DataFrame:
    """Read and check predictions."""
    return check_predictions(pd.read_parquet(path), classes)


REPEATS = "repeats.parquet"  # predictions of the trainings of one strategy with other seeds, with a column more:
REPEAT = "repeat"  # the number of the training, int64, from 2 on; the first is in predictions.parquet


# predictions of masks: a row per image of val and test; per head counts of its pixels, void ones left out

PIXELS = ("tp", "fp", "fn")  # of each class
# Of each class, pixels on the border of the answer, those of them near the true border, and the other way round.
BORDERS = ("said", "said_near", "true", "true_near")


def pixel_column(head: str, count: str, name: str) -> str:
    """The column with a count (one of `PIXELS`) of pixels of a class, int64."""
    return f"{head}.{count}.{name}"


def border_column(head: str, count: str, name: str) -> str:
    """The column with a count (one of `BORDERS`) of border pixels of a class, int64."""
    return f"{head}.border.{count}.{name}"


def confusion_column(head: str) -> str:
    """The column with a list of C * C counts of pixels, row after row; a row is a true class."""
    return f"{head}.confusion"


def area_column(head: str, name: str) -> str:
    """The column with the share of a picture that a class has, where a table has areas instead of counts."""
    return f"{head}.area.{name}"


def check_counts(predictions: pd.DataFrame, classes: Classes) -> pd.DataFrame:
    """The columns of `IDENTITY` and, per head of `classes`, counts of pixels, of border pixels, and all pairs.

    Raises:
        TableError: a column is missing, or an image has no group.
    """
    columns = []
    for head, names in classes.items():
        columns += [pixel_column(head, count, name) for count in PIXELS for name in names]
        columns += [border_column(head, count, name) for count in BORDERS for name in names]
        columns.append(confusion_column(head))
    return _check_columns(predictions, columns)


def read_counts(path: Path, classes: Classes) -> pd.DataFrame:
    """Read and check predictions of masks."""
    return check_counts(pd.read_parquet(path), classes)


def _check_columns(predictions: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The columns of `IDENTITY` and these, rows numbered again; `group` is a pandas `string` that each image has."""
    wanted = [*IDENTITY, *columns]
    missing = [column for column in wanted if column not in predictions.columns]
    if missing:
        raise TableError(f"The table of predictions lacks {missing[:4]}. Run the evaluate stage again.")
    table = predictions[wanted].astype({"group": "string"}).reset_index(drop=True)
    alone = table["group"].isna() | (table["group"] == "")
    if alone.any():
        raise TableError(
            f"{int(alone.sum()):,} of {len(table):,} images of the table of predictions have no group, the first is "
            f"{table['path'][alone].iloc[0]!r}. The split stage gives each image a group, if only one of its own. Run "
            "`dvc repro` from the split stage on."
        )
    return table
