"""Masks become class ids in one format, whatever their source wrote, and stay aligned with their images."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meltpoint.arrays import Ints, Mask, Pixels
from meltpoint.errors import UserError
from meltpoint.images.decode import Size, read_colours, read_values
from meltpoint.images.resize import move
from meltpoint.params.data import Images, MaskLabel
from meltpoint.tables import IGNORED

OBJECT = 255  # in masks of two values
VOID = "#e0e0c0"  # how ignored pixels look in a stored mask, as in PASCAL VOC
SHOWN = 3  # unknown colours or ids that a message lists


class MaskError(UserError, ValueError):
    """A mask has pixels of no class; `reason` names their colours or ids, and counts them."""

    def __init__(self, name: str, reason: str, allowed: str) -> None:
        self.reason = reason
        super().__init__(
            f"The mask {name!r} has {reason}. Allowed are {allowed}, and pixels of `void` are ignored."
            " Correct the mask or the label."
        )


def normalise(origin: Path, label: MaskLabel, size: Size) -> tuple[bytes, Ints]:
    """A mask as an 8-bit palette PNG of class ids, in the order of the label's classes; void is `IGNORED`.

    Also returns the number of pixels of each class (C + 1,), the last of ignored ones. `size` is the image's (width,
    height).

    Raises:
        ImageError: no picture, another size, or none of the values that `label.pixels` promises.
        MaskError: pixels of a colour or an id that the label does not name.
    """
    ids = label.pixels == "ids"
    if ids:
        codes = read_values(origin, size).astype(np.int32)
    else:  # 0xRRGGBB
        red, green, blue = (channel.astype(np.int32) for channel in np.moveaxis(read_colours(origin, size), 2, 0))
        codes = red << 16 | green << 8 | blue
    places = {_code(one.id if ids else one.colour): place for place, one in enumerate(label.classes.values())}
    places |= {_code(one): IGNORED for one in label.void}
    known = np.array(sorted(places), dtype=np.int32)
    found = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = codes[known[found] != codes]
    if unknown.size:
        raise MaskError(origin.name, _about_unknown(unknown, ids), ", ".join(_named(code, ids) for code in known))
    mask = np.array([places[int(code)] for code in known], dtype=np.uint8)[found]
    counts = np.bincount(mask.ravel(), minlength=256)
    content = encode_ids(mask, [one.colour for one in label.classes.values()])
    return content, np.append(counts[: len(label.classes)], counts[IGNORED]).astype(np.int64)


def encode_ids(mask: Mask, palette: Sequence[str]) -> bytes:
    """Class ids (H, W) as an 8-bit palette PNG: people see colours, programs read ids.

    `palette` has a colour "#rrggbb" for each class.
    """
    colours = [channel for colour in palette for channel in rgb(colour)]
    picture, content = Image.fromarray(mask), io.BytesIO()
    picture.putpalette([*colours, *[0] * (3 * IGNORED - len(colours)), *rgb(VOID)])
    picture.save(content, "PNG")
    return content.getvalue()


def decode_ids(content: bytes) -> Mask:
    """Read what `normalise` has encoded, uint8 (H, W)."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def resize_mask(mask: Mask, images: Images) -> Mask:
    """Class ids (H, W) as (S, S), moved as `resize` moves the image, to the nearest pixel; bars are `IGNORED`."""
    return move(mask, images, "nearest", IGNORED)


def paint_classes(image: Pixels, mask: Mask, palette: Sequence[str], strength: float) -> Pixels:
    """A picture uint8 (H, W, 3) with the colours of its classes over it; `strength` 1 hides it. Ignored pixels stay."""
    colours = np.zeros((256, 3), dtype=np.float32)
    colours[: len(palette)] = [rgb(colour) for colour in palette]
    share = np.zeros((256, 1), dtype=np.float32)
    share[: len(palette)] = strength
    painted = image * (1 - share[mask]) + colours[mask] * share[mask]
    return np.round(painted).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """The channels of "#rrggbb", 0 to 255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _code(value: int | str | None) -> int:
    return int(value[1:], 16) if isinstance(value, str) else int(value or 0)


def _named(code: int, ids: bool) -> str:
    return str(code) if ids else f"#{code:06x}"


def _about_unknown(unknown: NDArray[np.int32], ids: bool) -> str:
    codes, counts = np.unique(unknown, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{_named(int(codes[one]), ids)} on {counts[one]:,} pixels" for one in order[:SHOWN]]
    more = f" and {len(codes) - SHOWN:,} more" if len(codes) > SHOWN else ""
    what = "id" if ids else "colour"
    fix = f"give it to a class as its `{what}`, or list it in `void`"
    fix = f"{OBJECT} is what many tools paint an object with: {fix}" if ids and OBJECT in codes else fix
    return f"the unknown {what} {', '.join(shown)}{more}; {fix}"
