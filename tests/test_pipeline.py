"""The real thing, small: `dvc repro` on a generated dataset, cold, again, edited, back, killed, promoted twice.

The tests of this file tell one story in one repository, in order. After the first run stages are children of a process
that has imported everything (`nursery.py`), but for those that are killed, and trainings have no curves in MLflow.
"""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageDraw
from safetensors import safe_open
from warm_process import nursery

ROOT = Path(__file__).parents[1]
SHAPES, COLOURS = ["circle", "square"], {"red": (220, 60, 50), "green": (60, 170, 80), "blue": (60, 90, 210)}
pytestmark = pytest.mark.slow


def draw_shape(shape: str, colour: str, rng: np.random.Generator) -> Image.Image:
    """A shape of a colour, somewhere on 40x40 pixels of noise."""
    picture = Image.fromarray(rng.integers(90, 160, (40, 40, 3), dtype=np.uint8))
    left, top, size = rng.integers(2, 14), rng.integers(2, 14), rng.integers(16, 24)
    box = [int(left), int(top), int(left + size), int(top + size)]
    pen = ImageDraw.Draw(picture)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=COLOURS[colour])
    return picture


def write_dataset(folder: Path, each: int = 16) -> None:
    """Pictures and a table of their two labels; the last row is an exact copy of the first."""
    rng, rows = np.random.default_rng(3), ["file;shape;colour"]
    folder.mkdir()
    for shape in SHAPES:
        for colour in COLOURS:
            for number in range(each):
                name = f"{shape}-{colour}-{number}.png"
                draw_shape(shape, colour, rng).save(folder / name)
                rows.append(f"{name};{shape};{colour}")
    shutil.copy(folder / "circle-red-0.png", folder / "copy.png")
    (folder / "labels.csv").write_text("\n".join([*rows, "copy.png;circle;red"]) + "\n")


def small_params(dataset: Path) -> dict[str, Any]:
    """The default preset with another dataset, a tiny backbone and little to do."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    probe = {"epochs": 8, "batch": 32, "lr": 0.01, "schedule": "cosine", "weight_decays": [0.0, 0.1]}
    params["data"]["source"] = {
        "kind": "csv", "table": str(dataset / "labels.csv"), "images": str(dataset), "path": "file",
    }  # fmt: skip
    params["data"]["labels"] = {
        "shape": {"kind": "names", "column": "shape", "classes": SHAPES},
        "colour": {"kind": "names", "column": "colour"},
    }
    params["split"]["ratios"] = {"train": 0.5, "val": 0.25, "test": 0.25}
    params["views"]["s128"] |= {"side": 32, "copies": 2}
    params["encoders"]["lite0"] |= {
        "name": "test_efficientnet", "weights": {"kind": "random"}, "mean": [0.5] * 3, "std": [0.25] * 3,
    }  # fmt: skip
    params["heads"] = {"shape": {"label": "shape", "main": True}, "colour": {"label": "colour"}}
    params["train"] |= {"threads": 1, "checkpoint_steps": 1}
    params["strategies"]["frozen"]["probe"] = probe
    params["strategies"]["finetune"] |= {"probe": copy.deepcopy(probe), "epochs": 3, "batch": 16}
    params["evaluate"] |= {"latency_runs": 3, "worst": 4}
    params["compare"] |= {"margin": 1.0, "cost": "trainable_parameters"}
    params["register"] = {"name": "shapes", "floors": {"shape/accuracy": 0.0}}
    return params


class House:
    """A repository in which `dvc repro` really runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "house"
        write_dataset(folder / "pictures")
        shutil.copytree(ROOT / "src", self.folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copytree(ROOT / "stages", self.folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, self.folder / name)
        self.params = small_params(folder / "pictures")
        self.edit()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.run("git", "init", "-q")
        self.run("dvc", "init", "-q")
        self.run("dvc", "config", "core.analytics", "false")
        self.run("git", "add", ".")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")

    def warm_up(self) -> None:
        """Programs cost no imports from now on."""
        self.environment |= {"PATH": f"{nursery()}:{self.environment['PATH']}", "MELTPOINT_TRACKING": "off"}

    def edit(self) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False))

    def start(self, *command: str) -> "subprocess.Popen[str]":
        program = shutil.which(command[0], path=self.environment["PATH"])
        return subprocess.Popen(
            [str(program), *command[1:]], cwd=self.folder, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate()
        assert process.returncode == 0, f"{' '.join(command)}\n{output}"
        return output

    def repro(self, *arguments: str) -> tuple[set[str], str]:
        """Run `dvc repro`; the stages whose command ran, but for the one that always does, and all that was printed."""
        output = self.run("dvc", "repro", *arguments)
        return set(re.findall(r"Running stage '(.+?)'", output)) - {"fingerprint"}, output

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "promotions.jsonl").read_text().splitlines()]

    def saved_step(self) -> int:
        """The step of the newest checkpoint of a fine-tuning, 0 without one."""
        steps = [0]
        for path in self.folder.glob(".checkpoints/finetune-*/state.safetensors"):
            with safe_open(path, framework="np") as file:
                steps.append(json.loads(file.metadata()["facts"])["step"])
        return max(steps)

    def trained(self, strategy: str) -> tuple[bytes, bytes]:
        """The weights, and the curves: every loss and score on the way to them."""
        folder = self.folder / "models" / strategy
        return (folder / "model.safetensors").read_bytes(), (folder / "history.jsonl").read_bytes()


FINETUNE = {"train@finetune", "evaluate@finetune", "speed", "compare", "offer", "register"}
EVERYTHING = {
    "download", "split", "augment@s128", "embed@lite0", "train@frozen", "evaluate@frozen", *FINETUNE,
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("pipeline"))


def test_cold_everything_runs(house: House) -> None:
    ran, output = house.repro()
    assert ran == EVERYTHING
    decision = house.json("reports/compare.json")
    assert decision["sentence"].rstrip(".") in output
    assert {row["name"] for row in decision["strategies"]} == {"frozen", "finetune"}
    assert house.json("reports/split.json")["duplicates"]["exact"] == 1
    assert [line["alias"] for line in house.ledger()] == ["champion"]


def test_a_champion_answers(house: House) -> None:
    picture = str(house.folder.parent / "pictures" / "copy.png")
    code = (
        "import sys, pathlib, meltpoint; predictor = meltpoint.load('models:/shapes@champion');"
        "print(predictor.predict_images([pathlib.Path(sys.argv[1])], 1).to_json())"
    )
    answer = house.run("python", "-c", code, picture)
    assert "shape.p.circle" in answer


def test_again_nothing_runs(house: House) -> None:
    house.warm_up()
    ran, _ = house.repro()
    assert ran == set()


def test_one_learning_rate_edited_and_back(house: House) -> None:
    before, old = house.trained("finetune"), house.params["strategies"]["finetune"]["lr"]
    house.params["strategies"]["finetune"]["lr"] = old * 3
    house.edit()
    ran, _ = house.repro()
    assert ran <= FINETUNE
    assert "train@finetune" in ran
    assert house.trained("finetune") != before

    house.params["strategies"]["finetune"]["lr"] = old
    house.edit()
    ran, _ = house.repro()
    assert ran <= {"register"}
    assert house.trained("finetune") == before
    assert len(house.ledger()) == 1


def test_more_repeats_make_no_new_version(house: House) -> None:
    before, reports = house.trained("frozen"), house.folder / "reports" / "strategies" / "frozen"
    assert house.json("reports/strategies/frozen/repeats.json")["repeats"] == 1
    house.params["strategies"]["frozen"]["repeats"] = 3
    house.edit()
    ran, output = house.repro()
    assert ran == {"train@frozen", "evaluate@frozen", "speed", "compare", "register"}
    assert "repeat 3 of 3" in output
    assert house.trained("frozen") == before
    assert len(house.ledger()) == 1
    told, rows = house.json("reports/strategies/frozen/repeats.json"), pd.read_parquet(reports / "repeats.parquet")
    assert told["seeds"][0] == house.params["seed"]
    assert len(set(told["seeds"])) == told["repeats"] == 3
    once = pd.read_parquet(reports / "predictions.parquet")
    assert rows.groupby("repeat").size().to_dict() == {2: len(once), 3: len(once)}
    assert not rows[list(once)].equals(pd.concat([once, once], ignore_index=True))


def test_promoted_twice(house: House) -> None:
    house.params["strategies"]["frozen"]["probe"]["epochs"] = 9
    house.edit()
    house.repro()
    aliases = [(line["alias"], line["to"]) for line in house.ledger()]
    assert [alias for alias, _ in aliases].count("champion") == 2
    house.repro("--force", "--single-item", "register")
    assert [(line["alias"], line["to"]) for line in house.ledger()] == aliases


def test_killed_and_resumed(house: House) -> None:
    house.params["strategies"]["finetune"]["epochs"] = 30
    house.edit()
    warm = house.environment["PATH"]
    house.environment["PATH"] = warm.removeprefix(f"{nursery()}:")  # a child of the nursery would survive
    process = house.start("dvc", "repro", "train@finetune")
    deadline = time.monotonic() + 120
    while house.saved_step() < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert house.saved_step() >= 2, "killed before the second step was saved"
    house.environment["PATH"] = warm

    _, output = house.repro("train@finetune")
    assert "continuing from step" in output
    resumed = house.trained("finetune")
    _, output = house.repro("--force", "--single-item", "train@finetune")
    assert "continuing from step" not in output
    assert house.trained("finetune") == resumed


def test_variants_run_beside_it(house: House) -> None:
    """Two params files in workspaces of their own: one table, and nothing else is touched."""
    before = {path: path.stat().st_mtime_ns for path in (house.folder / "models").rglob("*")}
    frozen = {**house.params, "strategies": {"frozen": house.params["strategies"]["frozen"]}}
    one, two = frozen, {**frozen, "views": {"s128": {**frozen["views"]["s128"], "side": 48}}}
    for name, params in (("small", one), ("large", two)):
        (house.folder / f"{name}.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    output = house.run("meltpoint", "bench-variants", "small.yaml", "large.yaml")
    rows = [line.split("|")[1:4] for line in output.splitlines() if line.startswith(("| small", "| large"))]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["small", "**frozen**", "32"],
        ["large", "**frozen**", "48"],
    ]
    assert "circle recall" in output
    assert (house.folder / ".variants" / "table.md").read_text() in output
    assert {path: path.stat().st_mtime_ns for path in (house.folder / "models").rglob("*")} == before


def test_a_picture_that_is_replaced_counts_and_one_that_is_touched_changes_nothing(house: House) -> None:
    picture = house.folder.parent / "pictures" / "circle-red-1.png"
    house.repro("split")
    os.utime(picture, (1, 1))
    assert house.repro("split")[0] == {"download"}
    draw_shape("circle", "red", np.random.default_rng(99)).save(picture)
    assert house.repro("split")[0] == {"download", "split"}
    assert house.repro("split")[0] == set()
