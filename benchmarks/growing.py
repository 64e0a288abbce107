"""Embedding and frozen training of 100,000 images: time in step with their number, memory bounded."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from reporting import Row
from stage_set import generated, preset

FEW, MANY, SIZE, EPOCHS = 20_000, 100_000, 64, 20
REPEATS = 3  # trainings of each number of images in turn, of which the median counts
HEAD = {
    "kind": "linear", "label": "bright", "tap": "final", "weight": 1.0, "class_weights": "none", "main": True,
    "target": "nominal", "where": None, "threshold": None, "unknown": None,
}  # fmt: skip


def measure(folder: Path) -> list[Row]:
    """Seconds for each 10,000 images, for few and for many, in turns in a process of its own."""
    del folder
    asked = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(asked.stdout.splitlines()[-1])
    rows = []
    for what in ("embedding", "frozen training"):
        few, many = found[what]
        note = f"{many:.1f} s for each 10,000 of {MANY:,} images of {SIZE} px, {few:.1f} s of {FEW:,}"
        note += f"; {found['peak_megabytes']:,.0f} MB of memory at most"
        rows.append(Row(f"{what}, 10,000 images a minute", 60 / many, 60 / few, f"with {FEW:,}", note))
    return rows


class Scene:
    """So many generated images, embedded and trained on as often as asked."""

    def __init__(self, count: int, folder: Path) -> None:
        from meltpoint.model.backbones import build_backbone
        from meltpoint.params.heads import LinearHead

        heads = {"bright": LinearHead.model_validate(HEAD)}
        self.params = preset(strategies={"frozen.probe.epochs": EPOCHS}).model_copy(update={"heads": heads})
        self.views = generated(count, SIZE, folder / f"views-{count}")
        self.backbone = build_backbone(self.params.recipe("frozen").encoder, {"final"}, SIZE)
        self.folder, self.share = folder / f"features-{count}", count / 10_000

    def embed(self) -> float:
        """Seconds for each 10,000 images, until they are on the disk."""
        from meltpoint.progress import Stopwatch
        from meltpoint.train.embed import embed

        watch = Stopwatch("embed")
        self.features = embed(self.backbone, self.views, self.params.embed, self.folder)
        os.sync()
        return watch.seconds / self.share

    def train(self) -> float:
        """Seconds for each 10,000 images."""
        from meltpoint.train.checkpoint import Checkpoint
        from meltpoint.train.job import Job
        from meltpoint.train.probe import probe
        from meltpoint.train.problem import build_problem

        recipe = self.params.recipe("frozen")
        problem = build_problem(self.views, recipe)
        job: Job[Any] = Job(recipe, self.views, self.features, problem, Checkpoint(self.folder))
        return probe(job, self.backbone, None).seconds / self.share


def _measure_here() -> dict[str, object]:
    from meltpoint.progress import peak_megabytes

    with tempfile.TemporaryDirectory() as folder:
        few, many = Scene(FEW, Path(folder)), Scene(MANY, Path(folder))
        before, embedding, after = few.embed(), many.embed(), few.embed()
        trainings = [(few.train(), many.train()) for _ in range(REPEATS)]
        return {
            "embedding": (mean([before, after]), embedding),
            "frozen training": tuple(median(seconds) for seconds in zip(*trainings, strict=True)),
            "peak_megabytes": peak_megabytes(),
        }


if __name__ == "__main__":
    print(json.dumps(_measure_here()))
