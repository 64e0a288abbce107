"""Brings a dataset in: every image decoded once and copied, or listed with the reason why not; complete or absent."""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.data.labels import NO_NAME, build_labels, check_counts, written_missing
from meltpoint.data.listing import Aside, Listing, SourceError, nearest, read_source
from meltpoint.data.masks import FOLDER, Masked, count_pixels, mask_path, masked_label, palettes_of, with_masks
from meltpoint.data.names import Names, read_names
from meltpoint.data.report import build_report, closing_sentence
from meltpoint.errors import UserError
from meltpoint.files import whole_folder, write_json
from meltpoint.params.data import Data, MaskLabel, NamesLabel
from meltpoint.progress import track
from meltpoint.tables import Classes, Palettes, check_samples

SHOWN = 10  # unusable images that a message lists
CHUNK = 1_000_000  # bytes
SCRATCH = Path(".checkpoints/download")  # below the working directory: ignored by git and DVC, no out of any stage

Inspect = Callable[[Path, float], tuple[int, int]]
Normalise = Callable[[Path, Path, MaskLabel, tuple[int, int]], NDArray[np.int64]]


class CollectError(UserError, ValueError):
    """A dataset cannot be brought in as it is."""


class _MaskError(UserError, ValueError):
    """An image whose mask cannot be used."""


@dataclass(frozen=True)
class Collected:
    """A dataset that lies whole in data/raw.

    samples: as `tables.check_samples` says, sorted by path, ids 0 to N-1 in that order.
    names: of classes for people, {label: {language: {class: name}}}.
    palettes: of labels of masks, a colour "#rrggbb" for each class.
    report: what reports/data.json holds.
    """

    samples: pd.DataFrame
    classes: Classes
    names: Names
    palettes: Palettes
    report: dict[str, Any]
    sentence: str


Job = tuple[str, str, str]  # path below data/raw, origin, origin of the mask


@dataclass(frozen=True)
class _Copy:
    """An image that was copied and decoded: pixels as decoded, size in bytes, pixels of each class of its mask."""

    width: int
    height: int
    sha256: str
    bytes: int
    pixels: tuple[int, ...]


def collect(data: Data, raw: Path, report: Path, inspect: Inspect, normalise: Normalise) -> Collected:
    """Read the source, make the labels, and copy every image that `inspect` can decode to `raw`.

    `inspect(path, max_megapixels)` gives (width, height) as decoded, or raises a UserError with a `.reason`.
    `normalise(origin, target, label, (width, height))` writes a mask of class ids and gives the pixels of each class
    and of none (C + 1,), or raises such an error. What was met is written to the file `report`, also when there are too
    many unusable images to go on.

    Raises:
        SourceError, LabelError, NamesError, ArchiveError, FetchError: the source is not as params.yaml says.
        CollectError: too many unusable images, rows that contradict each other, no rows, or no room on the disk.
    """
    _sweep(raw)
    masked = masked_label(data.labels)
    try:
        listing = read_source(data.source, SCRATCH.absolute())
        table, classes = _labelled(listing, data)
        named = read_names(data.names, classes)
        missing = written_missing(listing.columns, data.labels, listing.stated)
        listing = replace(listing, notes=listing.notes + named.notes + missing)
        table, repeated = _once(table)
        _check_room(table, raw)
        with whole_folder(raw) as folder:
            copy = partial(_copy, folder, data.max_megapixels, inspect, normalise, masked)
            samples, unusable, pixels = _copied(table, copy, masked)
            unusable = sorted(listing.unusable + unusable, key=lambda aside: aside.path)
            met = build_report(listing, samples, classes, unusable, repeated) | {"bad_allowed": data.max_bad}
            met |= {"pixels": {masked.name: count_pixels(masked, pixels)} if masked else {}}
            write_json(report, met)
            _check_bad(unusable, table, data.max_bad, report)
            check_counts(met["labels"])
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    sentence = closing_sentence(met)
    return Collected(check_samples(samples, classes), classes, named.names, palettes_of(data.labels), met, sentence)


def _sweep(raw: Path) -> None:
    """Remove what a killed run left: its scratch folder, and the half of `raw` under its temporary name."""
    for left in (SCRATCH, *raw.parent.glob(f".{raw.name}.*")):
        shutil.rmtree(left, ignore_errors=True)


def _labelled(listing: Listing, data: Data) -> tuple[pd.DataFrame, Classes]:
    """The columns path, origin, split, group and one per label, sorted by path."""
    if not len(listing.files) and not listing.unusable:
        raise CollectError(f"The source ({listing.title}) holds no images. Correct data.source in params.yaml.")
    if listing.doubt and any(isinstance(label, NamesLabel) and label.classes is None for label in data.labels.values()):
        raise SourceError(listing.doubt)
    columns = listing.columns.set_axis(pd.Index(listing.files["path"]), axis="index")
    labels, classes = build_labels(columns, data.labels, listing.stated)
    table = pd.concat([listing.files, labels.reset_index(drop=True)], axis="columns")
    table["group"] = _group(listing.columns, data.group, listing.stated)
    return table.sort_values("path", kind="stable", ignore_index=True), classes


def _group(columns: pd.DataFrame, name: str | None, stated: Collection[str]) -> pd.Series:
    """The raw column that keeps rows together, as strings; missing where the cell is, or no column is named."""
    if name is None:
        return pd.Series(pd.NA, index=columns.index, dtype="string")
    if name not in columns.columns:
        known = [str(column) for column in columns.columns]
        raise SourceError(
            f"data.group is {name!r}, and the source has no such column; it has {known}.{nearest(name, known)} "
            "Correct it, or set it to null."
        )
    cells = columns[name].astype("string")
    return cells.mask(cells.str.casefold().isin(NO_NAME) & (name not in stated))


def _once(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each path, and which rows said the same again.

    Raises:
        CollectError: two rows of one path differ in a label, the group or the split.
    """
    again = table[table["path"].duplicated(keep=False)]
    told = again.drop(columns="origin").drop_duplicates()
    clash = told[told["path"].duplicated(keep=False)]
    if len(clash):
        paths = clash["path"].unique()
        rows = clash[clash["path"] == paths[0]].drop(columns="path")
        different = {
            str(name): [str(cell) for cell in rows[name]] for name in rows if rows[name].nunique(dropna=False) > 1
        }
        raise CollectError(
            f"{len(paths):,} image(s) have rows that contradict each other, first {paths[0]!r}: {different}. An image "
            "may stand in the table more than once only if all is the same. Correct or remove a row of each."
        )
    repeats = again[again["path"].duplicated()]
    return table.drop_duplicates("path", ignore_index=True), {
        "rows": len(repeats),
        "paths": sorted(set(repeats["path"])),
    }


def _check_room(table: pd.DataFrame, raw: Path) -> None:
    """Refuse before copying what the disk cannot hold."""
    needed = sum(_size(Path(origin)) for origin in table["origin"])
    raw.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(raw.parent).free
    if needed > free:
        raise CollectError(f"The images take {needed:,} bytes, and {raw.parent} has {free:,} free. Make room first.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # what is wrong with it is told when it is copied


def _copied(
    table: pd.DataFrame, copy: Callable[[Job], _Copy | str], masked: Masked | None
) -> tuple[pd.DataFrame, list[Aside], list[tuple[int, ...]]]:
    """The rows whose image was copied and decoded, with id, width, height, sha256 and bytes; the others; pixels."""
    masks = table[masked.name] if masked else [""] * len(table)
    jobs = list(zip(table["path"], table["origin"], masks, strict=True))
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        try:
            results = list(track(pool.imap(copy, jobs, chunksize=4), "decode and copy", len(jobs)))
        finally:
            pool.terminate()
            pool.join()  # after an error: a folder in which a thread still writes cannot be removed
    copies = {place: asdict(result) for place, result in enumerate(results) if isinstance(result, _Copy)}
    unusable = [Aside(job[0], result) for job, result in zip(jobs, results, strict=True) if isinstance(result, str)]
    measured = pd.DataFrame.from_dict(copies, orient="index", columns=["width", "height", "sha256", "bytes"])
    samples = table.drop(columns="origin").join(measured, how="inner").reset_index(drop=True)
    samples.insert(0, "id", range(len(samples)))
    pixels = [one["pixels"] for one in copies.values()]
    return with_masks(samples, masked, pixels) if masked else samples, unusable, pixels


def _copy(
    folder: Path, max_megapixels: float, inspect: Inspect, normalise: Normalise, masked: Masked | None, job: Job
) -> _Copy | str:
    """Copy one image and decode the copy, and its mask; a text is the reason why it cannot be used."""
    target, origin, mask = folder / job[0], Path(job[1]), Path(job[2])
    try:
        if not origin.exists():
            return "no such file"
        if not origin.is_file():
            return "not a file"
        with origin.open("rb") as source:
            sha256, size = _write(source, target)
    except PermissionError:
        return "no permission to read it"
    try:
        width, height = inspect(target, max_megapixels)
        pixels = _paired(mask, folder / mask_path(job[0]), masked, normalise, (width, height)) if masked else ()
    except UserError as error:
        target.unlink()
        return str(getattr(error, "reason", error))
    return _Copy(width, height, sha256, size, pixels)


def _paired(mask: Path, target: Path, masked: Masked, normalise: Normalise, size: tuple[int, int]) -> tuple[int, ...]:
    """Write the mask of an image of that `size`; the pixels of each class, and of none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise CollectError(f"An image lies where a mask goes, at data/raw/{FOLDER}/{target.name}. Rename its folder.")
    try:
        return tuple(map(int, normalise(mask, target, masked.label, size)))
    except UserError as error:
        raise _MaskError(f"mask {mask.name}: {getattr(error, 'reason', error)}") from error


def _write(source: IO[bytes], target: Path) -> tuple[str, int]:
    """Write a new file; the sha256 and the number of its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                size += file.write(chunk)
    except FileExistsError:
        raise CollectError(
            f"Two images have one name on this file system: {target.name!r} differs from another in capitals alone. "
            "Rename one of them in the source."
        ) from None
    return digest.hexdigest(), size


def _check_bad(unusable: list[Aside], table: pd.DataFrame, allowed: int, report: Path) -> None:
    if len(unusable) <= allowed:
        return
    shown = "\n".join(f"  {aside.path}: {aside.reason}" for aside in unusable[:SHOWN])
    more = f"\n  and {len(unusable) - SHOWN:,} more" if len(unusable) > SHOWN else ""
    total = len(set(table["path"]) | {aside.path for aside in unusable})
    hint = ""
    if len(table) and {aside.reason for aside in unusable} == {"no such file"} and len(unusable) == total:
        hint = f"\nNone exists; the first was looked for at {table['origin'].iloc[0]}. Is data.source.images right?"
    raise CollectError(
        f"{len(unusable):,} of {total:,} images cannot be used, and data.max_bad allows {allowed:,}:\n"
        f"{shown}{more}{hint}\nAll are listed in {report}. Mend or remove them in the source, or set data.max_bad to "
        f"{len(unusable)}."
    )
