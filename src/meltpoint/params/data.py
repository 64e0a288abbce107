"""What the labels of images are, how images are split, and how they become pixels of one size."""

import operator
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from meltpoint.params.base import Count, Fraction, Name, Positive, Real, Section, Whole
from meltpoint.params.sources import Source


class NamesLabel(Section):
    """The cell of `column` is the class name; `classes: null` takes the sorted names that occur."""

    kind: Literal["names"]
    column: str
    classes: list[str] | None = None


class ValuesLabel(Section):
    """`classes` maps each class name to the number that stands for it in `column`; its name may stand there too."""

    kind: Literal["values"]
    column: str
    classes: dict[str, float]


class ThresholdLabel(Section):
    """Two classes: below `at_least`, and the rest."""

    kind: Literal["threshold"]
    column: str
    at_least: Real
    classes: Annotated[list[str], Field(min_length=2, max_length=2)]


class EqualsLabel(Section):
    """Two classes made of another label: the first, and the second where that label is one of `is_in`."""

    kind: Literal["equals"]
    label: Name
    is_in: Annotated[list[str], Field(min_length=1)]
    classes: Annotated[list[str], Field(min_length=2, max_length=2)]


Colour = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]


class MaskClass(Section):
    """A class of pixels: what stands for it in a mask of ids, and the colour it has in pictures and coloured masks."""

    id: Annotated[Whole, Field(ge=0, le=255)] | None = None
    colour: Colour


class MaskLabel(Section):
    """A class for each pixel, in a mask whose path `column` holds. Pixels that are `void` are ignored."""

    kind: Literal["mask"]
    column: str
    pixels: Literal["ids", "colours"]  # of a mask: grey values or palette indices, or RGB
    classes: Annotated[dict[str, MaskClass], Field(min_length=2, max_length=255)]
    void: list[Annotated[Whole, Field(ge=0, le=255)] | Colour] = []


class TagsLabel(Section):
    """Any number of classes for each image: names in the cell of `column`, or a column of 0 and 1 for each class.

    An empty cell of `column` says nothing of the image, and the cell `none` that it has no tag; with `none: ''` an
    empty cell says so. Of `columns`, which are called as the tags, an empty cell says nothing of this one tag.
    """

    kind: Literal["tags"]
    column: str | None = None
    separator: Annotated[str, Field(min_length=1)] | None = None  # between the names in a cell
    none: str | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    classes: list[str] | None = None  # null: the sorted names that occur, or `columns`

    @model_validator(mode="after")
    def _one_form(self) -> "TagsLabel":
        if (self.column is None) == (self.columns is None):
            raise ValueError("a label of tags has either `column`, with names, or `columns`, one for each tag")
        if self.column is not None and self.separator is None:
            raise ValueError("`separator` is missing: what stands between the names in a cell, as ';'")
        if self.columns is not None and (self.separator, self.none, self.classes) != (None, None, None):
            raise ValueError("`separator`, `none` and `classes` go with `column`; with `columns` leave them out")
        return self


Label = Annotated[
    NamesLabel | ValuesLabel | ThresholdLabel | EqualsLabel | MaskLabel | TagsLabel, Field(discriminator="kind")
]


class NameTable(Section):
    """Names of classes for people, in as many languages as the table has columns for."""

    package: str | None = None  # the installed package that `table` is inside of; null: it is a file
    table: str
    separator: str | None = None
    header: list[str] | None = None
    key: str  # the column that holds the class as the label calls it
    languages: Annotated[dict[str, str], Field(min_length=1)]  # "en", "zh" ... to the column


class DescriptionTable(Section):
    """Sentences that describe classes: one or more columns of them, and as many rows of a class as there are."""

    package: str | None = None  # the installed package that `table` is inside of; null: it is a file
    table: str
    separator: str | None = None
    header: list[str] | None = None
    key: str  # the column that holds the class as the label calls it
    columns: Annotated[list[str], Field(min_length=1)]


class GroupPattern(Section):
    """Images are of one group if `pattern`, a regular expression, finds the same in their paths.

    It counts what its first parentheses hold, or without any all that it matches.
    """

    pattern: Annotated[str, Field(min_length=1)]

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern


class Data(Section):
    """The dataset: its source, the rules that make label columns, and what is tolerated."""

    source: Source
    labels: Annotated[dict[Name, Label], Field(min_length=1)]
    names: dict[Name, NameTable] = {}  # by label; {} where class names are good enough for people
    descriptions: dict[Name, DescriptionTable] = {}  # by label; the strategy `words` reads them
    group: str | GroupPattern | None = None  # column whose rows are never parted (a patient), or a part of the path
    max_bad: Count = 0  # unusable images that are tolerated
    max_megapixels: Positive  # larger pictures are refused before they are decoded


class Ratios(Section):
    """Shares of the images; they sum to 1."""

    train: Fraction
    val: Fraction
    test: Fraction

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Ratios":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, and has to be 1")
        return self


class Duplicates(Section):
    """A perceptual hash proposes pairs, pixels decide (`data/duplicates.py`)."""

    hash_distance: Annotated[Whole, Field(ge=0, le=255)]  # bits of 256 that the hashes of a proposed pair may differ in
    correlation: Fraction  # of the fine detail of two duplicates, at least
    common: Annotated[Real, Field(gt=0, le=1)]  # share of the data from which on a pattern (a busbar) is no evidence
    tables: Annotated[Whole, Field(ge=1, le=1000)] | None = None  # of keys, where hashes meet; else all with all
    above: Count | None = None  # that many pictures they meet there; up to it all with all, which misses no pair

    @model_validator(mode="after")
    def _check_tables(self) -> "Duplicates":
        if self.above is not None and self.tables is None:
            raise ValueError("`tables` is missing: above so many pictures hashes meet in that many, for example 64")
        return self

    def tables_of(self, pictures: int) -> int | None:
        """How many tables the hashes of so many pictures meet in; None: they are compared all with all."""
        return self.tables if pictures > (self.above or 0) else None


class Split(Section):
    """How images part into train, val and test."""

    seed: Count  # of the split alone: another `seed` of training leaves it as it is
    official: bool = False  # keep the splits a source brings; a missing val is cut from train
    ratios: Ratios
    duplicates: Duplicates


class Images(Section):
    """The geometry that training, evaluation and serving of a model share."""

    side: Annotated[Whole, Field(ge=8, le=2048)]  # pixels; images are square
    resize: Literal["squash", "crop", "letterbox"]
    interpolation: Literal["bilinear", "bicubic", "area", "antialias"]  # antialias: Pillow's bilinear, as RAM's
    # JPEG files at 1/2, 1/4 or 1/8 of their size, no side shorter than `side`: quicker, other pixels, also in serving.
    draft: Annotated[bool, Field(exclude_if=operator.not_)] = False  # left out where it is off: older views stay whole

    @property
    def smallest(self) -> int | None:
        """How long the sides of a JPEG have to be that is decoded at a reduced scale, in pixels; None: it is not."""
        return self.side if self.draft else None


class ViewRow(Images):
    """A row of `views`: the pixels of each image, decoded once, and the augmented copies that are stored of it.

    `transforms` are those of albumentations, each `Name: {argument: value}`, applied to the plain view in this order.
    """

    copies: Count = 0  # stored augmented copies of each training image; 0 augments on the fly
    transforms: list[Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)]] = []

    @property
    def geometry(self) -> Images:
        """The geometry alone, which a model has to know."""
        return Images(side=self.side, resize=self.resize, interpolation=self.interpolation, draft=self.draft)
