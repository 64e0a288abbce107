"""Encoders, where their weights come from, and the heads over them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from meltpoint.params.base import AtLeastOne, Fraction, Name, NonNegative, Positive, Section, Whole

HUBS = ("hf-hub", "hf_hub")  # how model hubs begin the names of their models


class HubWeights(Section):
    """timm's own pretrained weights, from its model hub."""

    kind: Literal["hub"]


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


class Backbone(Section):
    """A timm model, and what it knows already."""

    name: Annotated[str, BeforeValidator(plain_name)]  # a timm model name, as timm or as a hub writes it
    args: dict[str, bool | int | float | str] = {}  # further arguments of timm.create_model
    weights: Weights
    mean: list[float] | None = None  # null: as the backbone was pretrained
    std: list[float] | None = None


class Encoder(Backbone):
    """A row of `encoders`: a backbone, and the row of `views` that it sees."""

    views: Name

    @property
    def backbone(self) -> Backbone:
        """The backbone alone, which a model has to know."""
        return Backbone.model_validate(self.model_dump(exclude={"views"}))


Target = Literal["nominal", "ordinal"]  # ordinal: the classes are steps in their order
ClassWeights = Literal["none", "balanced"] | dict[str, Positive]  # of the loss; a class that is not named weighs 1


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


# What the pretrained classifier saw; or a stage (CNN) or block (ViT) by index, its mean over cells or patches.
Tap = Literal["final"] | int | TokenTap
Reading = Tap | MapTap | GridTap  # what a head is given


class Where(Section):
    """The rows a head is about: those whose `label` is one of `is_in`. Others count as not labelled."""

    label: Name
    is_in: Annotated[list[str], Field(min_length=1)]


class Threshold(Section):
    """Of a head with two classes: the probability of the second from which on new images have this precision or recall.

    Calibration on val, and true with 95% confidence; where val has too few images to say so, there is none.
    """

    metric: Literal["precision", "recall"]
    at_least: Fraction


class Coverage(Section):
    """A set of classes holds the true one of this share of new images; what is not alone in its set is "unknown".

    So no more than the rest of all images get a wrong answer that is not called unknown.
    """

    coverage: Fraction


class _ImageHead(Section):
    """What a head says of a whole image, and the wishes that such heads may have."""

    dense: ClassVar[bool] = False

    label: Name
    target: Target | None = None  # null: nominal
    where: Where | None = None
    weight: Positive | None = None  # of its loss; null: 1
    class_weights: ClassWeights = "none"
    threshold: Threshold | None = None  # null: the most probable class is the answer
    # Of new answers this share is right, and the less sure ones are "unknown"; null: none is.
    unknown: Fraction | Coverage | None = None
    main: bool = False  # a head that is alone is the main one without it


class LinearHead(_ImageHead):
    """Standardised features, then one linear layer."""

    kind: Literal["linear"]
    tap: Tap | None = None  # null: final

    @property
    def reads(self) -> Tap:
        """What the head is given."""
        return "final" if self.tap is None else self.tap


class MlpHead(_ImageHead):
    """Standardised features, Linear, GELU, dropout, Linear."""

    kind: Literal["mlp"]
    tap: Tap | None = None  # null: final
    hidden: AtLeastOne
    dropout: Fraction = 0.0

    @property
    def reads(self) -> Tap:
        """What the head is given."""
        return "final" if self.tap is None else self.tap


class ConvHead(_ImageHead):
    """A copy of the backbone's last convolution over that stage, pretrained as it is, then pooled features, linear."""

    kind: Literal["conv"]
    tap: Whole

    @property
    def reads(self) -> MapTap:
        """What the head is given."""
        return MapTap(at=self.tap)


class _DenseHead(Section):
    """A class for each pixel; what other heads may wish besides, dense ones do not."""

    dense: ClassVar[bool] = True
    target: ClassVar[None] = None
    where: ClassVar[None] = None
    threshold: ClassVar[None] = None
    unknown: ClassVar[None] = None

    label: Name
    taps: Annotated[tuple[int, ...], Field(min_length=1)]  # stages (CNN) or blocks (ViT)
    weight: Positive | None = None
    class_weights: ClassWeights = "none"
    dice: NonNegative = 0.0  # weight of the Dice loss beside cross-entropy
    main: bool = False

    @property
    def reads(self) -> GridTap:
        """What the head is given."""
        return GridTap(at=self.taps)


class DenseLinearHead(_DenseHead):
    """Normalised features of each cell, then one 1x1 convolution."""

    kind: Literal["dense_linear"]


class DenseConvHead(_DenseHead):
    """Normalised features, a 3x3 convolution to `hidden` channels, GELU, then 1x1."""

    kind: Literal["dense_conv"]
    hidden: AtLeastOne


class DensePyramidHead(_DenseHead):
    """For CNNs: each stage by a 1x1 convolution of its own to `hidden` channels, their sum, 3x3, then 1x1."""

    kind: Literal["dense_pyramid"]
    hidden: AtLeastOne


def _linear_unless_said(head: Any) -> Any:
    """A head without a kind adds nothing to the one layer that every head has."""
    return {"kind": "linear", **head} if isinstance(head, dict) else head


Head = Annotated[
    Annotated[
        LinearHead | MlpHead | ConvHead | DenseLinearHead | DenseConvHead | DensePyramidHead,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_linear_unless_said),
]


def main_of(heads: Mapping[str, Head]) -> str:
    """The head whose metric selects checkpoints and decides: the one that is alone, or says so."""
    return next(name for name, head in heads.items() if head.main or len(heads) == 1)


class Tree(Section):
    """Heads whose classes form a tree, from the root's level to the leaves'. All levels are decided at once."""

    levels: Annotated[list[Name], Field(min_length=2)]
    # Of each level but the first: class to parent; null: as the data has it.
    parents: dict[Name, dict[str, str]] | None = None


class Task(Section):
    """What the labels are: a class of each image, or of each pixel; and what heads have to do with each other."""

    kind: Literal["classification", "segmentation"]
    tree: Tree | None = None  # of the heads

    @property
    def dense(self) -> bool:
        """Whether each pixel has a class, and not each image."""
        return self.kind == "segmentation"
