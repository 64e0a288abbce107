"""What the decision may look at: every strategy's predictions on the same images, its scores, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from meltpoint.arrays import Ints
from meltpoint.compare.formatting import Wording
from meltpoint.compare.measured import Measured
from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.params.recipe import Recipe
from meltpoint.tables import JUDGED, REPEAT, REPEATS, Classes, read_classes


class ResultsError(UserError, ValueError):
    """The reports of the strategies cannot be compared: one is missing, or they are about different images."""


class Answers(Protocol):
    """One head on one split: what each strategy answered for the labelled images."""

    @property
    def group(self) -> Ints:
        """The group id (N,) of each image that has a label, from 0 on."""

    def measure(self, metric: str) -> Measured:
        """The strategies' metric, and how sure it is."""


class PairedPart(Protocol):
    """What is compared of the models of a task: its part paired.py."""

    PICTURE: str  # the file of the worst images
    WORDING: Wording

    def read(self, path: Path, classes: Classes, metric: str) -> pd.DataFrame:
        """Of the predictions of a strategy the columns id, split, group, and of each head what the metric asks for."""
        ...

    def asked(self, table: pd.DataFrame, classes: Classes) -> pd.DataFrame:
        """What has to be the same for all strategies: the labels."""
        ...

    def pair(self, trainings: Sequence[Sequence[pd.DataFrame]], head: str, names: list[str]) -> Answers:
        """The answers of each strategy's trainings, in tables whose rows are the same images."""
        ...


@dataclass(frozen=True)
class Results:
    """Everything about `strategies`, in this order, that is known after evaluation; `recipes` say what they are.

    `answers` is split -> head. `metrics` is strategy -> split -> head -> score (metrics.json), `hierarchies` strategy
    -> split -> what the tree does (hierarchy.json; {} without a tree). `costs` is strategy -> `train_seconds`
    (embedding and training), `peak_megabytes` (of both), `trainable_parameters`, `parameters`, `latency_p50_ms`
    (of the fastest that it cannot be distinguished from, so equal ones are equal to the digit; `latency_own_ms` is its
    own), `latency_p95_ms`, `throughput_per_second`, `megabytes` (on disk), `predict_megabytes` (of memory), and where
    it is known `labelled_images` (of training).
    `reliability` has the bins of the main head on test, `mistakes` the picture of the worst, `wording` how the task is
    spoken of.
    `test_share` is the share of all images that is test; None if it is not known.
    """

    strategies: list[str]
    recipes: Mapping[str, Recipe]
    main_head: str
    classes: Classes
    answers: dict[str, dict[str, Answers]]
    metrics: dict[str, dict[str, Any]]
    hierarchies: dict[str, dict[str, Any]]
    costs: dict[str, dict[str, float]]
    reliability: dict[str, pd.DataFrame]
    mistakes: dict[str, Path]
    wording: Wording
    test_share: float | None


def read_results(reports: Path, recipes: Mapping[str, Recipe], classes_path: Path, task: PairedPart) -> Results:
    """Read what the evaluations of strategies left in `reports`; `task`, that of all, says what is compared.

    Strategies of one encoder come one after the other, else in the order of `recipes`.

    Raises:
        ResultsError: a report is missing, or the strategies were evaluated on different images or labels.
    """
    order = list(dict.fromkeys(recipe.settings.encoder for recipe in recipes.values()))
    recipes = dict(sorted(recipes.items(), key=lambda row: order.index(row[1].settings.encoder)))
    labels, first = read_classes(classes_path), next(iter(recipes.values()))
    everywhere = [name for name in first.heads if all(name in recipe.heads for recipe in recipes.values())]
    classes = {name: labels[first.heads[name].label] for name in everywhere}
    folders = {name: reports / "strategies" / name for name in recipes}
    for name, folder in folders.items():
        _check_complete(reports, folder, recipes[name], task.PICTURE)
    split = reports / "split.json"
    images = read_json(split)["images"] if split.exists() else {}
    return Results(
        strategies=list(recipes),
        recipes=recipes,
        main_head=first.main_head,
        classes=classes,
        answers=_read_answers(folders, classes, task, first.metric),
        metrics={name: read_json(folder / "metrics.json") for name, folder in folders.items()},
        hierarchies={name: read_json(folder / "hierarchy.json") for name, folder in folders.items()},
        costs={name: _read_costs(reports / "costs", recipe) for name, recipe in recipes.items()},
        reliability={name: pd.read_csv(folder / "reliability.csv") for name, folder in folders.items()},
        mistakes={name: folder / "pictures" / task.PICTURE for name, folder in folders.items()},
        wording=task.WORDING,
        test_share=images["test"] / sum(images.values()) if images.get("test") else None,
    )


def _check_complete(reports: Path, folder: Path, recipe: Recipe, picture: str) -> None:
    name = recipe.strategy
    inside = [
        "predictions.parquet",
        REPEATS,
        "metrics.json",
        "hierarchy.json",
        "reliability.csv",
        f"pictures/{picture}",
    ]
    costs = [f"embed-{recipe.settings.encoder}.json", f"train-{name}.json", f"predict-{name}.json"]
    for path in [*(folder / file for file in inside), *(reports / "costs" / file for file in costs)]:
        if not path.exists():
            raise ResultsError(
                f"The strategy {name!r} cannot be compared: {path} is missing. A comparison needs the whole report of "
                f"each strategy. Make it with: dvc repro evaluate@{name}"
            )


def _read_answers(
    folders: Mapping[str, Path], classes: Classes, task: PairedPart, metric: str
) -> dict[str, dict[str, Answers]]:
    """What is compared of each strategy is kept; the rest of its predictions leaves memory before the next are read."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for name, folder in folders.items():
        model = task.read(folder / "predictions.parquet", classes, metric)  # of the model that ships
        others = pd.read_parquet(folder / REPEATS, columns=[REPEAT, *model.columns]).groupby(REPEAT)
        repeats = [table[model.columns].astype(model.dtypes) for _, table in others]
        tables[name] = [table.sort_values(["split", "id"], ignore_index=True) for table in (model, *repeats)]
        first = next(iter(tables))
        for table in tables[name]:
            _check_same(tables[first][0], table, classes, task, (first, name))
    return {
        split: {
            head: task.pair([[table[table["split"] == split] for table in own] for own in tables.values()], head, names)
            for head, names in classes.items()
        }
        for split in JUDGED
    }


def _check_same(
    expected: pd.DataFrame, got: pd.DataFrame, classes: Classes, task: PairedPart, names: tuple[str, str]
) -> None:
    first, name = names
    asked, answered = task.asked(expected, classes), task.asked(got, classes)
    if not expected[["id", "split"]].equals(got[["id", "split"]]):
        what = f"images: {len(got):,} of val and test, not the same {len(expected):,}"
    elif not asked.equals(answered):
        wrong = [str(column) for column in asked if not asked[column].equals(answered[column])]
        what = f"labels, in {', '.join(wrong)}"
    else:
        return
    raise ResultsError(
        f"The strategies {first!r} and {name!r} cannot be compared: {name!r} was evaluated on other {what}. Paired "
        f"comparison needs the same images with the same labels. Run: dvc repro evaluate@{first} evaluate@{name}"
    )


def _read_costs(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Speeds were measured of all strategies in turn; reports from before that have a speed of each by itself."""
    name, encoder = recipe.strategy, recipe.settings.encoder
    files = [f"embed-{encoder}", f"train-{name}", f"predict-{name}"]
    embed, train, predict = (read_json(folder / f"{file}.json") for file in files)
    path = folder / "speed.json"
    speed = read_json(path)["strategies"].get(name, {}) if path.exists() else predict
    try:
        return {
            "train_seconds": embed["seconds"] + train["seconds"],
            "peak_megabytes": max(embed["peak_megabytes"], train["peak_megabytes"]),
            "trainable_parameters": train["trainable_parameters"],
            "parameters": predict["parameters"],
            "latency_p50_ms": speed.get("latency_tied_ms", speed["latency_p50_ms"]),
            "latency_p95_ms": speed["latency_p95_ms"],
            "throughput_per_second": speed["throughput_per_second"],
            "megabytes": predict["megabytes"],
            "predict_megabytes": predict["peak_megabytes"],
            **({"labelled_images": train["labelled_images"]} if "labelled_images" in train else {}),
            **({"latency_own_ms": speed["latency_p50_ms"]} if "latency_tied_ms" in speed else {}),
        }
    except KeyError as error:
        raise ResultsError(
            f"The costs of the strategy {name!r} in {folder} lack {error}. {'.json, '.join(files)}.json and "
            "speed.json have to hold it. Measure again: dvc repro --force "
            f"embed@{encoder} train@{name} evaluate@{name} speed"
        ) from None
