"""What a task consists of, and the one place that loads it: a folder with a file for each part.

Each part is loaded by itself, so that a comparison does without torch and a served model without what draws reports,
and so that a change of one part makes only those stages run again that use it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from meltpoint.arrays import Pixels, Probabilities
    from meltpoint.compare.results import PairedPart
    from meltpoint.evaluate.judgement import Judgement
    from meltpoint.images.views import Views
    from meltpoint.model.card import Card
    from meltpoint.params.data import ViewRow
    from meltpoint.params.heads import Head, Target
    from meltpoint.params.judging import Evaluate
    from meltpoint.predict.inputs import Source
    from meltpoint.predict.predictor import Predictor
    from meltpoint.predict.records import Answer, DisplayPart, Question
    from meltpoint.tasks.answerer import Answerer

MISSING = -1  # stands for an image without a label
LOSS = "loss"

Scores = dict[str, NDArray[np.float64]]  # by name, each (...,)
NamedTable = tuple[str, pd.DataFrame, list[NDArray[np.uint8]] | None]  # name, rows, a photograph for each row
Gather = Callable[["Tensor"], "Tensor"]  # rows (n, ...) of this process to those of all, filled up with -1


class ObjectiveError(UserError, ValueError):
    """Labels or classes that cannot be learnt."""


def check_known(names: Iterable[str], classes: Sequence[str]) -> None:
    """Whether the names in labels are classes.

    Raises:
        ObjectiveError: one is not.
    """
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ObjectiveError(
            f"The labels hold the unknown classes {unknown}; known are {list(classes)}. Correct data.labels,"
            " or run `dvc repro` from the download stage."
        )


class Tally(Protocol):
    """How a head does on images that come in batches, each once."""

    def add(self, outputs: "Tensor", targets: "Tensor", /) -> None:
        """Take a batch in: outputs (..., N, ...) and what they should have been (N, ...), as `wanted` gives it."""
        ...

    def scores(self, gather: Gather, /) -> Scores:
        """`loss` and metrics, each (...), over all images of all processes; the same in every process."""
        ...


class Objective(Protocol):
    """Turns labels into targets, outputs into a loss and into probabilities. It never learns of devices or loops."""

    @property
    def n_outputs(self) -> int:
        """K, the number of outputs the head has to give, of an image or of a pixel."""
        ...

    def encode(self, labels: "pd.Series[str]") -> "Tensor":
        """Label cells (N,) to int64 (N,), or (N, K) of tags: what is stored of each image, -1 where it is missing."""
        ...

    def counts_for(self, targets: "Tensor") -> "Tensor":
        """Of encoded labels the class int64 (N,) that an image counts for where classes are drawn evenly, or -1."""
        ...

    def wanted(self, labels: "Tensor", masks: "Tensor | None", /) -> "Tensor":
        """What outputs are compared with, of encoded labels or of masks uint8 (N, S, S), where there are some."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor", label_smoothing: float) -> "Tensor":
        """Outputs (..., N, ...) and targets (N, ...) to the mean loss (...,), 0 where nothing is labelled."""
        ...

    def decode(self, outputs: "Tensor") -> "Tensor":
        """Outputs (..., N, ...) to probabilities float32 in class order, which sum to 1, but for tags."""
        ...

    def tally(self) -> Tally:
        """An empty tally of what this head gives."""
        ...

    def learn_thresholds(
        self, name: str, probabilities: NDArray[np.floating], targets: "Tensor", groups: NDArray[np.object_]
    ) -> list[float] | None:
        """The threshold of each class by itself, of probabilities, targets and groups on val; None: it has none."""
        ...


class ObjectivePart(Protocol):
    """objective.py: what a target means. It may use torch."""

    def build_objective(
        self, head: Any, classes: list[str], train_labels: "pd.Series[str]", count: "Callable[[], Tensor]"
    ) -> Objective:
        """The objective of one head; `count` gives the pixels of each id in the training masks, int64 (256,).

        Raises:
            ObjectiveError: labels or classes that cannot be learnt.
        """
        ...

    def count_outputs(self, n_classes: int, target: "Target") -> int:
        """How many outputs a head of so many classes gives."""
        ...

    def decode(self, outputs: "Tensor", head: "Head") -> "Tensor":
        """Outputs of a head to probabilities float32 in class order."""
        ...


class AnswerPart(Protocol):
    """answer.py: what outputs mean to a person; each function is given a predictor. Torch only inside functions."""

    MASKS: bool  # whether answers are masks

    def decode(self, outputs: "Tensor", head: "Head") -> "Tensor":
        """Outputs of a head to probabilities float32 in class order."""
        ...

    def fit_batch(self, predictor: "Predictor", batch: int) -> int:
        """How many pictures go through the model at once where `batch` are asked for."""
        ...

    def look(
        self,
        predictor: "Predictor",
        sources: "Source | Iterable[Source]",
        question: "Question",
        batch: int,
        side: int | None,
    ) -> "Iterator[tuple[Answer, Pixels | None]]":
        """The answer to each picture, and the picture itself, uint8 (H, W, 3), its sides no longer than `side`."""
        ...

    def decide_all(self, predictor: "Predictor", probabilities: "Probabilities") -> dict[str, NDArray[Any]]:
        """Probabilities of all heads to answers by head: class ids, tags given (N, K), masks."""
        ...

    def predict_views(
        self, predictor: "Predictor", views: "Views", rows: NDArray[np.int64], batch: int
    ) -> pd.DataFrame:
        """The table of predictions for some plain views."""
        ...

    def predict_images(self, predictor: "Predictor", sources: "Iterable[Source]", batch: int) -> pd.DataFrame:
        """A row for each source: `source`, `error`, and what each head says."""
        ...


class MetricsPart(Protocol):
    """metrics.py: what predictions are worth. No torch."""

    def judge(self, predictions: pd.DataFrame, card: "Card", settings: "Evaluate") -> "Judgement":
        """Judge the predictions of a model, apart for val and test."""
        ...


class ReportPart(Protocol):
    """report.py: what an evaluation writes and draws."""

    def write_report(
        self,
        predictions: pd.DataFrame,
        judgement: "Judgement",
        views: "Views",
        answerer: "Answerer",
        settings: "Evaluate",
        folder: Path,
    ) -> None:
        """Write `folder`, whole or not at all: predictions, scores, tables for `dvc plots`, pictures."""
        ...


class RegistryPart(Protocol):
    """registry.py: what of a registered version depends on the task."""

    MODEL_TYPE: str  # as MLflow's pages call it

    def score_again(
        self, champion: "Answerer", folder: Path, rows: "Mapping[str, ViewRow]", metric: str, batch: int
    ) -> pd.DataFrame:
        """What a champion answers for today's test images, whose views are `rows`: `id`, `group`, what to compare."""
        ...

    def tables_of(self, views: "Views", card: "Card", worst: int, report: Path) -> Iterator[NamedTable]:
        """The worst mistakes of the main head, and the answers for the test images; `report` has the predictions."""
        ...


def _load(part: str, kind: str) -> Any:
    return import_module(f"meltpoint.tasks.{kind}.{part}")


# Each gives a part of a task by the task's kind.
load_objective: Callable[[str], ObjectivePart] = partial(_load, "objective")
load_answer: Callable[[str], AnswerPart] = partial(_load, "answer")
load_display: Callable[[str], "DisplayPart"] = partial(_load, "display")
load_metrics: Callable[[str], MetricsPart] = partial(_load, "metrics")
load_report: Callable[[str], ReportPart] = partial(_load, "report")
load_paired: Callable[[str], "PairedPart"] = partial(_load, "paired")
load_registry: Callable[[str], RegistryPart] = partial(_load, "registry")
