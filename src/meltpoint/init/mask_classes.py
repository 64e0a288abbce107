"""What stands in masks: ids or colours, how often, and what they are called where a list beside them says so."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from meltpoint.arrays import Ints
from meltpoint.images.decode import ImageError, read_colours, read_values
from meltpoint.init.found import InitError, examples, plural
from meltpoint.init.pictures import read_header, until
from meltpoint.progress import track
from meltpoint.tables import PRESENT

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm")
MOST = 64  # values that a mask has at most; a photograph has more
LOOK = 20.0  # seconds for reading masks
VOID = 255
TURNED = re.compile(r"it has (\d+)x(\d+) pixels and its image \2x\1$")  # how a mask of another size is refused
SINGLE = ("1", "L", "P", "I", "I;16", "I;16B")
LISTS = (
    "classes.txt", "class_dict.csv", "label_colors.txt", "labelmap.txt", "labels.txt", "codes.txt", "class_names.txt",
)  # fmt: skip
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class MaskClasses:
    """The label of params.yaml, the classes that each mask shows, and what to say."""

    label: dict[str, Any]
    cells: pd.Series
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def is_mask(path: Path) -> bool:
    """Whether a picture has few values, kept without loss, as masks have."""
    if path.suffix.lower() not in LOSSLESS:
        return False
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image if image.mode in SINGLE else image.convert("RGB")).astype(np.int64)
    except OSError:
        return False
    return len(_count(pixels)[0]) <= MOST


def find_mask_classes(masks: Sequence[str], images: Sequence[str], top: Path) -> MaskClasses:
    """The classes of masks, each of the image at its place, which are read for some seconds as the pipeline does.

    Raises:
        InitError: they hold neither ids nor few colours, or the pipeline would refuse them all.
    """
    shown: dict[int, list[int]] = {}
    pixels: Counter[int] = Counter()
    modes: Counter[str] = Counter()
    refused: dict[str, str] = {}
    order = np.random.default_rng(0).permutation(len(masks))
    for place in until(track(order.tolist(), "read masks", unit="mask"), LOOK):
        try:
            mode, values, counts = _read_as_download(Path(masks[place]), Path(images[place]))
        except ImageError as error:
            refused[Path(masks[place]).name] = error.reason
            continue
        modes[mode] += 1
        shown[place] = values.tolist()
        pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    if not pixels:
        raise InitError(f"None of the masks can be used: {_about_refused(refused)} Repair or replace them.")
    if len(modes) > 1:
        raise InitError(
            f"Some masks hold a value for each pixel and others colours: {dict(modes)}. Save all in one way, best as"
            " 8-bit grey PNG of ids."
        )
    if len(pixels) > VOID:
        raise InitError(
            f"The masks hold {len(pixels):,} different {' and '.join(modes)}, too many for classes:"
            " they were smoothed or saved with loss. Save the original masks without interpolation, as PNG."
        )
    kind = next(iter(modes))
    label, names, origins, warnings = _name_classes(sorted(pixels), kind, top)
    cells = [PRESENT.join(names[value] for value in shown.get(one, ()) if value in names) for one in range(len(masks))]
    shares = ", ".join(f"{name} {pixels[value] / pixels.total():.1%}" for value, name in names.items())
    notes = [f"masks hold {kind}; share of pixels: {shares}"]
    if len(shown) < len(masks):
        notes.append(
            f"{len(shown):,} of {len(masks):,} masks were read; the download stage reads all, and names what is new"
        )
    if refused:
        warnings.append(
            f"{plural(len(refused), 'mask')} of {len(shown) + len(refused):,} that were read cannot be used:"
            f" {_about_refused(refused)} Repair or remove them with their images: the download stage refuses them."
        )
    found = pd.Series([cell or None for cell in cells], dtype="string")
    return MaskClasses(label, found, [*notes, *origins], warnings)


def _about_refused(refused: dict[str, str]) -> str:
    turned = any(TURNED.search(reason) for reason in refused.values())
    hint = "; EXIF turns the image upright, and not its mask" if turned else ""
    return f"{examples([f'{name} ({reason})' for name, reason in sorted(refused.items())])}{hint}."


def _name_classes(
    values: list[int], kind: str, top: Path
) -> tuple[dict[str, Any], dict[int, str], list[str], list[str]]:
    """The label with a name and a colour for each value that occurs; the names by value, notes and warnings.

    255 is void, unless it is the other class of 0.
    """
    listed, origin = _listed(top, kind)
    void: list[int] = []
    if kind == "ids" and VOID in values and len(values) > 2 and VOID not in listed:
        void = [VOID]
    is_voc = (top / "JPEGImages").is_dir() and (top / "SegmentationClass").is_dir()
    if not listed and kind == "ids" and is_voc and set(values) - {VOID} <= set(range(len(VOC))):
        listed, origin, void = dict(enumerate(VOC)), "PASCAL VOC's own classes", [VOID]
    kept = [value for value in values if value not in void]
    names = {value: listed.get(value) or _invent_name(value, kept, kind) for value in kept}
    if len(kept) < 2:
        raise InitError(f"The masks hold one class alone: {values}. A label needs two. Are these the masks?")
    notes = [f"names of classes are those of {origin}"] if listed else []
    notes += [f"{VOID} is taken for void: such pixels are ignored"] if void else []
    warnings = []
    if unnamed := [names[value] for value in kept if value not in listed]:
        warnings.append(
            f"nothing names the classes {examples(unnamed)}: rename them in data.labels, or put a classes.txt with a"
            " name on each line beside the folders; what is to be ignored goes to void."
        )
    if VOID in kept and kind == "ids":
        notes.append("0 is the background and 255 the object")
    classes = {names[value]: {"id": value if kind == "ids" else None, "colour": _colour(value, kind)} for value in kept}
    label = {"kind": "mask", "column": "mask", "pixels": kind, "classes": classes, "void": void}
    return label, names, notes, warnings


def _invent_name(value: int, values: list[int], kind: str) -> str:
    if len(values) == 2:
        return "background" if value == min(values) else "object"
    if value == 0 and kind == "colours":
        return "background"
    return f"class_{value}" if kind == "ids" else f"colour_{value:06x}"


def _colour(value: int, kind: str) -> str:
    """A colour of a mask as it is, or the one that PASCAL VOC gives an id; all are different."""
    if kind == "colours":
        return f"#{value:06x}"
    red = green = blue = 0
    for bit in range(8):
        red |= (value & 1) << (7 - bit)
        green |= (value >> 1 & 1) << (7 - bit)
        blue |= (value >> 2 & 1) << (7 - bit)
        value >>= 3
    return f"#{red:02x}{green:02x}{blue:02x}"


def _listed(top: Path, kind: str) -> tuple[dict[int, str], str]:
    """Names by id or colour from a list beside the folders, and the list's name."""
    for name in LISTS:
        for file in (top / name, top.parent / name):
            if file.is_file() and (found := _parsed(file.read_text("utf-8", "replace").splitlines(), kind)):
                return found, file.name
    return {}, ""


def _parsed(lines: list[str], kind: str) -> dict[int, str]:
    """`name` a line, `id name`, `name,r,g,b`, `name:r,g,b::` or `r g b name`."""
    rows = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if kind == "colours":
        found: dict[int, str] = {}
        for row in rows:
            numbers = [int(number) for number in re.findall(r"(?<![\w.])\d{1,3}(?![\w.])", row)]
            name = re.sub(r"[\d,;:\t]+", " ", row).strip()
            if len(numbers) >= 3 and name and max(numbers[:3]) < 256:
                found[numbers[0] << 16 | numbers[1] << 8 | numbers[2]] = name.replace(PRESENT, "/")
        return found
    by_id = [re.fullmatch(r"(\d+)[\s,;:]+(\S.*)", row) for row in rows]
    if rows and all(by_id):
        return {int(one[1]): one[2].strip() for one in by_id if one}
    plain = [re.split(r"[,;:\t]", row)[0].strip() for row in rows]
    plain = plain[1:] if plain[:1] in (["name"], ["class"], ["label"]) else plain
    return dict(enumerate(plain)) if len(set(plain)) == len(plain) else {}


def _count(pixels: Ints) -> tuple[Ints, Ints]:
    """The values of pixels (H, W), or colours (H, W, 3) as 0xRRGGBB, and on how many pixels each is."""
    values = pixels if pixels.ndim == 2 else pixels @ np.array([1 << 16, 1 << 8, 1])
    return np.unique(values, return_counts=True)


def _read_as_download(mask: Path, image: Path) -> tuple[str, Ints, Ints]:
    """`ids` or `colours`, and the values and counts of a mask as the pipeline reads it with its image.

    Raises:
        ImageError: the pipeline would refuse it.
    """
    header, own = read_header(image), read_header(mask)
    size = next(((one.width, one.height) for one in (header, own) if one), (0, 0))
    if own is not None:
        with Image.open(mask) as opened:
            single = opened.mode in SINGLE
        if single:
            return "ids", *_count(read_values(mask, size).astype(np.int64))
    return "colours", *_count(read_colours(mask, size).astype(np.int64))
