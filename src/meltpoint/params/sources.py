"""Where the labelled images come from, each kind a file in data/sources."""

from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import AtLeastOne, Positive, Section


class FolderSource(Section):
    """Class folders, with or without train/val/test folders above them. Gives the columns `class` and `split`."""

    kind: Literal["folder"]
    path: str


class _TableSource(Section):
    """A table of relative image paths and label columns."""

    table: str
    images: str  # the folder that paths are relative to
    separator: str | None = None  # null: guessed from the first lines
    header: list[str] | None = None  # null: the first line names the columns
    path: str  # the column that holds the path
    split: str | None = None  # the column that holds train, val or test


class CsvSource(_TableSource):
    """A table and its images in files."""

    kind: Literal["csv"]


class PackageSource(_TableSource):
    """A table and its images inside an installed Python package; `table` and `images` are relative to the package."""

    kind: Literal["package"]
    package: str


class ArchiveSource(Section):
    """A zip or tar, local or at a URL; `inside` reads what it holds (its paths are relative to the archive's root)."""

    kind: Literal["archive"]
    location: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    max_members: AtLeastOne
    max_gigabytes: Positive
    inside: Annotated[FolderSource | CsvSource, Field(discriminator="kind")]


class Yoga82Source(Section):
    """The lists of Yoga-82 (`folder/file.jpg,l6,l20,l82`). Gives the columns `l6`, `l20`, `l82` and `split`."""

    kind: Literal["yoga82"]
    train: str
    test: str
    classes: str | None = None  # a table of the 82 classes with their ids and names; null: ids are the names
    images: str  # the folder that paths are relative to


Part = Literal["train", "val", "test", "all"]


class MasksSource(Section):
    """Images and their masks, paired by name: PASCAL VOC, CamVid, four folders. Gives the columns `mask` and `split`.

    `images` and `masks` name a folder below `path` for each split, or one for `all`.
    """

    kind: Literal["masks"]
    path: str
    images: Annotated[dict[Part, str], Field(min_length=1)]
    masks: Annotated[dict[Part, str], Field(min_length=1)]
    lists: dict[Literal["train", "val", "test"], str] | None = None  # files with a name a line: what belongs to a split
    mask_name: Annotated[str, Field(pattern=r"\{stem\}")]  # of the image `stem`: "{stem}.png", "{stem}_L.png"


class CocoSource(Section):
    """Images and COCO's annotations. Gives the columns `tags`, the categories in an image, and `split`.

    `images` name a folder and `annotations` a JSON file, both below `path`, for each split, or one for `all`.
    """

    kind: Literal["coco"]
    path: str
    images: Annotated[dict[Part, str], Field(min_length=1)]
    annotations: Annotated[dict[Part, str], Field(min_length=1)]


class WebdatasetSource(Section):
    """Tar shards, whose files of one name are a sample: 17.jpg, 17.cls. Gives `split`, `cls`, `txt`, the JSON's keys.

    `shards` names them for each split, or for `all`: "train-*.tar", "train-{000..127}.tar".
    """

    kind: Literal["webdataset"]
    path: str  # the folder, or its address as fsspec knows it: "s3://bucket/photos"
    shards: Annotated[dict[Part, str], Field(min_length=1)]
    picture: str | None = None  # the suffix of the picture where a sample has several, as "jpg"


class ParquetSource(Section):
    """Parquet files with a picture in each row, as Hugging Face keeps them. Gives `split` and the other columns.

    `files` names them for each split, or for `all`: "data/train-*.parquet".
    """

    kind: Literal["parquet"]
    path: str  # the folder, or its address as fsspec knows it: "hf://datasets/user/name"
    files: Annotated[dict[Part, str], Field(min_length=1)]
    picture: str  # the column with the file's bytes, with Hugging Face's `bytes` and `path`, or a path below `path`


Source = Annotated[
    FolderSource
    | CsvSource
    | PackageSource
    | ArchiveSource
    | Yoga82Source
    | MasksSource
    | CocoSource
    | WebdatasetSource
    | ParquetSource,
    Field(discriminator="kind"),
]
