"""Source kind `yoga82`: the published lists of Yoga-82, and as many of their images as could still be downloaded."""

from pathlib import Path, PurePosixPath

import pandas as pd

from meltpoint.data.delimited import read_text
from meltpoint.data.listing import (
    Coverage,
    Listing,
    PathError,
    Skipped,
    SourceError,
    files_table,
    locate,
    plain_path,
    printable,
)
from meltpoint.data.yoga82_classes import LEVELS, Poses, name_ids, read_poses
from meltpoint.params.data import Yoga82Source

SHOWN = 5  # offending classes that a message lists
KINDS = {"l6": "gesture", "l20": "group", "l82": "pose"}  # what a class without a name is called, before its id


def read(source: Yoga82Source, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the lines that have an image, with the columns `l6`, `l20` and `l82`, and count those that have none.

    With `classes` a class is called as that table says, else by its id.

    Raises:
        SourceError: a list, the table or the folder is missing, a line is not `folder/file.jpg,l6,l20,l82`, the ids
            form no tree or another than the table, or no line has an image.
    """
    lines, notes = _read_lists(source)
    _check_tree(lines)
    named, more = _named(lines, source.classes)
    root = locate(source.images, "data.source.images")
    here, extra = _here(root, lines)
    if not here.any():
        raise SourceError(
            f"None of the {len(lines):,} lines has an image; the first was looked for at {root / lines['path'][0]}. "
            "Correct data.source.images, or download the images first with `meltpoint fetch-urls`."
        )
    rows = named[here].reset_index(drop=True)
    files = files_table(list(rows["path"]), [str(root / path) for path in rows["path"]], list(rows["split"]))
    title = f"yoga82 {source.train} and {source.test}"
    coverage = _count(named["l82"], here)
    return Listing(
        title, files, rows[list(LEVELS)], ignored=extra, notes=notes + more, coverage=coverage, stated=LEVELS
    )


def _read_lists(source: Yoga82Source) -> tuple[pd.DataFrame, list[str]]:
    """Columns path and split (strings), l6, l20 and l82 (integers) of all lines, and notes."""
    parts, notes = [], []
    for split, path in (("train", source.train), ("test", source.test)):
        key = f"data.source.{split}"
        name = Path(path).name
        text, said = read_text(locate(path, key), key)
        cells = [
            _line(line, f"Line {number} of {name}", key)
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip()
        ]
        parts.append(pd.DataFrame(cells, columns=["path", *LEVELS]).assign(split=split))
        notes += said
    return pd.concat(parts, ignore_index=True), notes


def _line(line: str, where: str, key: str) -> tuple[str, int, int, int]:
    path, *ids = line.strip().rsplit(",", 3)
    if len(ids) != len(LEVELS) or not all(one.strip().isdecimal() for one in ids):
        raise SourceError(
            f"{where} is {line[:120]!r}. Allowed is `folder/file.jpg,l6,l20,l82` with three whole numbers. Correct "
            f"the line, or {key}."
        )
    try:
        l6, l20, l82 = map(int, ids)
        return plain_path(path), l6, l20, l82
    except PathError as error:
        raise SourceError(f"{where}: {error}. Correct the line: nothing outside data.source.images is read.") from None


def _check_tree(lines: pd.DataFrame) -> None:
    """Each class of a level has one parent, or a SourceError that lists those that have several."""
    for level, above in (("l82", "l20"), ("l20", "l6")):
        parents = lines.groupby(level)[above].unique()
        several = parents[parents.map(len) > 1]
        if len(several):
            shown = "; ".join(
                f"{level} {own} is under {above} {sorted(map(int, several[own]))}" for own in several.index[:SHOWN]
            )
            raise SourceError(
                f"The lists form no tree: {len(several)} classes have several parents: {shown}. Allowed is one. "
                "Correct the lines of data.source.train and data.source.test."
            )


def _named(lines: pd.DataFrame, classes: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The lines with names in place of ids, and notes."""
    kinds, poses = dict.fromkeys(LEVELS, ""), Poses({}, {}, {})
    notes: list[str] = []
    if classes is not None:
        kinds = KINDS
        poses, notes = read_poses(locate(classes, "data.source.classes"))
        _check_poses(lines, poses, Path(classes).name)
    names = {level: name_ids(lines[level], poses.names.get(level, {}), kinds[level]) for level in LEVELS}
    return lines.assign(**names), notes


def _check_poses(lines: pd.DataFrame, poses: Poses, name: str) -> None:
    """The table is about these lists: it knows every class, and says the same of its folder and its parents."""
    folder = lines["path"].map(lambda path: PurePosixPath(path).parts[0])
    for (own, l20, l6), place in lines.assign(folder=folder).groupby(["l82", "l20", "l6"])["folder"]:
        wrong = None
        if own not in poses.names["l82"]:
            wrong = "which it does not name"
        elif poses.parents and poses.parents[own] != (l6, l20):
            wrong = f"whose (l6, l20) is {(l6, l20)} in the lists, and {poses.parents[own]} there"
        elif moved := sorted({one for one in place if poses.folders.get(one, own) != own}):
            wrong = f"which has images in {moved[0]!r}, and there that folder is the class {poses.folders[moved[0]]}"
        if wrong:
            raise SourceError(
                f"{name} is the table of other lists: they have the class {own}, {wrong}. Name the table that belongs "
                "to the lists as data.source.classes, or correct it, or set it to null: then ids are the names."
            )


def _here(root: Path, lines: pd.DataFrame) -> tuple[pd.Series, list[Skipped]]:
    """Whether each line has an image, and the files beside them that no line names."""
    listed = set(lines["path"])
    held: set[str] = set()
    for folder in sorted({path.rpartition("/")[0] for path in listed}):
        if (root / folder).is_dir():
            held |= {f"{folder}/{entry.name}".lstrip("/") for entry in (root / folder).iterdir()}
    extra = sorted(path for path in held - listed if not path.rpartition("/")[2].startswith("."))
    ignored = [Skipped(printable(path), "in neither list") for path in extra if (root / path).is_file()]
    return lines["path"].isin(held), ignored


def _count(classes: pd.Series, here: pd.Series) -> dict[str, Coverage]:
    counted = here.groupby(classes).agg(["size", "sum"]).sort_index()
    return {str(name): Coverage(int(lines), int(images)) for name, lines, images in counted.itertuples()}
