import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file
from warm_process import nursery

from meltpoint.images.views import open_views
from meltpoint.model.backbones import build_backbone
from meltpoint.params.read import Params, parse_params
from meltpoint.params.recipe import Recipe
from meltpoint.train.embed import embed
from meltpoint.train.strategy import Inputs

PRESET = Path(__file__).parents[2] / "presets" / "elpv.yaml"
CLASSES = {"shade": ["dark", "light"], "colour": ["red", "green", "blue"]}
NAMES = {"colour": {"de": {"red": "rot", "green": "grün", "blue": "blau"}}}
SIZE, VIEWS, IMAGES = 32, 2, 72


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Scene:
    """A folder with views, features and pretrained weights of a tiny backbone; `params` fit them."""

    folder: Path

    @property
    def inputs(self) -> Inputs:
        return Inputs.below(self.folder, self.recipe())

    def pretrained(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "w.safetensors")

    def recipe(self, name: str = "finetune", change: Callable[[dict[str, Any]], None] = lambda raw: None) -> Recipe:
        return self.params(change).recipe(name)

    def params(self, change: Callable[[dict[str, Any]], None] = lambda raw: None) -> Params:
        raw: dict[str, Any] = yaml.safe_load(PRESET.read_text())
        probe = {
            "epochs": 4, "batch": 20, "lr": 0.01, "schedule": "cosine", "weight_decays": [0.0, 1.0],
            "label_smoothing": 0.0,
        }  # fmt: skip
        weights = {"kind": "file", "path": str(self.folder / "w.safetensors"), "match": "name", "licence": "x"}
        raw["seed"] = 5
        raw["views"]["s128"] |= {"side": SIZE, "copies": VIEWS}
        raw["data"]["labels"] = {
            name: {"kind": "names", "column": name, "classes": names} for name, names in CLASSES.items()
        }
        raw["heads"] = {
            "shade": {"kind": "linear", "label": "shade", "main": True, "weight": 2.0},
            "colour": {"kind": "linear", "label": "colour", "main": False},
        }
        raw["encoders"]["lite0"] |= {
            "name": "test_efficientnet", "weights": weights, "mean": [0.5] * 3, "std": [0.25] * 3,
        }  # fmt: skip
        raw["train"] |= {"threads": 1, "checkpoint_steps": 2, "precision": "fp32"}
        raw["strategies"]["frozen"]["probe"] = dict(probe)
        raw["strategies"]["finetune"] |= {
            "probe": probe, "epochs": 3, "batch": 12, "lr": 0.0002, "backbone_lr": 0.0002, "schedule": "cosine",
            "patience": 50, "warmup": 0.2, "layer_decay": 0.8, "weight_decay": 0.05, "ema": 0.5, "accumulate": 1,
            "unfreeze": "all", "clip": 1.0, "label_smoothing": 0.05,
        }  # fmt: skip
        raw["register"]["floors"] = {}
        change(raw)
        return parse_params(raw, "test")


def draw(rng: np.random.Generator, shade: str, colour: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise whose brightness is the shade, and whose strongest channel is the colour."""
    image = rng.normal(80 if shade == "dark" else 140, 50, (SIZE, SIZE, 3))
    image[..., CLASSES["colour"].index(colour)] += 12
    return image.clip(0, 255).astype(np.uint8)


def write_views(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels = {name: rng.choice(names, IMAGES) for name, names in CLASSES.items()}
    split = rng.permutation(np.repeat(["train", "val", "test"], [41, 19, 12]))
    samples = pd.DataFrame({"id": np.arange(IMAGES) * 7 + 3, **labels, "split": split})
    samples = samples.assign(width=SIZE, height=SIZE, path=[f"{number}.png" for number in samples["id"]])
    samples = samples.assign(sha256=[f"{number:064x}" for number in samples["id"]])
    samples["group"] = "image:" + samples["path"]
    samples.loc[4, "colour"] = None  # an image without a label of this head
    plain = np.stack([draw(rng, *pair) for pair in zip(labels["shade"], labels["colour"], strict=True)])
    train = plain[split == "train"]
    folder.mkdir(parents=True)
    np.save(folder / "plain.npy", plain)
    np.save(folder / "augmented.npy", np.stack([train[:, ::-1], train[:, :, ::-1]], axis=1))
    samples[["id", "path", *CLASSES, "group", "split", "width", "height", "sha256"]].to_csv(
        folder / "samples.csv", index=False
    )
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    (folder / "views.json").write_text(json.dumps({"size": SIZE, "count": VIEWS, "fingerprint": "some views"}))


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    found = Scene(tmp_path_factory.mktemp("data"))
    write_views(found.folder / "views" / "s128")
    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet", num_classes=0)
    for module in net.modules():  # as if pretrained: statistics that are not 0 and 1
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    save_file(net.state_dict(), found.folder / "w.safetensors")
    (found.folder / "names.json").write_text(json.dumps(NAMES))
    (found.folder / "descriptions.json").write_text("{}")
    backbone = build_backbone(found.recipe().encoder, {"final"}, SIZE)
    views, features = found.folder / "views" / "s128", found.folder / "features" / "lite0"
    embed(backbone, open_views(views), found.params().embed, features)
    return found


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints belong into the test's own folder, and curves nowhere."""
    monkeypatch.setenv("MELTPOINT_TRACKING", "off")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kill_training() -> Callable[[Recipe, Path, str], None]:
    """Trains in a process that kills itself after the line of the history that a condition describes."""

    def train(recipe: Recipe, folder: Path, condition: str) -> None:
        code = f"""
import os, signal, sys
from pathlib import Path
from meltpoint.params.recipe import Recipe
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.strategy import Inputs, train_strategy

def log_and_die(self, metrics, step, log=Checkpoint.log):
    log(self, metrics, step)
    if {condition}:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.log = log_and_die
recipe = Recipe.model_validate_json(sys.argv[1])
train_strategy(recipe, Inputs.below(Path(sys.argv[2]), recipe), Path("model"), Path("others of model"))
"""
        command = [str(nursery() / "python"), "-c", code, recipe.model_dump_json(), str(folder)]
        died = subprocess.run(command, capture_output=True, text=True, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert not Path("model").exists()
        assert not Path("others of model").exists()

    return train
