"""How strategies are measured, compared, and admitted to the registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import AtLeastOne, Count, Fraction, Name, Positive, Section
from meltpoint.params.data import ViewRow

# kappa: of ordinal heads; of log_loss less is better; see METRICS_OF
Metric = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "f1", "roc_auc", "log_loss", "quadratic_kappa", "miou", "dice",
    "pixel_accuracy", "map", "micro_f1",
]  # fmt: skip
Ceiling = Literal[
    "latency_p50_ms", "latency_p95_ms", "megabytes", "peak_megabytes", "predict_megabytes", "parameters"
]  # peak: while it trained
PIXEL_METRICS: tuple[Metric, ...] = ("miou", "dice", "pixel_accuracy")
TAG_METRICS: tuple[Metric, ...] = ("map", "micro_f1", "macro_f1")
CLASS_METRICS: tuple[Metric, ...] = (
    "accuracy", "balanced_accuracy", "macro_f1", "f1", "roc_auc", "log_loss", "quadratic_kappa",
)  # fmt: skip
METRICS_OF = {"classification": CLASS_METRICS, "segmentation": PIXEL_METRICS, "tagging": TAG_METRICS}  # by task


class Evaluate(Section):
    """What is measured of each strategy."""

    batch: AtLeastOne
    calibration_bins: Annotated[int, Field(ge=2)]
    worst: Count = 0  # mistakes shown on the contact sheet
    latency_runs: AtLeastOne


class Compare(Section):
    """What decides: the metric, the loss that does not matter, how sure to be, and what is cheap."""

    metric: Metric  # of the main head
    margin: Fraction  # a loss smaller than this does not matter
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    cost: Literal["train_seconds", "latency_p50_ms", "megabytes", "trainable_parameters", "peak_megabytes"]


class Register(Section):
    """The registered model and the gate before its alias `champion`."""

    name: Name
    floors: dict[str, Fraction] = {}  # "head/metric": the least a champion may have on test
    ceilings: dict[Ceiling, Positive] = {}  # the most a champion may cost
    new_labels: bool = False  # allow a champion with other classes than the one before


@dataclass(frozen=True)
class GateRules:
    """What a challenger is judged by, against a champion that answers the test images of today again."""

    head: str  # the main one
    compare: Compare
    limits: Register
    views: Mapping[str, ViewRow]  # of today
    batch: int  # images through a champion at once
