"""Reports of strategies that never were: predictions as good as asked for, on images that nobody took."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.evaluate.classification import judge
from meltpoint.evaluate.evidence import Evidence, read_evidence
from meltpoint.files import write_json
from meltpoint.model.card import HeadCard, TreeCard
from meltpoint.params.judging import Compare
from meltpoint.params.model import LinearHead, Threshold
from meltpoint.tables import Classes, answer_column, label_column, probability_columns, write_predictions

CLASSES: Classes = {"defective": ["intact", "defective"], "severity": ["none", "some", "much"]}


def make_card(
    classes: list[str],
    target: str = "nominal",
    threshold: float | None = None,
    wished: Threshold | None = None,
    below: float | None = None,
    right: float | None = None,
) -> HeadCard:
    """A head with these classes, and what val taught it."""
    head = LinearHead.model_validate(
        {
            "kind": "linear", "label": "any", "tap": "final", "target": target, "where": None, "weight": 1.0,
            "class_weights": "none", "threshold": wished, "unknown": right, "main": True,
        }
    )  # fmt: skip
    return HeadCard(
        head=head, classes=classes, outputs=1, threshold=threshold, unknown_below=below, names={}
    )  # fmt: skip


def make_cards(classes: Classes) -> dict[str, HeadCard]:
    """Heads that learnt nothing on val."""
    return {name: make_card(names) for name, names in classes.items()}


def answer(table: pd.DataFrame, head: str, names: list[str]) -> None:
    """Let the most probable class be the answer."""
    best = table[probability_columns(head, names)].to_numpy().argmax(1)
    table[answer_column(head)] = pd.array(np.asarray(names)[best], dtype="string")


def make_predictions(errors: float, seed: int, images: int = 200, classes: Classes = CLASSES) -> pd.DataFrame:
    """`images` of val and as many of test; labels do not depend on `seed`, which says whose errors they are."""
    truth, mind = np.random.default_rng(0), np.random.default_rng(seed)
    table = pd.DataFrame({"id": np.arange(2 * images) + 10, "split": ["val"] * images + ["test"] * images})
    table["path"] = [f"{number}.png" for number in table["id"]]
    for head, names in classes.items():
        true = truth.integers(0, len(names), 2 * images)
        said = np.where(mind.random(2 * images) < errors, (true + 1) % len(names), true)
        probabilities = mind.dirichlet(np.ones(len(names)), 2 * images)
        order = np.argsort(probabilities, axis=1)
        rows = np.arange(2 * images)
        top = order[:, -1]
        probabilities[rows, top], probabilities[rows, said] = probabilities[rows, said], probabilities[rows, top]
        table[label_column(head)] = pd.array(np.asarray(names)[true], dtype="string")
        table[probability_columns(head, names)] = probabilities.astype(np.float32)
        answer(table, head, names)
    return table


class Reports:
    """What stages train and evaluate leave behind, as far as the comparison reads it; the first head decides."""

    def __init__(
        self,
        folder: Path,
        classes: Classes = CLASSES,
        cards: dict[str, HeadCard] | None = None,
        tree: TreeCard | None = None,
    ) -> None:
        self.folder, self.classes, self.cards, self.tree = folder, classes, cards or make_cards(classes), tree
        write_json(folder / "costs" / "embed.json", {"seconds": 3.0, "peak_megabytes": 200.0})
        write_json(folder.parent / "classes.json", classes)

    def add(self, name: str, predictions: pd.DataFrame, seconds: float = 5.0) -> None:
        folder, main = self.folder / "strategies" / name, next(iter(self.classes))
        judgement = judge(predictions, self.cards, self.tree, 10)
        (folder / "pictures").mkdir(parents=True)
        write_predictions(predictions, folder / "predictions.parquet")
        write_json(folder / "metrics.json", judgement.metrics)
        write_json(folder / "hierarchy.json", judgement.hierarchy)
        judgement.splits["test"][main].reliability.to_csv(folder / "reliability.csv", index=False)
        Image.new("RGB", (40, 30)).save(folder / "pictures" / "mistakes.png")
        train = {"seconds": seconds, "peak_megabytes": 100.0, "parameters": 50, "trainable_parameters": 5}
        predict = {
            "latency_p50_ms": 10.0, "latency_p95_ms": 12.0, "throughput_per_second": 90.0, "megabytes": 13.5,
            "parameters": 50, "trainable_parameters": 5, "peak_megabytes": 300.0,
        }  # fmt: skip
        write_json(self.folder / "costs" / f"train-{name}.json", train)
        write_json(self.folder / "costs" / f"predict-{name}.json", predict)

    def read(self, *names: str) -> Evidence:
        heads: dict[str, Any] = {head: SimpleNamespace(label=head) for head in self.classes}
        return read_evidence(
            self.folder, list(names), heads, next(iter(self.classes)), self.folder.parent / "classes.json"
        )

    def evidence(self, images: int = 200, **strategies: tuple[float, float]) -> Evidence:
        """Strategies as name=(share of errors, seconds of training), each with errors of its own."""
        for seed, (name, (errors, seconds)) in enumerate(strategies.items(), start=1):
            self.add(name, make_predictions(errors, seed, images, self.classes), seconds)
        return self.read(*strategies)


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path / "reports")


@pytest.fixture
def predict() -> Callable[..., pd.DataFrame]:
    return make_predictions


@pytest.fixture(scope="session")
def card() -> Callable[..., HeadCard]:
    return make_card


@pytest.fixture(scope="session")
def cards() -> Callable[[Classes], dict[str, HeadCard]]:
    return make_cards


@pytest.fixture(scope="session", name="answer")
def fixture_answer() -> Callable[[pd.DataFrame, str, list[str]], None]:
    return answer


@pytest.fixture
def settings() -> Compare:
    return Compare(metric="accuracy", margin=0.01, confidence=0.95, resamples=500, cost="train_seconds")
