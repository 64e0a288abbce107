"""How the machine embeds and trains."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

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


def _host_and_port(value: str) -> str:
    if re.fullmatch(r"[\w.-]+:\d{1,5}", value) is None or not 0 < int(value.rpartition(":")[2]) < 2**16:
        raise ValueError(f"{value!r} is not HOST:PORT of this machine, as the others reach it: gpu-1:29400, say")
    return value


class Train(Section):
    """The machine: nothing here should change what is learnt, but for rounding."""

    processes: AtLeastOne | None = None  # that train side by side; null: one
    workers: Count = 0  # loader processes
    threads: Count = 0  # of torch; 0 leaves it to torch. Results are bit-equal at equal threads
    precision: Literal["auto", "fp32", "bf16"] | None = None  # null: auto, what is fast here
    checkpoint_steps: AtLeastOne
    restarts: Count = 0  # of all processes from the last checkpoint, after one of them was lost
    nodes: AtLeastOne | None = None  # machines that train together, each with so many processes; null: this one
    rendezvous: Annotated[str, AfterValidator(_host_and_port)] | None = None  # of this machine, for the others

    @model_validator(mode="after")
    def _several(self) -> "Train":
        nodes = self.nodes or 1
        if self.restarts and (self.processes or 1) * nodes == 1:
            raise ValueError(
                "`restarts` are those of several processes, and there is one. Add `processes`, or remove it: the same"
                " command goes on from the last checkpoint, too"
            )
        if nodes == 1 and self.rendezvous is not None:
            raise ValueError(
                "`rendezvous` is where several machines meet, and `nodes` is not set. Add `nodes: 2`, or remove it"
            )
        if nodes > 1 and self.rendezvous is None:
            raise ValueError(
                "`rendezvous` is missing: HOST:PORT of this machine, as the others of `nodes` reach it, for example"
                " gpu-1:29400"
            )
        return self
