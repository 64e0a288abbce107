"""Reads a dataset: each image is decoded once and stored, or listed with the reason why not. All or nothing."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.bit_depth import Depths, choose_depths, describe_depths, note_depths
from meltpoint.data.class_names import Names, read_names
from meltpoint.data.dataset_report import build_report, closing_sentence
from meltpoint.data.descriptions import Descriptions, read_descriptions
from meltpoint.data.image_check import Checked, CheckedImage, DatasetError, Inspect, Job, Normalise, check_image
from meltpoint.data.labels import build_labels, check_class_counts, written_missing
from meltpoint.data.listing import Listing, Skipped, SourceError, nearest_file, tail_in
from meltpoint.data.mask_labels import (
    FOLDER,
    Masked,
    add_masks,
    check_void,
    mask_path,
    masked_label,
    note_turned,
    sum_pixels,
)
from meltpoint.data.origins import parse_origin
from meltpoint.data.read_source import read_source
from meltpoint.data.source_groups import read_groups
from meltpoint.files import whole_folder, write_json
from meltpoint.params.data import Data, NamesLabel
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.shards import write_shards
from meltpoint.tables import Classes, Palettes, check_samples

SHOWN = 10  # unusable images that a message lists
THREADS = min(8, os.cpu_count() or 1)
SCRATCH = Path(".checkpoints/download")  # below the working directory: ignored by git and DVC, no out of any stage


@dataclass(frozen=True)
class Dataset:
    """A dataset that is stored completely in data/raw.

    samples: as `tables.check_samples` says, sorted by path, ids 0 to N-1 in that order.
    names: of classes for people, {label: {language: {class: name}}}.
    descriptions: of classes, {label: {class: [sentence]}}.
    palettes: of labels of masks, a colour "#rrggbb" for each class.
    depths: which values of pictures of more than 8 bits are black and white.
    report: what reports/data.json holds.
    """

    samples: pd.DataFrame
    classes: Classes
    names: Names
    descriptions: Descriptions
    palettes: Palettes
    depths: Depths
    report: dict[str, Any]
    sentence: str


def download_dataset(data: Data, raw: Path, report: Path, inspect: Inspect, normalise: Normalise) -> Dataset:
    """Read the source, make the labels, and write every image that `inspect` can decode into shards in `raw`.

    `inspect(content or path, max_megapixels)` describes a picture, or raises a UserError with a `.reason`.
    `normalise(origin, label, (width, height))` gives a mask as a file of class ids, and the pixels of each class and of
    none (C + 1,), or raises such an error. The findings are written to the file `report`, also when there are too many
    unusable images to go on.

    Raises:
        SourceError, LabelError, NamesError, ArchiveError, FetchError: the source is not as params.yaml says.
        DatasetError: too many unusable images, rows that contradict each other, no rows, or no room on the disk.
    """
    for left in (SCRATCH, *raw.parent.glob(f".{raw.name}.*")):  # of a killed run
        shutil.rmtree(left, ignore_errors=True)
    masked = masked_label(data.labels)
    try:
        listing = read_source(data.source, SCRATCH.absolute())
        table, classes = _labelled(listing, data)
        names, notes = read_names(data.names, classes)
        descriptions, more = read_descriptions(data.descriptions, classes)
        missing = written_missing(listing.columns, data.labels, listing.stated)
        listing = replace(listing, notes=listing.notes + notes + more + missing)
        table, repeated = _drop_repeated(table)
        _check_room(table, raw)
        if masked:
            _check_mask_paths(table)
        with whole_folder(raw) as folder:
            check = partial(check_image, data.max_megapixels, inspect, normalise, masked)
            samples, unusable, images = _stored(table, check, masked, folder)
            unusable = sorted(listing.unusable + unusable, key=lambda skipped: skipped.path)
            found = build_report(listing, samples, classes, unusable, repeated) | {"bad_allowed": data.max_bad}
            ranges = [image.seen.range for image in images if image.seen.range]
            depths, turned = choose_depths(ranges), sum(image.seen.turned for image in images)
            found["depth"] = describe_depths(ranges, depths)
            found["turned"] = {"images": turned, "with_masks": turned if masked else 0}
            found["pixels"] = {masked.name: sum_pixels(masked, [one.pixels for one in images])} if masked else {}
            found["notes"] = [*found["notes"], *note_depths(ranges, depths), *(note_turned(turned) if masked else [])]
            write_json(report, found)
            if len(unusable) > data.max_bad:
                raise DatasetError(_about_unusable(unusable, table, data.max_bad, report))
            if masked:
                check_void(masked, found["pixels"][masked.name])
            check_class_counts(found["labels"])
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    samples = check_samples(samples, classes)
    palettes = {masked.name: [one.colour for one in masked.label.classes.values()]} if masked else {}
    return Dataset(samples, classes, names, descriptions, palettes, depths, found, closing_sentence(found))


def _labelled(listing: Listing, data: Data) -> tuple[pd.DataFrame, Classes]:
    """The columns path, origin, split, group and one per label, sorted by path."""
    if not len(listing.files) and not listing.unusable:
        raise DatasetError(f"The source ({listing.title}) holds no images. Correct data.source in params.yaml.")
    if listing.class_warning and any(
        isinstance(label, NamesLabel) and label.classes is None for label in data.labels.values()
    ):
        raise SourceError(listing.class_warning)
    columns = listing.columns.set_axis(pd.Index(listing.files["path"]), axis="index")
    labels, classes = build_labels(columns, data.labels, listing.stated)
    table = pd.concat([listing.files, labels.reset_index(drop=True)], axis="columns")
    table["group"] = read_groups(listing.columns, listing.files["path"].tolist(), data.group, listing.stated)
    return table.sort_values("path", kind="stable", ignore_index=True), classes


def _drop_repeated(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each path, and which rows were repeated.

    Raises:
        DatasetError: two rows of one path differ in a label, the group or the split.
    """
    again = table[table["path"].duplicated(keep=False)]
    rows = again.drop(columns="origin").drop_duplicates()
    clash = rows[rows["path"].duplicated(keep=False)]
    if len(clash):
        paths = clash["path"].unique()
        rows = clash[clash["path"] == paths[0]].drop(columns="path")
        different = {
            str(name): [str(cell) for cell in rows[name]] for name in rows if rows[name].nunique(dropna=False) > 1
        }
        raise DatasetError(
            f"{len(paths):,} image(s) have rows that contradict each other, first {paths[0]!r}: {different}. An image "
            "may have several rows only if they are the same. Correct or remove a row of each."
        )
    repeats = again["path"][again["path"].duplicated()]
    repeated = {"rows": len(repeats), "paths": sorted(set(repeats))}
    return table.drop_duplicates("path", ignore_index=True), repeated


def _check_room(table: pd.DataFrame, raw: Path) -> None:
    """Refuse before copying what the disk cannot hold."""
    needed = 0
    for origin in table["origin"]:
        with suppress(OSError):  # what is wrong with it is reported when it is read
            needed += parse_origin(origin).size
    raw.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(raw.parent).free
    if needed > free:
        raise DatasetError(
            f"The images take {needed:,} bytes, and {raw.parent} has {free:,} free. Free some space first."
        )


def _check_mask_paths(table: pd.DataFrame) -> None:
    """Each image and each mask has a path of its own: masks are stored as masks/<path of the image>.png."""
    paths = pd.concat([table["path"], table["path"].map(mask_path)])
    twice = sorted(set(paths[paths.duplicated()]))
    if twice:
        raise DatasetError(
            f"{len(twice):,} paths would belong to two files, first {twice[0]!r}: the mask of an image is stored as"
            f" {FOLDER}/<path of the image>.png. Two images may not differ in their suffix alone, and a mask may not"
            " get the path of an image. Rename one of them in the source."
        )


def _stored(
    table: pd.DataFrame, check: Callable[[Job], Checked | str], masked: Masked | None, folder: Path
) -> tuple[pd.DataFrame, list[Skipped], list[CheckedImage]]:
    """The rows whose image was decoded and stored, with id, width, height, sha256 and bytes; the others; the images."""
    masks = table[masked.name] if masked else [""] * len(table)
    jobs = list(zip(table["path"], table["origin"], masks, strict=True))
    images: dict[int, CheckedImage] = {}
    unusable: list[Skipped] = []

    def usable() -> Iterator[dict[str, bytes]]:
        results = map_ahead(check, jobs, 2 * THREADS, THREADS)
        for place, result in enumerate(track(results, "decode and store", len(jobs))):
            if isinstance(result, str):
                unusable.append(Skipped(jobs[place][0], result))
            else:
                images[place], files = result
                yield files

    write_shards(usable(), folder)
    rows = [(one.seen.width, one.seen.height, one.sha256, one.bytes) for one in images.values()]
    measured = pd.DataFrame(rows, index=list(images), columns=["width", "height", "sha256", "bytes"])
    samples = table.drop(columns="origin").join(measured, how="inner").reset_index(drop=True)
    samples.insert(0, "id", range(len(samples)))
    if masked:
        samples = add_masks(samples, masked, [one.pixels for one in images.values()])
    return samples, unusable, list(images.values())


def _about_unusable(unusable: list[Skipped], table: pd.DataFrame, allowed: int, report: Path) -> str:
    shown = "\n".join(f"  {skipped.path}: {skipped.reason}" for skipped in unusable[:SHOWN])
    more = f"\n  and {len(unusable) - SHOWN:,} more" if len(unusable) > SHOWN else ""
    total = len(set(table["path"]) | {skipped.path for skipped in unusable})
    missing = [skipped.path for skipped in unusable if skipped.reason == "no such file"]
    hint = _about_missing(table, missing, len(missing) == total) if missing and len(table) else ""
    fix = "Fix or remove them in the source"
    few = 2 * len(unusable) <= total  # where most fail, most likely the source is wrong
    fix += f", or set data.max_bad to {len(unusable)}." if few else ", or name another one."
    return (
        f"{len(unusable):,} of {total:,} images cannot be used, and data.max_bad allows {allowed:,}:\n"
        f"{shown}{more}{hint}\nAll are listed in {report}. {fix}"
    )


def _about_missing(table: pd.DataFrame, missing: list[str], none: bool) -> str:
    """Where the first image that does not exist was looked for, and the nearest file that does."""
    origin = Path(str(table["origin"][table["path"] == missing[0]].iloc[0]))
    if tail := tail_in(Path(str(origin).removesuffix(missing[0])), missing[0]):
        return (
            f"\n{origin} does not exist. {tail[0]!r} is there: remove {tail[1]!r} from the paths in the table, or set"
            f" data.source.images to the folder that they start at."
        )
    found = nearest_file(origin)
    near = f" The nearest that is there is {found}." if found else ""
    first = f"None exists; the first was looked for at {origin}. Is data.source.images right?" if none else ""
    if not first and not near:
        return ""
    suffix = " The table holds names without a suffix: add it." if found and found.stem == origin.name else ""
    return f"\n{first or f'{missing[0]} does not exist.'}{near}{suffix}"
