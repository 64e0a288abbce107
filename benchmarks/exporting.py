"""CPU seconds that writing an export takes, its packages' imports included, and the megabytes of its files.

`python benchmarks/exporting.py`, or with the names of some formats: EfficientNet-Lite0 at 128 pixels and ViT-tiny at
224, with random weights and three heads, each in a process of its own. What a format learns from training views is
kept small: `meltpoint plan` counts the images for itself.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from meltpoint.export.folder import ExportError, write_export
from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.data import Images
from meltpoint.params.exports import Exports
from meltpoint.params.heads import LinearHead
from meltpoint.params.model import Backbone, RandomWeights
from meltpoint.progress import megabytes
from meltpoint.tasks.contract import load_objective

NETS = {"tf_efficientnet_lite0": 128, "vit_tiny_patch16_224": 224}
FEW = 8  # training views
SETTINGS: dict[str, dict[str, Any]] = {
    "onnx_int8": {"images": FEW}, "onnx_qat": {"epochs": 1, "lr": 1e-5}, "litert": {"precision": "int8", "images": FEW},
}  # fmt: skip
CLASSES = {"a": 2, "b": 4, "c": 2}  # as many as the default preset has


def main() -> None:
    """Print a line for each network and format; with `one NET FORMAT` write that in this process."""
    if sys.argv[1:2] == ["one"]:
        _write(*sys.argv[2:4])
        return
    for net in NETS:
        for name in sys.argv[1:] or Exports.model_fields:
            done = subprocess.run(
                [sys.executable, __file__, "one", net, name], capture_output=True, text=True, check=False
            )
            print(f"| {net} | {name} | {(done.stdout or done.stderr).strip().splitlines()[-1]} |", flush=True)


def _write(net: str, name: str) -> None:
    """Write a network in a format, and print what that took."""
    torch.set_num_threads(1)
    side = NETS[net]
    settings = Exports.model_validate({name: SETTINGS.get(name, {})}).asked[name]
    images = np.random.default_rng(0).integers(0, 256, (FEW, side, side, 3), dtype=np.uint8)
    views = cast("Any", SimpleNamespace(plain=images, size=side, rows=lambda _: np.arange(FEW)))
    with tempfile.TemporaryDirectory() as folder:
        model, made = _save(net, side, Path(folder) / "s"), Path(folder) / "made"
        begin, decode = os.times(), load_objective("classification").decode
        try:
            write_export(model, "0" * 64, name, settings, decode, views, made)
        except ExportError as error:
            print(str(error).splitlines()[0])
            return
        spent = sum(os.times()[:4]) - sum(begin[:4])
        print(f"{spent:.1f} s | {megabytes(model):.1f} MB | {megabytes(made):.1f} MB")


def _save(net: str, side: int, folder: Path) -> Path:
    """A model of random weights."""
    half = [0.5] * 3
    params = Backbone(name=net, args={}, weights=RandomWeights(kind="random"), mean=half, std=half)
    heads = {name: LinearHead.model_validate({"kind": "linear", "label": name}) for name in CLASSES}
    backbone = build_backbone(params, {"final"}, side)
    cards = {
        name: HeadCard(head=heads[name], classes=[str(one) for one in range(count)], outputs=1 if count == 2 else count,
                       threshold=None, unknown_below=None, names={}, colours=None)
        for name, count in CLASSES.items()
    }  # fmt: skip
    card = Card(
        format=FORMAT, strategy="s", encoder=None, views=None, task="classification", backbone=params,
        images=Images(side=side, resize="squash", interpolation="area"), max_megapixels=1, mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5), heads=cards, tree=None, main_head="a", metric="accuracy", key="k", data="d", seed=0,
        licence="none", trainable_parameters=0, versions={},
    )  # fmt: skip
    outputs = {name: own.outputs for name, own in cards.items()}
    save_model(Model(backbone, build_heads(heads, backbone, outputs), dict.fromkeys(heads, "final")), card, folder)
    return folder


if __name__ == "__main__":
    main()
