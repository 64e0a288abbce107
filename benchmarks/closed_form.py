"""Strategies that take one look at cached features against the probe, which takes forty: `prototypes` and `knn`."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from meltpoint.images.views import Views
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.read import Params, parse_params
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import Features
from meltpoint.train.job import Job, load_strategy
from meltpoint.train.problem import build_problem
from reporting import Row, Timed, side_by_side
from stage_set import generated, preset

IMAGES, SIZE, CHANNELS, ROUNDS = 10_000, 32, 1280, 3
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
    return rows


def _params(strategies: dict[str, Any]) -> Params:
    raw = preset().model_dump(mode="json", by_alias=True)
    raw["data"]["labels"] = {"bright": {"kind": "names", "column": "bright", "classes": ["no", "yes"]}}
    raw["heads"] = {"bright": {"label": "bright"}}
    raw["views"]["s128"] |= {"side": SIZE, "copies": 0}
    raw["strategies"] = {"frozen": raw["strategies"]["frozen"], **strategies}
    return parse_params(raw, "the benchmark's params")


def _features(views: Views, folder: Path) -> Features:
    """Noise with a direction for each of the two classes, as if an encoder had given it."""
    folder.mkdir()
    rng, labels = np.random.default_rng(0), (views.samples["bright"] == "yes").to_numpy()
    values = rng.normal(0, 1, (IMAGES, CHANNELS)).astype(np.float32)
    values[:, :20] += 0.3 * labels[:, None]
    np.save(folder / "final.plain.npy", values)
    specs = {"final": FeatureSpec(CHANNELS, SIZE, None, pooled=True, dtype="float32")}
    training = int((views.samples["split"] == "train").sum())
    return Features(folder, specs, IMAGES, training, 0, stored=True, fingerprint="generated")


def _train(params: Params, name: str, views: Views, features: Features, folder: Path) -> Timed:
    recipe = params.recipe(name)
    checkpoint = Checkpoint(folder / f"checkpoint-{time.perf_counter_ns()}")
    job: Job[Any] = Job(recipe, views, features, build_problem(views, recipe), checkpoint)
    start = time.perf_counter()
    outcome = load_strategy(recipe.settings.kind).train(job)
    return Timed(time.perf_counter() - start, outcome.sentence)
