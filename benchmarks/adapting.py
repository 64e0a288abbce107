"""A step of low-rank adapters beside one of full fine-tuning, in the same loop: images a second, and peak memory."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reporting import Row, Timed, side_by_side
from stage_set import generated, preset

IMAGES, ROUNDS, RANK = 72, 3, 8  # nine in ten of the images are trained on
RANDOM = {"weights": {"kind": "random"}, "mean": [0.5] * 3, "std": [0.5] * 3, "views": "s128"}
ENCODERS: dict[str, tuple[str, int]] = {
    "EfficientNet-Lite0": ("tf_efficientnet_lite0", 128),
    "ViT-S/14": ("vit_small_patch14_dinov2", 112),
}
HEAD = {"label": "bright", "main": True}


def measure(folder: Path) -> list[Row]:
    """An epoch of both in turn; then of each alone in a process of its own, for its memory."""
    rows = []
    for title, (name, size) in ENCODERS.items():
        lora, finetune = (_epoch(kind, name, size, folder / f"{name}-{kind}") for kind in ("lora", "finetune"))
        ours, theirs = side_by_side(lora, finetune, ROUNDS)
        peaks = [
            float(subprocess.check_output([sys.executable, __file__, kind, name, str(size)], text=True).split()[-1])
            for kind in ("lora", "finetune")
        ]
        note = (
            f"batches of 32 at {size} px, rank {RANK}; {ours.result:,} and {theirs.result:,} parameters learn;"
            f" {peaks[0]:,.0f} and {peaks[1]:,.0f} MB of memory at most"
        )
        count = IMAGES * 9 // 10
        rows.append(
            Row(f"LoRA on {title}, images a second", count / ours.seconds, count / theirs.seconds, "all learns", note)
        )
    return rows


def _epoch(kind: str, name: str, size: int, folder: Path) -> Callable[[], Timed]:
    """Runs an epoch of a strategy over noise; the result is how many parameters learn."""
    from meltpoint.params.heads import LinearHead
    from meltpoint.train.checkpoint import Checkpoint, Saved
    from meltpoint.train.device import build_accelerator
    from meltpoint.train.job import Job, load_strategy
    from meltpoint.train.loop import Loop
    from meltpoint.train.problem import build_problem

    params = preset(
        encoders={"lite0": RANDOM | {"name": name}},
        views={"s128.side": size},
        train={"checkpoint_steps": 1_000_000},
        strategies={"lora": _adapters()},
    )
    params = params.model_copy(update={"heads": {"bright": LinearHead.model_validate({"kind": "linear"} | HEAD)}})
    views, checkpoint = generated(IMAGES, size, folder / "views"), Checkpoint(folder)
    unread: Any = None  # features: the loop trains from images
    recipe = params.recipe(kind)
    job: Job[Any] = Job(recipe, views, unread, build_problem(views, recipe), checkpoint)
    model, strategy = job.build_model(), load_strategy(kind)
    scales = strategy.prepare(job, model)  # type: ignore[attr-defined] # strategies that run the loop have it
    accelerator = build_accelerator(params.train)
    start = Saved({}, {"step": 0, "seconds": 0.0, "best": None, "loss_sum": 0.0, "loss_count": 0})
    learning = sum(value.numel() for key, value in model.named_parameters() if key in scales)

    def run() -> Timed:
        loop = Loop(job, model, scales, accelerator, start)
        begun = time.perf_counter()
        loop.run_epoch(0)
        return Timed(time.perf_counter() - begun, learning)

    return run


def _adapters() -> dict[str, Any]:
    """The preset's row `finetune` as one of adapters."""
    row = preset().strategies["finetune"].model_dump(mode="json", exclude={"unfreeze", "backbone_lr", "layer_decay"})
    return row | {"kind": "lora", "rank": RANK, "alpha": 2 * RANK, "where": "all", "adapter_lr": 0.001}


if __name__ == "__main__":
    from meltpoint.progress import peak_megabytes

    with tempfile.TemporaryDirectory() as place:
        _epoch(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(place))()
    print(peak_megabytes())
