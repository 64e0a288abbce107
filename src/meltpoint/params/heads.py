"""Heads over an encoder: what each predicts, what it reads, and what answers are wished of it."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from meltpoint.params.base import AtLeastOne, Count, Fraction, Name, NonNegative, Positive, Section, Whole
from meltpoint.params.model import FinalMap, GridTap, MapTap, Tap
from meltpoint.params.queries import Queries

Target = Literal["nominal", "ordinal"]  # ordinal: the classes are steps in their order
ClassWeights = Literal["none", "balanced"] | dict[str, Positive]  # of the loss; a class that is not named weighs 1


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


class AsymmetricLoss(Section):
    """Binary cross-entropy in which easy cells count less, absent tags still less than present ones.

    Ridnik et al.: Asymmetric Loss For Multi-Label Classification, ICCV 2021, equations 4 to 7. `gamma_pos` and
    `gamma_neg` are the powers of the focus; a probability of an absent tag below `clip` costs nothing.
    """

    kind: Literal["asymmetric"]
    gamma_pos: NonNegative
    gamma_neg: NonNegative
    clip: Fraction


class TagThresholds(Section):
    """The probability above which each tag is given, learnt on val.

    f1: the one of the best F1. precision: the lowest of which new images have `at_least` this precision, with 95%
    confidence; 0.5 where val has too few images to say so.
    """

    metric: Literal["f1", "precision"]
    at_least: Fraction | None = None  # with precision alone

    @model_validator(mode="after")
    def _has_its_wish(self) -> "TagThresholds":
        if (self.at_least is None) == (self.metric == "precision"):
            raise ValueError("`at_least` goes with the metric precision, and with no other")
        return self


class _ImageHead(Section):
    """What a head says of a whole image, and the wishes that such heads may have."""

    dense: ClassVar[bool] = False
    made_by: ClassVar[str | None] = None  # the kind of strategy that makes these heads; None: they are written here

    label: Name
    target: Target | None = None  # null: nominal
    where: Where | None = None
    weight: Positive | None = None  # of its loss; null: 1
    class_weights: ClassWeights = "none"
    threshold: Threshold | None = None  # null: the most probable class is the answer
    # Of new answers this share is right, and the less sure ones are "unknown"; null: none is.
    unknown: Fraction | Coverage | None = None
    loss: AsymmetricLoss | None = None  # of tags; null: binary cross-entropy
    tag_thresholds: TagThresholds | None = None  # null: 0.5 for each tag
    main: bool = False  # a head that is alone is the main one without it

    @property
    def vector(self) -> Tap:
        """Where a head in its place reads that takes nothing but vectors."""
        return "final"


class LinearHead(_ImageHead):
    """Standardised features, then one linear layer."""

    kind: Literal["linear"]
    tap: Tap | None = None  # null: final

    @property
    def reads(self) -> Tap:
        """What the head is given."""
        return "final" if self.tap is None else self.tap

    @property
    def vector(self) -> Tap:
        """Where a head in its place reads that takes nothing but vectors."""
        return self.reads


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

    @property
    def vector(self) -> Tap:
        """Where a head in its place reads that takes nothing but vectors."""
        return self.reads


class KnnHead(_ImageHead):
    """Votes of the most similar training images, which it holds as vectors."""

    made_by: ClassVar[str | None] = "knn"

    kind: Literal["knn"]
    tap: Tap | None = None  # null: final
    vectors: Count = 0  # how many it holds
    half: bool = False  # whether in half precision

    @property
    def reads(self) -> Tap:
        """What the head is given."""
        return "final" if self.tap is None else self.tap


class PretrainedHead(_ImageHead):
    """The classifier that came with the encoder's weights; several of its classes may stand for one of ours."""

    made_by: ClassVar[str | None] = "pretrained"

    kind: Literal["pretrained"]
    known: Count = 0  # classes that the classifier has

    @property
    def reads(self) -> Tap:
        """What the head is given."""
        return "final"


class ConvHead(_ImageHead):
    """A copy of the backbone's last convolution over that stage, pretrained as it is, then pooled features, linear."""

    kind: Literal["conv"]
    tap: Whole

    @property
    def reads(self) -> MapTap:
        """What the head is given."""
        return MapTap(at=self.tap)


class CosineHead(_ImageHead):
    """One linear layer over features of length 1; beside it the features of labelled pictures, by their closeness.

    The strategy `words` makes it.
    """

    made_by: ClassVar[str | None] = "words"

    kind: Literal["cosine"]
    examples: Count = 0  # pictures that it keeps

    @property
    def reads(self) -> Tap:
        """What the head is given: the space that words share."""
        return "final"


class QueryHead(_ImageHead):
    """A vector for each class asks the cells of the last map, and their mean, by cross-attention."""

    kind: Literal["query"]
    hidden: AtLeastOne  # width of the queries
    layers: AtLeastOne
    attention_heads: AtLeastOne
    vectors: AtLeastOne  # width of the vectors of classes, and of what the cells are brought to
    queries: Queries | None = None  # of tags: what their vectors begin as; null: drawn at random

    @model_validator(mode="after")
    def _divides(self) -> "QueryHead":
        if self.hidden % self.attention_heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of attention_heads {self.attention_heads}")
        return self

    @property
    def reads(self) -> FinalMap:
        """What the head is given."""
        return "final_map"


class _DenseHead(Section):
    """A class for each pixel; what other heads may wish besides, dense ones do not."""

    dense: ClassVar[bool] = True
    made_by: ClassVar[None] = None
    vector: ClassVar[Tap] = "final"
    target: ClassVar[None] = None
    where: ClassVar[None] = None
    threshold: ClassVar[None] = None
    unknown: ClassVar[None] = None
    loss: ClassVar[None] = None
    tag_thresholds: ClassVar[None] = None

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


ImageHead = TypeVar("ImageHead", bound=_ImageHead)


def _linear_unless_said(head: Any) -> Any:
    """A head without a kind adds nothing to the one layer that every head has."""
    return {"kind": "linear", **head} if isinstance(head, dict) else head


Head = Annotated[
    Annotated[
        LinearHead
        | MlpHead
        | ConvHead
        | QueryHead
        | KnnHead
        | CosineHead
        | PretrainedHead
        | DenseLinearHead
        | DenseConvHead
        | DensePyramidHead,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_linear_unless_said),
]


def rebuild(head: Head, other: type[ImageHead], /, **own: Any) -> ImageHead:
    """A head of another kind in the place of `head`: it says the same of the images, and has the same wishes."""
    return other.model_validate({**head.model_dump(include=set(_ImageHead.model_fields)), **own})


def main_of(heads: Mapping[str, Head]) -> str:
    """The head whose metric selects checkpoints and decides: the one that is alone, or says so."""
    return next(name for name, head in heads.items() if head.main or len(heads) == 1)
