"""Source kind `yoga82`: the published lists of Yoga-82, and as many of their images as could still be downloaded."""

from pathlib import Path, PurePosixPath

import pandas as pd

from meltpoint.data.delimited import read_text
from meltpoint.data.listing import (
    ListCoverage,
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
from meltpoint.params.sources import Yoga82Source

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
    kinds, poses = dict.fromkeys(LEVELS, ""), Poses({}, {}, {})
    if source.classes is not None:
        kinds = KINDS
        poses, more = read_poses(locate(source.classes, "data.source.classes"))
        notes += more
        _check_poses(lines, poses, Path(source.classes).name)
    names = {level: name_ids(lines[level], poses.names.get(level, {}), kinds[level]) for level in LEVELS}
    named = lines.assign(**names)
    root = locate(source.images, "data.source.images")
    here, extra = _here(root, lines)
    if not here.any():
        raise SourceError(
            f"None of the {len(lines):,} lines has an image; the first was looked for at {root / lines['path'][0]}. "
            "Correct data.source.images, or download the images first with `meltpoint fetch-urls`."
        )
    rows = named[here].reset_index(drop=True)
    files = files_table(list(rows["path"]), [str(root / path) for path in rows["path"]], list(rows["split"]))
    counted = here.groupby(named["l82"]).agg(["size", "sum"]).sort_index()
    return Listing(
        title=f"yoga82 {source.train} and {source.test}",
        files=files,
        columns=rows[list(LEVELS)],
        ignored=extra,
        notes=notes,
        coverage={str(name): ListCoverage(int(lines), int(images)) for name, lines, images in counted.itertuples()},
        stated=LEVELS,
    )


def _read_lists(source: Yoga82Source) -> tuple[pd.DataFrame, list[str]]:
    """Columns path and split (strings), l6, l20 and l82 (integers) of all lines, and notes."""
    parts, notes = [], []
    for split, path in (("train", source.train), ("test", source.test)):
        key = f"data.source.{split}"
        text, more = read_text(locate(path, key), key)
        notes += more
        rows = []
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            where = f"Line {number} of {Path(path).name}"
            file, *ids = line.strip().rsplit(",", 3)
            if len(ids) != len(LEVELS) or not all(one.strip().isdecimal() for one in ids):
                raise SourceError(
                    f"{where} is {line[:120]!r}. Allowed is `folder/file.jpg,l6,l20,l82` with three whole numbers. "
                    f"Correct the line, or {key}."
                )
            try:
                rows.append((plain_path(file), *map(int, ids)))
            except PathError as error:
                raise SourceError(
                    f"{where}: {error}. Correct the line: nothing outside data.source.images is read."
                ) from None
        parts.append(pd.DataFrame(rows, columns=["path", *LEVELS]).assign(split=split))
    return pd.concat(parts, ignore_index=True), notes


def _check_poses(lines: pd.DataFrame, poses: Poses, name: str) -> None:
    """Check that the table fits the lists: it knows every class, and has the same folder and parents for it."""
    folder = lines["path"].map(lambda path: PurePosixPath(path).parts[0])
    for (own, l20, l6), place in lines.assign(folder=folder).groupby(["l82", "l20", "l6"])["folder"]:
        wrong = None
        if own not in poses.names["l82"]:
            wrong = "which it does not name"
        elif poses.parents and poses.parents[own] != (l6, l20):
            wrong = f"whose (l6, l20) is {(l6, l20)} in the lists, and {poses.parents[own]} in the table"
        elif moved := sorted({one for one in place if poses.folders.get(one, own) != own}):
            folder_id = poses.folders[moved[0]]
            wrong = f"which has images in {moved[0]!r}, and in the table that folder is the class {folder_id}"
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
