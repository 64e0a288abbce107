"""What the decision may look at: every strategy's predictions on the same images, its scores, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.evaluate.answers import SPLITS, answers_of, codes_of
from meltpoint.files import read_json
from meltpoint.params.model import Head
from meltpoint.tables import Classes, label_column, read_classes, read_predictions

Ints = NDArray[np.int64]


class EvidenceError(UserError, ValueError):
    """The reports of the strategies cannot be compared: one is missing, or they are about different images."""


@dataclass(frozen=True)
class Answers:
    """One head on one split: the true class ids (N,) of the labelled images and what each strategy said (K, N)."""

    true: Ints
    predicted: Ints


@dataclass(frozen=True)
class Evidence:
    """Everything about `strategies`, in this order, that is known after evaluation.

    `answers` is split -> head. `metrics` is strategy -> split -> head -> score (metrics.json), `hierarchies` strategy
    -> split -> what the tree does (hierarchy.json; {} without a tree). `costs` is strategy -> `train_seconds`
    (embedding and training), `peak_megabytes` (of both), `trainable_parameters`, `parameters`, `latency_p50_ms`,
    `latency_p95_ms`, `throughput_per_second`, `megabytes` (on disk), `predict_megabytes` (of memory). `reliability`
    has the bins of the main head on test, `mistakes` the picture of the worst.
    """

    strategies: list[str]
    main_head: str
    classes: Classes
    answers: dict[str, dict[str, Answers]]
    metrics: dict[str, dict[str, Any]]
    hierarchies: dict[str, dict[str, Any]]
    costs: dict[str, dict[str, float]]
    reliability: dict[str, pd.DataFrame]
    mistakes: dict[str, Path]


def read_evidence(
    reports: Path, strategies: list[str], heads: Mapping[str, Head], main_head: str, classes_path: Path
) -> Evidence:
    """Read what the strategies' evaluations left in `reports`.

    Raises:
        EvidenceError: a report is missing, or the strategies were evaluated on different images or labels.
    """
    labels = read_classes(classes_path)
    classes = {name: labels[head.label] for name, head in heads.items()}
    folders = {name: reports / "strategies" / name for name in strategies}
    for name, folder in folders.items():
        _check_complete(reports, folder, name)
    return Evidence(
        strategies=strategies,
        main_head=main_head,
        classes=classes,
        answers=_read_answers(folders, classes),
        metrics={name: read_json(folder / "metrics.json") for name, folder in folders.items()},
        hierarchies={name: read_json(folder / "hierarchy.json") for name, folder in folders.items()},
        costs={name: _read_costs(reports / "costs", name) for name in strategies},
        reliability={name: pd.read_csv(folder / "reliability.csv") for name, folder in folders.items()},
        mistakes={name: folder / "pictures" / "mistakes.png" for name, folder in folders.items()},
    )


def _check_complete(reports: Path, folder: Path, name: str) -> None:
    inside = ["predictions.parquet", "metrics.json", "hierarchy.json", "reliability.csv", "pictures/mistakes.png"]
    costs = ["embed.json", f"train-{name}.json", f"predict-{name}.json"]
    for path in [*(folder / file for file in inside), *(reports / "costs" / file for file in costs)]:
        if not path.exists():
            raise EvidenceError(
                f"The strategy {name!r} cannot be compared: {path} is missing. A comparison needs the whole report of "
                f"each strategy. Make it with: dvc repro evaluate@{name}"
            )


def _read_answers(folders: Mapping[str, Path], classes: Classes) -> dict[str, dict[str, Answers]]:
    """One strategy's probabilities at a time are in memory; class ids are kept."""
    asked: pd.DataFrame | None = None
    first, said = next(iter(folders)), []
    for name, folder in folders.items():
        table = read_predictions(folder / "predictions.parquet", classes).sort_values(["split", "id"])
        columns = ["id", "split", *(label_column(head) for head in classes)]
        asked = table[columns].reset_index(drop=True) if asked is None else asked
        _check_same(asked, table[columns].reset_index(drop=True), first, name)
        said.append({head: answers_of(table, head, names) for head, names in classes.items()})
    assert asked is not None, "there is at least one strategy"
    return {split: {head: _answers(asked, split, head, classes[head], said) for head in classes} for split in SPLITS}


def _answers(asked: pd.DataFrame, split: str, head: str, names: list[str], said: list[dict[str, Ints]]) -> Answers:
    true = codes_of(asked, head, names)
    kept = (asked["split"] == split).to_numpy() & (true >= 0)
    return Answers(true[kept], np.stack([predicted[head][kept] for predicted in said]))


def _check_same(expected: pd.DataFrame, got: pd.DataFrame, first: str, name: str) -> None:
    if not expected[["id", "split"]].equals(got[["id", "split"]]):
        what = f"images: {len(got):,} of val and test, not the same {len(expected):,}"
    elif not expected.equals(got):
        wrong = [str(column) for column in expected if not expected[column].equals(got[column])]
        what = f"labels, in {', '.join(wrong)}"
    else:
        return
    raise EvidenceError(
        f"The strategies {first!r} and {name!r} cannot be compared: {name!r} was evaluated on other {what}. Paired "
        f"comparison needs the same images with the same labels. Mend it: dvc repro evaluate@{first} evaluate@{name}"
    )


def _read_costs(folder: Path, name: str) -> dict[str, float]:
    embed, train, predict = (
        read_json(folder / f"{file}.json") for file in ("embed", f"train-{name}", f"predict-{name}")
    )
    try:
        return {
            "train_seconds": embed["seconds"] + train["seconds"],
            "peak_megabytes": max(embed["peak_megabytes"], train["peak_megabytes"]),
            "trainable_parameters": train["trainable_parameters"],
            "parameters": predict["parameters"],
            "latency_p50_ms": predict["latency_p50_ms"],
            "latency_p95_ms": predict["latency_p95_ms"],
            "throughput_per_second": predict["throughput_per_second"],
            "megabytes": predict["megabytes"],
            "predict_megabytes": predict["peak_megabytes"],
        }
    except KeyError as error:
        raise EvidenceError(
            f"The costs of the strategy {name!r} in {folder} lack {error}. embed.json, train-{name}.json and "
            f"predict-{name}.json have to hold it. Measure again: dvc repro --force embed train@{name} evaluate@{name}"
        ) from None
