"""All of params.yaml that one training depends on: a row of `strategies` with the rows that it refers to."""

from typing import Any

from meltpoint.params.base import Count, Name, Positive, Section
from meltpoint.params.data import ViewRow
from meltpoint.params.heads import Head, main_of
from meltpoint.params.judging import Metric
from meltpoint.params.model import Encoder, Reading, Task
from meltpoint.params.strategies import Strategy
from meltpoint.params.training import Train


class Recipe(Section):
    """One strategy of params.yaml with all that its training reads, and nothing else."""

    strategy: Name  # its name
    settings: Strategy
    seed: Count
    task: Task
    heads: dict[Name, Head]  # with the taps of this strategy
    metric: Metric
    max_megapixels: Positive
    views: ViewRow
    encoder: Encoder
    machine: Train

    @property
    def main_head(self) -> str:
        """The name of the head whose metric selects checkpoints and decides."""
        return main_of(self.heads)

    @property
    def readings(self) -> set[Reading]:
        """What the heads are given of the encoder."""
        return {head.reads for head in self.heads.values()}


def retap(head: Head, tap: Any) -> Head:
    """The same head over another tap of its encoder.

    Raises:
        ValidationError: heads of this kind have no such tap.
    """
    found: Head = type(head).model_validate({**head.model_dump(), "taps" if head.dense else "tap": tap})
    return found
