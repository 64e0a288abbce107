"""The strategies to compare: a class for each kind, from the least that learns to the most."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from meltpoint.params.base import AtLeastOne, Fraction, Name, NonNegative, Positive, Real, Section
from meltpoint.params.heads import CosineHead, Head, KnnHead, LinearHead, PretrainedHead, rebuild
from meltpoint.params.model import Tap
from meltpoint.params.queries import Prompts

Word = Annotated[str, Field(min_length=1)]
Schedule = Literal["cosine", "poly"]  # of the learning rate, down to 0; poly: (1 - t) ** 0.9
Sampling = Literal["shuffled", "balanced"]  # balanced: each class of the main head is drawn equally often


class Probe(Section):
    """Heads on cached features: every regularisation strength is fitted at once, val chooses per head."""

    epochs: AtLeastOne
    batch: AtLeastOne
    lr: Positive
    schedule: Schedule
    weight_decays: Annotated[list[NonNegative], Field(min_length=1)]
    label_smoothing: Fraction = 0.0


class _Strategy(Section):
    """What every row of `strategies` says."""

    tasks: ClassVar[tuple[str, ...]] = ()  # the kinds of tasks that it can do; none: all

    encoder: Name  # a row of `encoders`
    heads: Annotated[list[Name], Field(min_length=1)] | None = None  # those that it has, the main one too; null: all
    taps: dict[Name, Tap | tuple[int, ...]] = {}  # of heads that read this encoder at another place than they say
    repeats: AtLeastOne | None = None  # trainings, each with a seed of its own; the first one's model ships. null: one

    def fit_head(self, head: Head) -> Head:
        """The head that takes the place of one of `heads` where this strategy builds another kind of it."""
        return head

    @property
    def labelled(self) -> int | None:
        """How many labelled training images of each class it may learn from; None: all."""
        return None

    @property
    def probe_epochs(self) -> int:
        """Epochs in which heads learn on cached features."""
        return 0

    @property
    def probe_heads(self) -> int:
        """How many of each head learn there at once."""
        return 0

    @property
    def unfrozen_epochs(self) -> int:
        """Epochs in which the encoder learns, too."""
        return 0


class _LabelledStrategy(_Strategy):
    """One that learns from labelled training images."""

    shots: AtLeastOne | None = None  # labelled training images of each class, drawn by the seed; null: all there are

    @property
    def labelled(self) -> int | None:
        """How many labelled training images of each class it may learn from; None: all."""
        return self.shots


class _ProbedStrategy(_LabelledStrategy):
    """One that learns heads by gradient descent on cached features, first or only."""

    sampling: Sampling | None = None  # null: shuffled
    probe: Probe

    @property
    def probe_epochs(self) -> int:
        """Epochs in which heads learn on cached features."""
        return self.probe.epochs

    @property
    def probe_heads(self) -> int:
        """How many of each head learn there at once."""
        return len(self.probe.weight_decays)


class PretrainedStrategy(_Strategy):
    """The classifier that came with the encoder's weights, as it is."""

    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    kind: Literal["pretrained"]
    # Of a class of the data, the classifier's classes that stand for it, by WordNet id or name; {}: those called so.
    classes: dict[str, Annotated[list[str], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _has_no_taps(self) -> "PretrainedStrategy":
        if self.taps:
            raise ValueError("the pretrained classifier reads the final features; leave `taps` out")
        return self

    def fit_head(self, head: Head) -> Head:
        """One over the final features."""
        return rebuild(head, PretrainedHead, kind="pretrained")


class PrototypesStrategy(_LabelledStrategy):
    """The nearest class mean of the encoder's features; a linear layer whose weights nobody trains."""

    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    kind: Literal["prototypes"]

    def fit_head(self, head: Head) -> Head:
        """A linear head."""
        return rebuild(head, LinearHead, kind="linear", tap=head.vector)


class KnnStrategy(_LabelledStrategy):
    """The votes of the k most similar training images, whose features the model carries."""

    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    kind: Literal["knn"]
    k: Annotated[list[AtLeastOne], Field(min_length=1)]  # val chooses for each head
    half: bool = False  # whether the model carries numbers of half precision: half the disk

    def fit_head(self, head: Head) -> Head:
        """One that holds vectors, as yet none."""
        return rebuild(head, KnnHead, kind="knn", tap=head.vector, half=self.half)


class FrozenStrategy(_ProbedStrategy):
    """Heads over the encoder as it came."""

    kind: Literal["frozen"]


class TunedStrategy(_ProbedStrategy):
    """One that starts from probed heads, then changes the encoder too: AdamW with a warm-up and a decline."""

    epochs: AtLeastOne
    batch: AtLeastOne
    accumulate: AtLeastOne | None = None  # batches per optimiser step; null: one
    lr: Positive  # of the heads
    schedule: Schedule
    weight_decay: NonNegative = 0.0
    warmup: Fraction = 0.0  # of all steps
    label_smoothing: Fraction = 0.0
    clip: Positive | None = None  # largest norm of the gradient; null: any
    ema: Annotated[Real, Field(ge=0, lt=1)] = 0.0  # decay per step; 0 turns the average off
    patience: AtLeastOne | None = None  # epochs without a better val metric before stopping; null: it never does

    @property
    def unfrozen_epochs(self) -> int:
        """Epochs in which the encoder learns, too."""
        return self.epochs


class LoraStrategy(TunedStrategy):
    """Low-rank changes of the encoder's linear layers and 1x1 convolutions; its own weights stay as they came."""

    kind: Literal["lora"]
    rank: AtLeastOne
    alpha: Positive  # a change is multiplied by alpha / rank
    where: Literal["all"] | Annotated[list[Word], Field(min_length=1)]  # layers whose names hold one of these
    adapter_lr: Positive


class FinetuneStrategy(TunedStrategy):
    """The last stages of the encoder learn with the heads."""

    kind: Literal["finetune"]
    unfreeze: Literal["all"] | AtLeastOne  # how many of the last stages or blocks learn
    backbone_lr: Positive  # of the last unfrozen stage
    layer_decay: Annotated[Real, Field(gt=0, le=1)] | None = None  # each earlier stage learns this much slower


class WordsStrategy(_Strategy):
    """Heads whose weights are the vectors of texts: nothing is trained but how much a likeness counts, on val."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "tagging")

    kind: Literal["words"]
    texts: Annotated[tuple[Literal["names", "descriptions"], ...], Field(min_length=1)]  # what a class is known by
    language: Name | None = None  # the names are those of data.names in it; null: the classes as labels call them
    prompts: Prompts | None = None  # what names are put into; null: nothing
    examples: AtLeastOne | None = None  # training images of each class that count beside the words; null: none

    def fit_head(self, head: Head) -> Head:
        """A head over the space that words share, with the wishes of this one."""
        return rebuild(head, CosineHead, kind="cosine")


Strategy = Annotated[
    WordsStrategy
    | PretrainedStrategy
    | PrototypesStrategy
    | KnnStrategy
    | FrozenStrategy
    | LoraStrategy
    | FinetuneStrategy,
    Field(discriminator="kind"),
]
