"""Reports of strategies that never were: predictions as good as asked for, on images and scenes that nobody took."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from meltpoint.arrays import Mask
from meltpoint.compare.results import Results, read_results
from meltpoint.evaluate.judgement import Judgement
from meltpoint.files import write_json
from meltpoint.metrics import confusion
from meltpoint.model.card import HeadCard, TreeCard
from meltpoint.params.heads import DenseLinearHead, LinearHead, Threshold
from meltpoint.params.judging import Compare
from meltpoint.tables import (
    BORDERS,
    IGNORED,
    PIXELS,
    Classes,
    answer_column,
    border_column,
    confusion_column,
    label_column,
    pixel_column,
    probability_columns,
    write_predictions,
)
from meltpoint.tasks.classification import paired
from meltpoint.tasks.classification.metrics import judge_heads
from meltpoint.tasks.segmentation.borders import count_borders

CLASSES: Classes = {"defective": ["intact", "defective"], "severity": ["none", "some", "much"]}
SCENE: Classes = {"scene": ["sky", "road", "car", "person"]}
COLOURS = ["#87ceeb", "#804080", "#1f4fd8", "#e0462e"]


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
        head=head, classes=classes, outputs=1, threshold=threshold, unknown_below=below, names={}, colours=None
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
    table["group"] = ("image:" + table["path"]).astype("string")
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


def make_recipes(names: Sequence[str], classes: Classes, metric: str) -> Any:
    """What a comparison looks at of the recipes of strategies, all with one encoder."""
    views, encoder = SimpleNamespace(side=128), SimpleNamespace(name="tf_efficientnet_lite0", views="s128")
    heads = {head: SimpleNamespace(label=head) for head in classes}
    return {
        name: SimpleNamespace(
            strategy=name, heads=heads, main_head=next(iter(classes)), metric=metric, views=views, encoder=encoder,
            settings=SimpleNamespace(encoder="lite0"),
        )
        for name in names
    }  # fmt: skip


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
        write_json(folder / "costs" / "embed-lite0.json", {"seconds": 3.0, "peak_megabytes": 200.0})
        write_json(folder.parent / "classes.json", classes)
        write_json(folder / "split.json", {"images": {"train": 600, "val": 200, "test": 200}})

    def add(
        self, name: str, predictions: pd.DataFrame, seconds: float = 5.0, repeats: Sequence[pd.DataFrame] = ()
    ) -> None:
        judgement = judge_heads(predictions, self.cards, self.tree, 10)
        self.write(name, predictions, judgement, "mistakes.png", seconds, repeats)

    def write(
        self,
        name: str,
        predictions: pd.DataFrame,
        judgement: Judgement,
        picture: str,
        seconds: float,
        repeats: Sequence[pd.DataFrame] = (),
    ) -> None:
        """The files of a strategy of any task."""
        folder, main = self.folder / "strategies" / name, next(iter(self.classes))
        (folder / "pictures").mkdir(parents=True)
        write_predictions(predictions, folder / "predictions.parquet")
        others = pd.concat(
            [table.assign(repeat=number) for number, table in enumerate(repeats, start=2)]
            or [predictions.iloc[:0].assign(repeat=0)]
        )
        others.to_parquet(folder / "repeats.parquet", index=False)
        write_json(folder / "metrics.json", judgement.metrics)
        write_json(folder / "hierarchy.json", judgement.hierarchy)
        judgement.splits["test"][main].reliability.to_csv(folder / "reliability.csv", index=False)
        Image.new("RGB", (40, 30)).save(folder / "pictures" / picture)
        train = {"seconds": seconds, "peak_megabytes": 100.0, "parameters": 50, "trainable_parameters": 5}
        predict = {
            "latency_p50_ms": 10.0, "latency_p95_ms": 12.0, "throughput_per_second": 90.0, "megabytes": 13.5,
            "parameters": 50, "trainable_parameters": 5, "peak_megabytes": 300.0,
        }  # fmt: skip
        write_json(self.folder / "costs" / f"train-{name}.json", train)
        write_json(self.folder / "costs" / f"predict-{name}.json", predict)

    def read(self, *names: str, metric: str = "accuracy") -> Results:
        recipes = make_recipes(names, self.classes, metric)
        return read_results(self.folder, recipes, self.folder.parent / "classes.json", paired)

    def results(self, images: int = 200, **strategies: tuple[float, float]) -> Results:
        """Strategies as name=(share of errors, seconds of training), each with errors of its own."""
        for seed, (name, (errors, seconds)) in enumerate(strategies.items(), start=1):
            self.add(name, make_predictions(errors, seed, images, self.classes), seconds)
        return self.read(*strategies)


def make_masks(images: int, size: int, seed: int, void: bool = True) -> Mask:
    """True masks (N, S, S): a horizon, cars, persons; the class of the line between sky and road is not known."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), np.uint8)
    for number, mask in enumerate(masks):
        horizon = int(rng.uniform(0.3, 0.6) * size)
        mask[horizon:] = 1
        for _ in range(2):
            x, y = (int(part) for part in (rng.uniform(0, 0.7) * size, rng.uniform(0.5, 0.8) * size))
            mask[y : y + size // 6, x : x + size // 3] = 2
        if number % 2:
            x = int(rng.uniform(0.2, 0.8) * size)
            cv2.circle(mask, (x, int(0.6 * size)), size // 9, 3, -1)
        if void:
            mask[horizon - 1 : horizon + 1] = IGNORED
    return masks


def answer_masks(true: Mask, errors: float, seed: int) -> Mask:
    """What a predictor says of each mask: all of it moved, and some blobs of another class."""
    rng = np.random.default_rng(seed)
    said = true.copy()
    for mask in said:
        level = errors * rng.uniform(0, 2)
        mask[:] = np.roll(mask, int(rng.integers(-1, 2) * 20 * level), 1)
        for _ in range(int(10 * level)):
            x, y = rng.integers(0, len(mask), 2)
            cv2.circle(mask, (int(x), int(y)), len(mask) // 12, int(rng.integers(0, 4)), -1)
    return said


def paint_images(true: Mask, seed: int) -> NDArray[np.uint8]:
    """Photographs (N, S, S, 3) of the masks: dull colours and noise."""
    table = np.zeros((256, 3))
    table[: len(COLOURS)] = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in COLOURS]
    noise = np.random.default_rng(seed).normal(0, 18, (*true.shape, 3))
    return (110 + 0.35 * (table[true] - 110) + noise).clip(0, 255).astype(np.uint8)


def tabulate(ids: NDArray[np.int64], split: str, true: Mask, said: Mask, classes: Classes = SCENE) -> pd.DataFrame:
    """Predictions of masks (`tables.check_counts`): the same masks for every head."""
    rows = []
    for number, own, answer in zip(ids, true, said, strict=True):
        path = f"{split}/{number:04d}.png"
        row: dict[str, Any] = {"id": number, "path": path, "split": split, "group": f"image:{path}"}
        for head, names in classes.items():
            counts = confusion(np.where(own == IGNORED, -1, own.astype(np.int64)).ravel(), answer.ravel(), len(names))
            hits = np.diagonal(counts)
            for count, values in zip(PIXELS, (hits, counts.sum(0) - hits, counts.sum(1) - hits), strict=True):
                row |= {pixel_column(head, count, name): value for name, value in zip(names, values, strict=True)}
            for count, values in zip(BORDERS, count_borders(answer, own, len(names)), strict=True):
                row |= {border_column(head, count, name): value for name, value in zip(names, values, strict=True)}
            row[confusion_column(head)] = counts.ravel()
        rows.append(row)
    return pd.DataFrame(rows)


def make_mask_card(classes: list[str] | None = None) -> HeadCard:
    """A head of masks with these classes, each in a colour."""
    names = classes or SCENE["scene"]
    head = DenseLinearHead(
        kind="dense_linear", label="scene", taps=(-1,), weight=1.0, class_weights="none", dice=0.0, main=True
    )
    return HeadCard(
        head=head, classes=names, outputs=len(names), threshold=None, unknown_below=None, names={},
        colours=[COLOURS[number % len(COLOURS)] for number in range(len(names))],
    )  # fmt: skip


class Scenes:
    """`images` of val and as many of test after three of train; a predictor of them, and what it says of them."""

    def __init__(self, images: int = 12, size: int = 48, errors: float = 0.2, seed: int = 1) -> None:
        self.true = make_masks(2 * images + 3, size, 0)
        self.said = answer_masks(make_masks(2 * images + 3, size, 0, void=False), errors, seed)
        self.ids = np.arange(2 * images + 3) + 10
        split = ["train"] * 3 + ["val"] * images + ["test"] * images
        self.views: Any = SimpleNamespace(
            samples=pd.DataFrame({"id": self.ids, "split": split}), plain=paint_images(self.true, 2), masks=self.true
        )
        card = make_mask_card()
        self.card: Any = SimpleNamespace(main_head="scene", heads={"scene": card}, classes={"scene": card.classes})
        parts = [slice(3, 3 + images), slice(3 + images, None)]
        self.table = pd.concat(
            [
                tabulate(self.ids[part], name, self.true[part], self.said[part])
                for name, part in zip(("val", "test"), parts, strict=True)
            ],
            ignore_index=True,
        )

    def masks_of(self, views: Any, rows: NDArray[np.int64]) -> dict[str, Mask]:
        """As a predictor does."""
        assert views is self.views
        return {"scene": self.said[rows]}


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
    return Compare(metric="accuracy", margin=0.01, confidence=0.95, cost="train_seconds")


@pytest.fixture(scope="session")
def scenes() -> type[Scenes]:
    return Scenes


@pytest.fixture(scope="session", name="tabulate")
def fixture_tabulate() -> Callable[..., pd.DataFrame]:
    return tabulate


@pytest.fixture(scope="session")
def mask_card() -> Callable[..., HeadCard]:
    return make_mask_card
