"""How the machine embeds and trains."""

from typing import Literal

from meltpoint.params.base import AtLeastOne, Count, Positive, Section


class Embed(Section):
    """How frozen encoders run over their views."""

    batch: AtLeastOne
    max_gb: Positive  # larger features are not stored; the encoder then runs in each epoch


class Train(Section):
    """The machine: nothing here should change what is learnt, but for rounding."""

    processes: AtLeastOne | None = None  # that train side by side; null: one
    workers: Count = 0  # loader processes
    threads: Count = 0  # of torch; 0 leaves it to torch. Results are bit-equal at equal threads
    precision: Literal["auto", "fp32", "bf16"] | None = None  # null: auto, what is fast here
    checkpoint_steps: AtLeastOne
