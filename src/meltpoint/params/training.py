"""The strategies to compare, and how the machine trains them."""

from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import AtLeastOne, Count, Fraction, Name, NonNegative, Positive, Real, Section
from meltpoint.params.model import Tap


class Embed(Section):
    """How frozen encoders run over their views."""

    batch: AtLeastOne
    max_gb: Positive  # larger features are not stored; the encoder then runs in each epoch


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

    encoder: Name  # a row of `encoders`
    taps: dict[Name, Tap | tuple[int, ...]] = {}  # of heads that read this encoder at another place than they say
    repeats: AtLeastOne | None = None  # trainings, each with a seed of its own; the first one's model ships. null: one
    sampling: Sampling | None = None  # null: shuffled
    probe: Probe

    @property
    def unfrozen_epochs(self) -> int:
        """Epochs in which the encoder learns, too."""
        return 0


class FrozenStrategy(_Strategy):
    """Heads over the encoder as it came."""

    kind: Literal["frozen"]


class FinetuneStrategy(_Strategy):
    """Starts from probed heads, then trains the encoder too, AdamW with a warm-up and a cosine."""

    kind: Literal["finetune"]
    unfreeze: Literal["all"] | AtLeastOne  # how many of the last stages or blocks learn
    epochs: AtLeastOne
    batch: AtLeastOne
    accumulate: AtLeastOne | None = None  # batches per optimiser step; null: one
    lr: Positive  # of the heads
    backbone_lr: Positive  # of the last unfrozen stage
    schedule: Schedule
    layer_decay: Annotated[Real, Field(gt=0, le=1)] | None = None  # each earlier stage learns this much slower
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


Strategy = Annotated[FrozenStrategy | FinetuneStrategy, Field(discriminator="kind")]


class Train(Section):
    """The machine: nothing here should change what is learnt, but for rounding."""

    processes: AtLeastOne | None = None  # that train side by side; null: one
    workers: Count = 0  # loader processes
    threads: Count = 0  # of torch; 0 leaves it to torch. Results are bit-equal at equal threads
    precision: Literal["auto", "fp32", "bf16"] | None = None  # null: auto, what is fast here
    checkpoint_steps: AtLeastOne
