"""The strategies to compare, and how the machine trains them."""

from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import AtLeastOne, Count, Fraction, NonNegative, Positive, Real, Section


class Embed(Section):
    """How the frozen backbone runs over the views."""

    batch: AtLeastOne
    max_gb: Positive  # larger features are not stored; the backbone then runs in each epoch


Schedule = Literal["cosine", "poly"]  # of the learning rate, down to 0; poly: (1 - t) ** 0.9
Sampling = Literal["shuffled", "balanced"]  # balanced: each class of the main head is drawn equally often


class Probe(Section):
    """Heads on cached features: every regularisation strength is fitted at once, val chooses per head."""

    epochs: AtLeastOne
    batch: AtLeastOne
    lr: Positive
    schedule: Schedule
    weight_decays: Annotated[list[NonNegative], Field(min_length=1)]
    label_smoothing: Fraction


class FrozenStrategy(Section):
    """Heads over the backbone as it came."""

    kind: Literal["frozen"]
    repeats: AtLeastOne  # trainings, each with a seed of its own; the first one's model ships
    sampling: Sampling
    probe: Probe


class FinetuneStrategy(Section):
    """Starts from probed heads, then trains the backbone too, AdamW with a warm-up and a cosine."""

    kind: Literal["finetune"]
    repeats: AtLeastOne  # as of frozen
    sampling: Sampling
    probe: Probe
    unfreeze: Literal["all"] | AtLeastOne  # how many of the last stages or blocks learn
    epochs: AtLeastOne
    batch: AtLeastOne
    accumulate: AtLeastOne  # batches per optimiser step
    lr: Positive  # of the heads
    backbone_lr: Positive  # of the last unfrozen stage
    schedule: Schedule
    layer_decay: Annotated[Real, Field(gt=0, le=1)]  # each earlier stage learns this much slower
    weight_decay: NonNegative
    warmup: Fraction  # of all steps
    label_smoothing: Fraction
    clip: Positive  # largest norm of the gradient
    ema: Annotated[Real, Field(ge=0, lt=1)]  # decay per step; 0 turns the average off
    patience: AtLeastOne  # epochs without a better val metric before stopping


Strategy = Annotated[FrozenStrategy | FinetuneStrategy, Field(discriminator="kind")]


class Train(Section):
    """The machine: nothing here should change what is learnt, but for rounding."""

    processes: AtLeastOne
    workers: Count  # loader processes
    threads: Count  # of torch; 0 leaves it to torch. Results are bit-equal at equal threads
    precision: Literal["auto", "fp32", "bf16"]
    checkpoint_steps: AtLeastOne
