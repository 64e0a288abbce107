"""A finished pipeline, tiny and quick: real views, real models with random weights, reports in their real shapes."""

import functools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from warm_process import nursery

from meltpoint.files import write_json
from meltpoint.images.augment import build_transform
from meltpoint.images.views import open_views, write_views
from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.read import Params, read_params
from meltpoint.registry.register import Outcome, register
from meltpoint.shards import open_shards, write_shards
from meltpoint.tables import check_samples, write_predictions
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.classification.metrics import judge_heads
from meltpoint.tracking.database import make_database
from meltpoint.tracking.pipeline_state import PipelineState, read_state

ROOT = Path(__file__).parents[1]
CLASSES = {"shape": ["circle", "square"], "colour": ["blue", "green", "red"]}
EACH = 6  # images of each combination of classes


class House:
    """A folder in which every stage before `register` has run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def views(self) -> Path:
        return self.folder / "data" / "views" / "s128"

    @property
    def params(self) -> Params:
        return read_params(self.folder / "params.yaml")

    @property
    def state(self) -> PipelineState:
        return read_state(self.params.register_.name, self.params.effective, self.folder)

    def register(self) -> Outcome:
        """As the stage `register`."""
        return register(self.state, self.params.gate)

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change params.yaml through a function of its content."""
        raw = yaml.safe_load((self.folder / "params.yaml").read_text())
        change(raw)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))

    def train(self, strategy: str, seed: int, steps: int = 6) -> None:
        """Write models/`strategy` with random weights, and its history."""
        torch.manual_seed(seed)
        params, views = self.params, open_views(self.views)
        backbone = build_backbone(params.encoders["lite0"], {"final"}, views.size)
        outputs = {"shape": 1, "colour": 3}
        heads = build_heads(params.heads, backbone, outputs)
        card = Card(
            format=FORMAT, strategy=strategy, encoder="lite0", views="s128", task="classification",
            backbone=params.encoders["lite0"].backbone, images=params.views["s128"].geometry, max_megapixels=10,
            mean=backbone.mean, std=backbone.std,
            heads={
                name: HeadCard(head=params.heads[name], classes=names, outputs=outputs[name], threshold=None,
                               unknown_below=None, names={}, colours=None)
                for name, names in CLASSES.items()
            },
            tree=None, main_head="shape", metric="accuracy", key=f"{seed:064d}", data=views.fingerprint, seed=seed,
            licence="none", trainable_parameters=10 * seed, versions={"torch": "2"},
        )  # fmt: skip
        folder = self.folder / "models" / strategy
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history(steps)))
        save_model(Model(backbone, heads, dict.fromkeys(CLASSES, "final")), card, folder)
        cost = {"seconds": 5.0, "peak_megabytes": 9.0, "trainable_parameters": 10 * seed, "parameters": 99, "epochs": 2}
        write_json(self.folder / "reports" / "costs" / f"train-{strategy}.json", cost)
        self.evaluate(strategy)

    def evaluate(self, strategy: str) -> None:
        """Write the reports of a strategy from what its model says."""
        views, folder = open_views(self.views), self.folder / "reports" / "strategies" / strategy
        predictor = open_answerer(self.folder / "models" / strategy)
        said = predictor.predict_views(views, ("val", "test"), 16)
        write_predictions(said, folder / "predictions.parquet")
        judgement = judge_heads(said, predictor.card.heads, predictor.card.tree, 5)
        write_json(folder / "metrics.json", judgement.metrics)
        write_json(folder / "hierarchy.json", judgement.hierarchy)
        for name in ("confusion", "hierarchy", "mistakes", "roc"):
            picture(folder / "pictures" / f"{name}.png", 1)

    def decide(self, winner: str, verdict: str = "ship") -> None:
        """Write reports/compare.json: `winner` is shipped."""
        cost = {"train_seconds": 5.0, "latency_p50_ms": 1.0, "megabytes": 0.1, "trainable_parameters": 10.0}
        rows = [
            {"name": name, "metrics": json.loads((folder / "metrics.json").read_text()), "intervals": {}, "cost": cost}
            for name in self.params.strategies
            if (folder := self.folder / "reports" / "strategies" / name)
        ]
        decision = {"winner": winner, "verdict": verdict, "sentence": f"Ship {winner}: it is good.",
                    "main_head": "shape", "metric": "accuracy", "strategies": rows, "spread": None}  # fmt: skip
        write_json(self.folder / "reports" / "compare.json", decision)

    def ledger(self) -> list[dict[str, Any]]:
        path = self.folder / "promotions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def history(steps: int) -> Iterator[dict[str, float]]:
    """The lines of a training: a loss each step, a score each second step."""
    for step in range(1, steps + 1):
        yield {"step": step, "epoch": step / 2, "train/loss": 1 / step}
        if step % 2 == 0:
            yield {"step": step, "epoch": step / 2, "val/shape/accuracy": step / steps}


def picture(path: Path, seed: int, size: int = 40) -> None:
    """Noise as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)


def small_params() -> dict[str, Any]:
    """The default preset with a tiny backbone."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    params["data"]["labels"] = {
        name: {"kind": "names", "column": name, "classes": names} for name, names in CLASSES.items()
    }
    params["views"]["s128"] = {"side": 32, "resize": "squash", "interpolation": "area"}
    params["encoders"]["lite0"] |= {"name": "test_efficientnet", "weights": {"kind": "random"}, "std": [0.25] * 3}
    params["heads"] = {name: {"label": name, "main": name == "shape"} for name in CLASSES}
    params["evaluate"] |= {"worst": 3}
    params["compare"] |= {"margin": 1.0}
    params["register"] = {"name": "shapes", "floors": {"shape/accuracy": 0.0}}
    return params


def write_images(folder: Path, params: Params) -> None:
    """photos, data/raw, data/views/s128 and data/classes.json of EACH images of every combination."""
    rows = [(shape, colour) for shape in CLASSES["shape"] for colour in CLASSES["colour"] for _ in range(EACH)]
    for number in range(len(rows)):
        picture(folder / "photos" / f"{number}.png", number)
    samples = pd.DataFrame(rows, columns=list(CLASSES)).assign(
        id=range(len(rows)), path=[f"{number}.png" for number in range(len(rows))],
        group=[f"image:{number}.png" for number in range(len(rows))],
        split=[("train", "train", "val", "test", "test", "test")[number % EACH] for number in range(len(rows))],
        width=40, height=40, sha256=[f"{number:064x}" for number in range(len(rows))],
    )  # fmt: skip
    write_json(folder / "data" / "classes.json", CLASSES)
    images = params.views["s128"].geometry
    transform, views = build_transform([], images), folder / "data" / "views" / "s128"
    write_shards(({path.name: path.read_bytes()} for path in sorted(folder.glob("photos/*"))), folder / "data" / "raw")
    read = open_shards(folder / "data" / "raw").read
    write_views(read, check_samples(samples, CLASSES), CLASSES, images, transform, 0, 1, views)


def finish(folder: Path) -> None:
    """Write a finished pipeline into a folder; `frozen` won."""
    folder.mkdir(exist_ok=True)
    house = House(folder)
    (house.folder / "params.yaml").write_text(yaml.safe_dump(small_params(), sort_keys=False))
    write_images(house.folder, house.params)
    house.train("frozen", 1)
    house.train("finetune", 2)
    house.decide("frozen")
    picture(house.folder / "reports" / "augment" / "s128.png", 2)
    make_database(house.folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline to copy."""
    return finish_once(tmp_path_factory.getbasetemp())


@functools.cache
def finish_once(place: Path) -> Path:
    """The same for every folder of tests, each of which has the fixture for its own."""
    finish(place / "finished")
    return place / "finished"


def enter_copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished pipeline as working directory; nothing in the environment leads to another store."""
    folder = tmp_path / "a house"
    shutil.copytree(finished, folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def house(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A copy of the finished pipeline, with an empty store of its own, as the working directory."""
    return House(enter_copy(finished, tmp_path, monkeypatch))


class Tracked(House):
    """A finished pipeline as a repository of git and DVC, whose remote is a folder; its stages do nothing."""

    def call(self, *words: str) -> None:
        """Run git or DVC here."""
        program = str(nursery() / "dvc") if words[0] == "dvc" else words[0]
        done = subprocess.run([program, *words[1:]], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"

    def begin(self) -> None:
        """Make the repository."""
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump(PROGRAM, sort_keys=False))
        (self.folder / ".gitignore").write_text("/data\n/models\n/reports\n/mlruns\n/.checkpoints\n")
        self.call("git", "init", "-q")
        self.call("dvc", "init", "-q")
        self.call("dvc", "config", "core.analytics", "false")
        self.call("dvc", "remote", "add", "--quiet", "--default", "kept", str(self.folder.parent / "kept"))
        self.call("git", "add", "dvc.yaml", ".gitignore", ".dvc")

    def commit(self, *words: str) -> None:
        """Let DVC keep what the stages wrote, as after `dvc repro`, and git the rest; `words` are for `git commit`."""
        self.call("dvc", "commit", "--force", "--quiet")
        ledger = [name for name in ("promotions.jsonl", "judged.jsonl") if (self.folder / name).exists()]
        self.call("git", "add", "dvc.lock", "params.yaml", *ledger)
        self.call("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "run", *words)

    def promote_twice(self) -> None:
        """Version 1 wins; then another training of `frozen` gives version 2. Both are committed."""
        self.register()
        self.commit()
        self.edit(lambda raw: raw["strategies"]["frozen"]["probe"].update(lr=0.5))
        self.train("frozen", 3)
        self.decide("frozen")
        self.register()
        self.commit()


def foreach(outs: list[str], rows: tuple[str, ...] = ("frozen", "finetune"), **more: Any) -> dict[str, Any]:
    return {"foreach": list(rows), "do": {"cmd": "true", "outs": outs, **more}}


PROGRAM: dict[str, Any] = {
    "stages": {
        "download": {"cmd": "true", "outs": ["data/classes.json"]},
        "split": {"cmd": "true", "params": ["split"]},
        "augment": foreach(["data/views/${item}", "reports/augment/${item}.png"], ("s128",), params=["views.${item}"]),
        "embed": foreach([], ("lite0",), deps=["data/views/s128"]),
        "train": foreach(
            ["models/${item}", "reports/costs/train-${item}.json"],
            params=["strategies.${item}"],
            deps=["data/views/s128"],
        ),
        "evaluate": foreach(["reports/strategies/${item}"], deps=["models/${item}"]),
        "compare": {"cmd": "true", "params": ["compare"], "outs": ["reports/compare.json"]},
    }
}


@pytest.fixture
def tracked(house: House) -> Tracked:
    """The finished pipeline as a repository."""
    repository = Tracked(house.folder)
    repository.begin()
    return repository


@pytest.fixture
def shared(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One empty store for every clone."""
    shutil.copy(finished / "mlruns" / "mlflow.db", tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")


@pytest.fixture
def cloned(tracked: Tracked, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tracked]:
    """Make a clone, `dvc pull` with these words from the remote, and go there; its store is empty."""

    def clone(*words: str) -> Tracked:
        other = Tracked(tracked.folder.parent / "a clone")
        tracked.call("dvc", "push", "--quiet", "--all-commits")
        tracked.call("git", "clone", "-q", str(tracked.folder), str(other.folder))
        other.call("dvc", "pull", "--quiet", *words)
        (other.folder / "mlruns").mkdir()
        shutil.copy(finished / "mlruns" / "mlflow.db", other.folder / "mlruns")
        monkeypatch.chdir(other.folder)
        return other

    return clone
