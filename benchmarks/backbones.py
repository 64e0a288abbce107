"""Well-known backbones beside each other: size, speed on this CPU, taps. Prints the table of docs/backbones.md."""

import time
from pathlib import Path

import torch

from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.fuse import fuse
from meltpoint.model.inference import infer
from meltpoint.model.nets import BackboneError, count_stages, count_tokens
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import MapTap, RandomWeights
from meltpoint.progress import track
from reporting import Timed, side_by_side

MEASURE = "tf_efficientnet_lite0"  # what the others are measured by
NAMES = (
    MEASURE,
    "mobilenetv3_large_100",
    "ghostnet_100",
    "resnet50",
    "convnextv2_nano",
    "convnext_small",
    "coatnet_0_rw_224",
    "swin_tiny_patch4_window7_224",
    "vit_small_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "eva02_small_patch14_224",
)
SIZE, BATCH, ROUNDS = 224, 8, 5
COLUMNS = (
    "backbone",
    "parameters, M",
    "megabytes",
    f"images a second, batch {BATCH}",
    "taps",
    "channels of -2, -1, final",
    "tokens besides patches",
    "heads",
)


def measure(folder: Path, names: tuple[str, ...] = NAMES) -> list[str]:
    """The table in Markdown: random weights, which are as large and as fast as pretrained ones."""
    del folder
    rival = fuse(build(MEASURE))
    rows = [describe(name, rival) for name in track(names, "backbones", unit="backbone")]
    absolute = BATCH / _run(rival, BATCH).seconds
    note = (
        f"At {SIZE} px. Speeds are relative to {MEASURE}, here {absolute:.0f} images a second, measured in turn with"
        f" each ({ROUNDS} rounds, medians, {torch.get_num_threads()} threads)."
    )
    return [_row(COLUMNS), _row(("---",) * len(COLUMNS)), *rows, "", note]


def build(name: str) -> Backbone:
    """A backbone with all that its classifier sees."""
    params = BackboneParams(name=name, args={}, weights=RandomWeights(kind="random"), mean=None, std=None)
    return build_backbone(params, {"final", -1, -2}, SIZE)


def describe(name: str, rival: Backbone) -> str:
    """A row of the table."""
    backbone = build(name)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    fast = fuse(backbone)
    speed = _compare(fast, rival, BATCH)
    return _row(
        (
            f"`{name}`",
            f"{parameters / 1e6:.1f}",
            f"{parameters * 4 / 1e6:.0f}",
            f"{1 / speed:.2f}",
            f"{count_stages(backbone.net)}",
            ", ".join(str(backbone.specs[key].channels) for key in ("-2", "-1", "final")),
            ", ".join(f"{count} {kind}" for kind, count in count_tokens(backbone.net).items()) or "none",
            "linear, mlp, conv" if _has_convolution(backbone) else "linear, mlp",
        )
    )


def _compare(backbone: Backbone, rival: Backbone, count: int) -> float:
    """Seconds for `count` images, as a multiple of the rival's."""
    ours, theirs = side_by_side(lambda: _run(backbone, count), lambda: _run(rival, count), ROUNDS)
    return ours.seconds / theirs.seconds


def _run(backbone: Backbone, count: int) -> Timed:
    """From pixels to what the classifier sees, as prediction does it."""
    images = torch.zeros(count, SIZE, SIZE, 3, dtype=torch.uint8)
    start = time.perf_counter()
    infer(lambda part: {"final": backbone(backbone.prepare(part))["final"]}, images, torch.device("cpu"))
    return Timed(time.perf_counter() - start, None)


def _has_convolution(backbone: Backbone) -> bool:
    try:
        build_backbone(backbone.params, {MapTap(at=-1)}, SIZE)
    except BackboneError:
        return False
    return True


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
