"""Embedding and frozen training of 100,000 images: time in step with their number, memory bounded."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from reporting import Row
from stage_set import generated, preset

FEW, MANY, SIZE, EPOCHS = 20_000, 100_000, 64, 20


def measure(folder: Path) -> list[Row]:
    """Seconds for each 10,000 images, for few and for many, each in a process of its own."""
    del folder
    few, many = _run(FEW), _run(MANY)
    rows = []
    for what in ("embedding", "frozen training"):
        note = f"{many[what]:.1f} s for each 10,000 of {MANY:,} images of {SIZE} px, {few[what]:.1f} s of {FEW:,}"
        note += f"; {many['peak_megabytes']:,.0f} MB of memory at most, {few['peak_megabytes']:,.0f} MB with {FEW:,}"
        rows.append(Row(f"{what}, 10,000 images a minute", 60 / many[what], 60 / few[what], f"with {FEW:,}", note))
    return rows


def _run(count: int) -> dict[str, float]:
    asked = subprocess.run([sys.executable, __file__, str(count)], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(asked.stdout.splitlines()[-1])
    return result


def _measure_here(count: int) -> dict[str, float]:
    from meltpoint.model.backbones import build_backbone
    from meltpoint.progress import Stopwatch, peak_megabytes
    from meltpoint.train.embed import embed
    from meltpoint.train.frozen import probe
    from meltpoint.train.goal import build_goal

    head = {"kind": "linear", "label": "bright", "tap": "final", "weight": 1.0, "class_weights": "none", "main": True}
    params = preset(strategies={"frozen.probe.epochs": EPOCHS}).model_copy(update={"heads": {"bright": _head(head)}})
    with tempfile.TemporaryDirectory() as folder:
        views = generated(count, SIZE, Path(folder) / "views")
        backbone = build_backbone(params.backbone, {"final"}, SIZE)
        watch = Stopwatch("embed")
        features = embed(backbone, views, params.embed, Path(folder) / "features")
        embedding, watch = watch.seconds, Stopwatch("train")
        probe(build_goal(views, params), features, params.strategies["frozen"].probe, params.seed, None, 1)
        share = count / 10_000
        return {
            "embedding": embedding / share,
            "frozen training": watch.seconds / share,
            "peak_megabytes": peak_megabytes(),
        }


def _head(raw: dict[str, object]):  # noqa: ANN202
    from meltpoint.params.model import LinearHead

    return LinearHead.model_validate(raw)


if __name__ == "__main__":
    print(json.dumps(_measure_here(int(sys.argv[1]))))
