"""How the machine embeds and trains."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from meltpoint.params.base import AtLeastOne, Count, Positive, Section


class Embed(Section):
    """How frozen encoders run over their views."""

    batch: AtLeastOne
    max_gb: Positive  # larger features are not stored; the encoder then runs in each epoch
    engine: Literal["ray"] | None = None  # where they run: on a Ray cluster; null: in this process
    address: str | None = None  # of a running cluster, "auto" for this machine's; null: one that is started here

    @model_validator(mode="after")
    def _cluster(self) -> "Embed":
        if self.address is not None and self.engine is None:
            raise ValueError("`address` is that of a cluster, and `engine` is not set. Add `engine: ray`, or remove it")
        return self


class Train(Section):
    """The machine: nothing here should change what is learnt, but for rounding."""

    processes: AtLeastOne | None = None  # that train side by side; null: one
    workers: Count = 0  # loader processes
    threads: Count = 0  # of torch; 0 leaves it to torch. Results are bit-equal at equal threads
    precision: Literal["auto", "fp32", "bf16"] | None = None  # null: auto, what is fast here
    checkpoint_steps: AtLeastOne
    restarts: Count = 0  # of all processes from the last checkpoint, after one of them was lost
    nodes: AtLeastOne | None = None  # machines that train together, each with so many processes; null: this one
    rendezvous: Annotated[str, Field(pattern=r"^[\w.-]+:\d{1,5}$")] | None = None  # of this machine, for the others

    @model_validator(mode="after")
    def _place_to_meet(self) -> "Train":
        if (self.nodes or 1) > 1 and self.rendezvous is None:
            raise ValueError(
                "`rendezvous` is missing: HOST:PORT of this machine, as the others of `nodes` reach it, for example"
                " gpu-1:29400"
            )
        return self
