"""What a model says of each pixel of one picture: a mask, the area of each class, and a PNG of both ids and colours."""

import io
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from meltpoint.model.card import HeadCard
from meltpoint.predict.geometry import UNSEEN, Mask

UNSEEN_COLOUR = "#000000"


@dataclass(frozen=True)
class Area:
    """A class, its name in the language asked for, its colour as "#rrggbb", and its share of the pixels seen."""

    label: str
    name: str
    colour: str
    share: float


@dataclass(frozen=True, eq=False)
class MaskAnswer:
    """What a head says: `mask` uint8 (H, W) in the picture's own size, class ids, 255 where the model was not shown it.

    `areas` are the classes that occur, the largest first. `legend` are all classes, in the order of their ids.
    """

    mask: Mask
    areas: tuple[Area, ...]
    legend: tuple[Area, ...]


def read_mask(card: HeadCard, mask: Mask, language: str | None) -> MaskAnswer:
    """The answer that a mask is; a class without a name in that language goes by its label."""
    counts = np.bincount(mask.ravel(), minlength=UNSEEN + 1)[: len(card.classes)]
    shares = (counts / max(1, counts.sum())).tolist()
    names = card.names.get(language, {}) if language else {}
    legend = tuple(
        Area(label, names.get(label, label), colour, share)
        for label, colour, share in zip(card.classes, card.colours or [], shares, strict=True)
    )
    areas = sorted((area for area in legend if area.share), key=lambda area: -area.share)
    return MaskAnswer(mask, tuple(areas), legend)


def area_column(head: str, name: str) -> str:
    """The column of a table with the share of a picture that a class has."""
    return f"{head}.area.{name}"


def encode_mask(mask: Mask, colours: list[str]) -> bytes:
    """A PNG whose pixels are class ids and whose palette are the classes' colours; 255 is see-through."""
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(_palette(colours).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", transparency=UNSEEN)
    return file.getvalue()


def paint(mask: Mask, colours: list[str]) -> NDArray[np.uint8]:
    """The colours uint8 (H, W, 3) of a mask."""
    return np.asarray(_palette(colours)[mask])


def _palette(colours: list[str]) -> NDArray[np.uint8]:
    """Colours uint8 (256, 3) of all ids."""
    rest = [UNSEEN_COLOUR] * (UNSEEN + 1 - len(colours))
    return np.array([ImageColor.getrgb(colour) for colour in chain(colours, rest)], np.uint8)
