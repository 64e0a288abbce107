"""Strategies that take one look at cached features against the probe, which takes forty: prototypes, knn, words."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meltpoint.images.views import Views
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.read import Params, parse_params
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.features import Features
from meltpoint.train.job import Job, load_strategy
from meltpoint.train.problem import build_problem
from reporting import Row, Timed, side_by_side
from stage_set import generated, preset

IMAGES, SIZE, CHANNELS, ROUNDS = 10_000, 32, 1280, 3
CLASSES, WIDTH, NOISE = 100, 512, 6.0  # of the words, so much of it that pictures help
KINDS: dict[str, dict[str, Any]] = {"prototypes": {}, "knn": {"k": [1, 5, 10, 20, 50]}}


def measure(folder: Path) -> list[Row]:
    """Seconds for 10,000 images of whole trainings: the net made, features read, heads found, val judged."""
    views = generated(IMAGES, SIZE, folder / "views")
    features = _features(views, folder / "features")
    rows = []
    for kind, settings in KINDS.items():
        params = _params({kind: {"kind": kind, "encoder": "lite0", **settings}})
        sides = [partial(_train, params, name, views, features, folder) for name in (kind, "frozen")]
        ours, theirs = side_by_side(sides[0], sides[1], ROUNDS)
        note = f"{ours.seconds:.2f} s for {IMAGES:,} images and {CHANNELS:,} features, a probe {theirs.seconds:.2f} s"
        rows.append(Row(f"trainings of {kind} an hour", 3600 / ours.seconds, 3600 / theirs.seconds, "frozen", note))
    return [*rows, _measure_words(folder / "words")]


def _measure_words(folder: Path) -> Row:
    """`words` with 16 pictures of each of 100 classes; what texts cost depends on the encoder: vectors are given."""
    views = generated(IMAGES, SIZE, folder / "views")
    kinds, labels = [f"kind {number}" for number in range(CLASSES)], np.arange(IMAGES) % CLASSES
    samples = views.samples.assign(kind=np.array(kinds)[labels])
    samples["split"] = np.where(np.arange(IMAGES) // CLASSES % 10 < 9, "train", "val")
    views = replace(views, samples=samples, classes={"kind": kinds})
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32)
    seen, said = (one + NOISE * rng.normal(0, 1, one.shape).astype(np.float32) for one in (centres[labels], centres))
    features, given = _store(seen, views, folder / "stored"), _GivenTexts(dict(zip(kinds, said, strict=True)))
    encoder = {
        "views": "s128", "library": "open_clip", "name": "ViT-B-16", "weights": {"kind": "random"},
        "args": {"embed_dim": WIDTH, "width": 64, "layers": 1, "patch_size": 16},
    }  # fmt: skip
    strategy = {"kind": "words", "encoder": "clip", "texts": ["names"], "examples": 16}
    params = _params({"words": strategy}, "kind", {"clip": encoder})
    with patch("meltpoint.train.strategies.words.open_text", lambda _: given):
        sides = [partial(_train, params, name, views, features, folder) for name in ("words", "frozen")]
        ours, theirs = side_by_side(sides[0], sides[1], ROUNDS)
    note = f"{ours.seconds:.2f} s for {IMAGES:,} images, {CLASSES} classes and 16 pictures of each: {ours.result}"
    return Row("trainings of words an hour", 3600 / ours.seconds, 3600 / theirs.seconds, "frozen", note)


class _GivenTexts:
    """A text side that knows the vectors of its texts."""

    scale, limit = 1.0, 99

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self.vectors = vectors

    def count(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        return [(1, 1)] * len(texts)

    def spell(self, word: str) -> list[str]:
        return [word]

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(np.stack([self.vectors[text] for text in texts]))


def _params(strategies: dict[str, Any], label: str = "bright", encoders: dict[str, Any] | None = None) -> Params:
    raw = preset().model_dump(mode="json", by_alias=True, exclude_unset=True)
    raw["data"]["labels"] = {label: {"kind": "names", "column": label}}
    raw["heads"] = {label: {"label": label}}
    raw["views"]["s128"] |= {"side": SIZE, "copies": 0}
    raw["encoders"] = encoders or raw["encoders"]
    frozen = raw["strategies"]["frozen"] | {"encoder": next(iter(raw["encoders"]))}
    raw["strategies"] = {"frozen": frozen, **strategies}
    return parse_params(raw, "the benchmark's params")


def _features(views: Views, folder: Path) -> Features:
    """Noise with a direction for each of the two classes, as if an encoder had given it."""
    labels = (views.samples["bright"] == "yes").to_numpy()
    values = np.random.default_rng(0).normal(0, 1, (IMAGES, CHANNELS)).astype(np.float32)
    values[:, :20] += 0.3 * labels[:, None]
    return _store(values, views, folder)


def _store(values: NDArray[np.float32], views: Views, folder: Path) -> Features:
    folder.mkdir()
    np.save(folder / "final.plain.npy", values)
    specs = {"final": FeatureSpec(values.shape[1], SIZE, None, pooled=True, dtype="float32")}
    training = int((views.samples["split"] == "train").sum())
    return Features(folder, specs, IMAGES, training, 0, stored=True, fingerprint="generated")


def _train(params: Params, name: str, views: Views, features: Features, folder: Path) -> Timed:
    recipe = params.recipe(name)
    checkpoint = Checkpoint(folder / f"checkpoint-{time.perf_counter_ns()}")
    job: Job[Any] = Job(recipe, views, features, build_problem(views, recipe), checkpoint)
    start = time.perf_counter()
    outcome = load_strategy(recipe.settings.kind).train(job)
    return Timed(time.perf_counter() - start, outcome.sentence)
