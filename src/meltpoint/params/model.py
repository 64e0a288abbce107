"""Encoders, where their weights come from, the places where heads read them, and the task."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from meltpoint.params.base import AtLeastOne, Name, Section, Whole

HUBS = ("hf-hub", "hf_hub")  # how model hubs begin the names of their models


class HubWeights(Section):
    """The library's own pretrained weights, from its model hub."""

    kind: Literal["hub"]
    tag: str | None = None  # of open_clip's weights, as laion2b_s34b_b88k; timm's stand in the model's name


class FileWeights(Section):
    """A local .safetensors, or a .pth read with `weights_only`."""

    kind: Literal["file"]
    path: str
    match: Literal["name", "order"]
    licence: str


class PackageWeights(Section):
    """A weight file inside an installed Python package."""

    kind: Literal["package"]
    package: str
    file: str
    match: Literal["name", "order"]
    licence: str


class RandomWeights(Section):
    """No pretraining: for tests."""

    kind: Literal["random"]


Weights = Annotated[HubWeights | FileWeights | PackageWeights | RandomWeights, Field(discriminator="kind")]


def plain_name(name: Any) -> Any:
    """`timm/x`, `hf-hub:timm/x` and `hf_hub:timm/x` are how model hubs write timm's `x`, as hf-hub:timm/resnet18."""
    return re.sub(r"^\s*((?i:hf[-_]hub):\s*)?timm/(.*?)\s*$", r"\2", name) if isinstance(name, str) else name


class TextFolder(Section):
    """A folder as `transformers` saves one: a text encoder, or the tokenizer and config of one of open_clip's."""

    package: str | None = None  # the installed package that `folder` is inside of; null: it is a folder on its own
    folder: str
    width: AtLeastOne | None = None  # of `sentences`, numbers in a vector: a saved model opens without the encoder


class Backbone(Section):
    """A model that sees images, and what it knows already."""

    library: Literal["timm", "open_clip", "sentences"] | None = None  # null: timm. The others have a text side
    name: Annotated[str, BeforeValidator(plain_name)]  # a model of timm, as timm or as a hub writes it; or of open_clip
    args: dict[str, bool | int | float | str | list[int]] = {}  # further ones, of timm or open_clip's image tower
    weights: Weights
    text: TextFolder | None = None  # of `sentences`, and of models of open_clip whose texts transformers tokenises
    top: AtLeastOne | None = None  # of `sentences`: how many classes an image is the mean of; null: all
    mean: list[float] | None = None  # null: as the backbone was pretrained
    std: list[float] | None = None

    def without_folders(self) -> "Backbone":
        """The same, with the name of its weight file in place of the path."""
        if not isinstance(self.weights, FileWeights):
            return self
        weights = self.weights.model_copy(update={"path": Path(self.weights.path).name})
        return self.model_copy(update={"weights": weights})


class Encoder(Backbone):
    """A row of `encoders`: a backbone, and the row of `views` that it sees."""

    views: Name

    @property
    def backbone(self) -> Backbone:
        """The backbone alone, which a model has to know."""
        return Backbone.model_validate(self.model_dump(exclude={"views"}))


class TokenTap(Section):
    """A block of a ViT by index; the parts in `pool`, each a mean over its tokens, are concatenated in that order."""

    at: Whole
    pool: Annotated[tuple[Literal["class", "patches", "registers"], ...], Field(min_length=1)]


class MapTap(Section):
    """The feature map of a stage, not pooled. No key of params.yaml: heads with convolutions read it."""

    at: Whole


class GridTap(Section):
    """Maps of some stages on the finest one's grid, concatenated. No key of params.yaml: dense heads read it."""

    at: tuple[int, ...]


FinalMap = Literal["final_map"]  # the last map, after the net's last norm, not pooled; no key of params.yaml
# What the pretrained classifier saw; or a stage (CNN) or block (ViT) by index, its mean over cells or patches.
Tap = Literal["final"] | int | TokenTap
Reading = Tap | MapTap | FinalMap | GridTap  # what a head is given


class Tree(Section):
    """Heads whose classes form a tree, from the root's level to the leaves'. All levels are decided at once."""

    levels: Annotated[list[Name], Field(min_length=2)]
    # Of each level but the first: class to parent; null: as the data has it.
    parents: dict[Name, dict[str, str]] | None = None


class Task(Section):
    """What labels are: a class of each image or pixel, or tags of each image; what heads have to do with each other."""

    kind: Literal["classification", "segmentation", "tagging"]
    tree: Tree | None = None  # of the heads

    @property
    def dense(self) -> bool:
        """Whether each pixel has a class, and not each image."""
        return self.kind == "segmentation"
