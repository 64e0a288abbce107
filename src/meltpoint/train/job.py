"""What a strategy is given and what it gives back: the contract of the files in train/strategies."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar, cast

from torch import nn

from meltpoint.images.views import Views
from meltpoint.model.model import Model, build_model
from meltpoint.params.base import Section
from meltpoint.params.heads import Head
from meltpoint.params.recipe import Recipe
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.features import Features
from meltpoint.train.problem import Problem

Settings = TypeVar("Settings", bound=Section)


@dataclass(frozen=True)
class Texts:
    """What the classes of labels are called in languages, and described by; empty where params.yaml names no table."""

    names: dict[str, dict[str, dict[str, str]]]  # label -> language -> class -> its name for people
    descriptions: dict[str, dict[str, list[str]]]  # label -> class -> sentences


@dataclass(frozen=True)
class Job(Generic[Settings]):
    """One training with one seed, and everything that it needs."""

    recipe: Recipe
    views: Views
    features: Features
    problem: Problem
    checkpoint: Checkpoint  # an interrupted training continues there, and its curves are written there
    texts: Texts = Texts({}, {})

    @property
    def settings(self) -> Settings:
        """The strategy's own section of params.yaml."""
        return cast(Settings, self.recipe.settings)

    def build_model(self) -> Model:
        """The pretrained backbone under untrained heads, in eval mode."""
        return build_model(self.recipe.encoder, self.problem.heads, self.problem.n_outputs, self.views.size)


@dataclass(frozen=True)
class Outcome:
    """A trained model, and what it took."""

    model: Model
    heads: Mapping[str, Head]  # as the model has them: what its card says
    trainable: int  # parameters
    epochs: float
    seconds: float  # of all parts of an interrupted training together
    peak_megabytes: float
    sentence: str  # what was reached, in words


class Strategy(Protocol):
    """A file in train/strategies, named as its kind in params.yaml.

    One that can train in several processes also has `work(job)`: `launch(job)` calls it in each of them, to take the
    training in the job's checkpoint to its end together with the others.
    """

    def train(self, job: Job[Any]) -> Outcome:
        """Train, or continue from the job's checkpoint; the same job gives the same weights, to the bit.

        Raises:
            UserError: the settings do not fit the backbone, the data or the machine.
        """
        ...


def load_strategy(kind: str) -> Strategy:
    """The file of that kind."""
    return cast(Strategy, import_module(f"meltpoint.train.strategies.{kind}"))


def count_parameters(model: nn.Module) -> int:
    """How many numbers the parameters hold."""
    return sum(value.numel() for value in model.parameters())
