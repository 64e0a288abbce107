"""Whatever ends a stage, a kill, a full disk, a folder that may not be written: its outputs are whole or absent.

Stages run in forked children (`nursery.py`), on outputs that were removed before, as DVC does it.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from finished_pipeline import House as Pipeline
from PIL import Image
from rounds import TEAM_STAGES, Clone, Team
from warm_process import WarmProcess, environment

from meltpoint.tracking.database import make_database

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
STAGES = [
    ("fingerprint",), ("download",), ("split",), ("augment", "s128"), ("embed", "lite0"),
    ("train", "frozen"), ("train", "finetune"),
    ("evaluate", "frozen"), ("evaluate", "finetune"), ("speed",), ("compare",), ("register",),
]  # fmt: skip
OF_EXPORTS = [("export", "torch_export"), ("offer",)]
KILLS, KILLS_OF_TWO = 5, 2  # of each stage; of those of exports, and of `register` in one of two clones
MEASURED = ("reports/costs", "reports/exports.")  # by the clock
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
Stage = tuple[str, ...]


def name_of(stage: Stage) -> str:
    return "@".join(stage)


def outputs(stage: Stage) -> list[str]:
    """What dvc.yaml says that a stage writes."""
    body = DVC[stage[0]].get("do", DVC[stage[0]])
    listed = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
    return [(next(iter(out)) if isinstance(out, dict) else out).replace("${key}", stage[-1]) for out in listed]


def small_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    params["data"] |= {
        "source": {"kind": "folder", "path": "photos"},
        "labels": {"y": {"kind": "names", "column": "class", "classes": None}},
    }
    params["split"]["ratios"] = {"train": 0.5, "val": 0.25, "test": 0.25}
    params["views"]["s128"] |= {"side": 32, "copies": 2}
    params["encoders"]["lite0"] |= {
        "name": "test_efficientnet", "weights": {"kind": "random"}, "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    params["heads"] = {"y": {"label": "y"}}
    params["train"] |= {"threads": 1, "checkpoint_steps": 1}
    probe = {"epochs": 8, "batch": 32, "lr": 0.01, "weight_decays": [0.0, 0.1]}
    params["strategies"]["frozen"] |= {"repeats": 3, "probe": {**params["strategies"]["frozen"]["probe"], **probe}}
    params["strategies"]["finetune"] |= {
        "repeats": 2,
        "epochs": 3,
        "batch": 16,
        "probe": {**params["strategies"]["finetune"]["probe"], **probe},
    }
    params["evaluate"] |= {"latency_runs": 2, "worst": 4}
    params["compare"] |= {"margin": 1.0, "cost": "trainable_parameters"}
    params["register"] |= {"name": "shapes", "floors": {}}
    params["export"] = {"torch_export": {}}
    return params


@dataclass
class House:
    """A repository whose stages run in children of a warm process."""

    folder: Path
    warm: WarmProcess
    references: dict[Stage, dict[str, bytes]] = field(default_factory=dict)  # what stages wrote the last time

    def run(self, stage: Stage, limit: int | None = None, powerless: bool = False) -> tuple[int, str]:
        self.clear(stage)
        self.warm.start(stage, limit, powerless)
        return self.warm.end(), self.warm.said()

    def clear(self, stage: Stage) -> None:
        """Remove the outputs, as DVC does before a stage runs."""
        for out in outputs(stage):
            path = self.folder / out
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def contents(self, stage: Stage) -> dict[str, bytes]:
        """Every file of the outputs but those with what is measured."""
        found = {}
        for out in outputs(stage):
            path = self.folder / out
            files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            found |= {str(file.relative_to(self.folder)): file.read_bytes() for file in files if file.exists()}
        return {name: content for name, content in found.items() if not name.startswith(MEASURED)}

    def check_whole(self, stage: Stage, reference: dict[str, bytes]) -> None:
        """Each output is that of the undisturbed run, or is not there at all."""
        found = self.contents(stage)
        for out in outputs(stage):
            if out.startswith(MEASURED):
                continue
            own = {name: content for name, content in found.items() if name == out or name.startswith(f"{out}/")}
            whole = {name: reference[name] for name in reference if name == out or name.startswith(f"{out}/")}
            assert own in ({}, whole), f"{out} is half written: {sorted(own)}"
            assert own or not (self.folder / out).exists(), f"{out} is an empty folder"

    def temporary(self) -> list[Path]:
        """Files and folders under temporary names."""
        return [
            path for path in self.folder.rglob(".*.*") if ".checkpoints" not in path.parts and path.suffix != ".lock"
        ]

    def ledger(self) -> list[dict[str, Any]]:
        path = self.folder / "promotions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "a house"
        write_house(folder)
        yield House(folder, WarmProcess(folder))


def write_house(folder: Path) -> None:
    for number in range(48):
        path = folder / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 128, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise + np.uint8(number % 2 * 100)).save(path)
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params(), sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", folder)


def reference(house: House, stage: Stage) -> dict[str, bytes]:
    """What a stage writes, the same in each test of these params but for `compare`, which quotes times, and exports."""
    if stage not in house.references or stage[0] in ("compare", "export"):  # of a winner that was trained again
        undisturbed(house, stage)
    return house.references[stage]


def undisturbed(house: House, stage: Stage) -> tuple[dict[str, bytes], float]:
    """What a stage writes, and how many seconds it takes."""
    start = time.monotonic()
    code, said = house.run(stage)
    assert code == 0, said
    found, seconds = house.contents(stage), time.monotonic() - start
    house.references[stage] = found
    return found, seconds


def kill_once(house: House, stage: Stage, delay: float) -> bool:
    """Whether it was killed before its end."""
    house.clear(stage)
    child = house.warm.start(stage)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return house.warm.end() != 0


@pytest.mark.parametrize("stage", [*STAGES[:-1], *OF_EXPORTS], ids=name_of)
def test_killed_at_random_moments(house: House, stage: Stage) -> None:
    """Five kills of each stage, two of those of exports, and five of `register` below: sixty-four."""
    reference, seconds = undisturbed(house, stage)
    draw, killed = random.Random(name_of(stage)), 0
    while killed < (KILLS_OF_TWO if stage in OF_EXPORTS else KILLS):
        if kill_once(house, stage, draw.uniform(0.05, 0.9) * seconds):
            killed += 1
        else:
            seconds *= 0.8  # it took longer when it was measured than it does now
        house.check_whole(stage, reference)
    assert undisturbed(house, stage)[0] == reference
    assert not [path for path in house.temporary() if path.is_dir()]


def promoted(house: House) -> dict[str, Any]:
    """What the store and the ledger say of versions and aliases."""
    with closing(sqlite3.connect(house.folder / "mlruns" / "mlflow.db")) as store:
        versions = store.execute("select version from model_versions where current_stage != 'Deleted_Internal'")
        names = store.execute("select alias, version from registered_model_aliases")
        found = {"versions": [row[0] for row in versions], "aliases": dict(names.fetchall())}
    return {**found, "ledger": [(line["alias"], line["from"], line["to"]) for line in house.ledger()]}


def test_a_killed_register_ends_with_one_champion(house: House) -> None:
    draw, killed, seconds = random.Random(0), 0, 10.0
    while killed < KILLS:
        if kill_once(house, ("register",), draw.uniform(0.05, 0.9) * seconds):
            killed += 1
        else:
            seconds *= 0.8
    for _ in range(2):
        undisturbed(house, ("register",))
        expected = {"versions": [1], "aliases": {"champion": 1}, "ledger": [("champion", None, "1")]}
        assert promoted(house) == expected


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow
def test_a_killed_register_leaves_one_champion_to_two_clones(house: House, tmp_path: Path) -> None:
    """A second clone, whose model was trained otherwise, registers in the same store at the same time."""
    shutil.copytree(house.folder, tmp_path / "other")
    params = small_params()
    params["strategies"]["frozen"]["probe"]["lr"] = 0.02
    (house.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    house.references.clear()
    for stage in (("train", "frozen"), ("evaluate", "frozen"), ("compare",)):
        undisturbed(house, stage)
    make_database(house.folder, tmp_path / "team.db")  # as a server does alone: two at once fail
    uri, draw, seconds = f"sqlite:///{tmp_path / 'team.db'}", random.Random(1), 6.0
    more = {"MLFLOW_TRACKING_URI": uri, "SILENCE": "3"}
    folders = (house.folder, tmp_path / "other")
    clones = [Clone(Pipeline(folder), WarmProcess(folder, TEAM_STAGES, more), uri) for folder in folders]
    team = Team(clones, seed=0)
    while team.tally.kills < KILLS_OF_TWO:
        for clone in clones:
            clone.rename(f"shapes-{team.tally.rounds}")
        team.tally.rounds += 1
        dying, living = draw.sample(clones, 2)
        child, _ = dying.warm.start(("register",)), living.warm.start(("register",))
        time.sleep(draw.uniform(0.05, 0.9) * seconds)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if dying.warm.end() == 0:
            seconds *= 0.8
        else:
            team.tally.kills += 1
        assert living.warm.end() == 0, living.warm.said()
        team.run(clones, ("register",))
        team.check()
    assert team.tally.violations == []


@pytest.mark.parametrize("stage", [*STAGES, OF_EXPORTS[0]], ids=name_of)
def test_a_full_disk_and_folders_that_may_not_be_written_are_told(house: House, stage: Stage) -> None:
    wanted = reference(house, stage)
    largest = max(map(len, wanted.values()), default=100)  # of figures alone, which are no reference: few bytes
    before = house.temporary()  # of kills
    for limit in (min(1000, largest - 1), largest - 1):
        code, said = house.run(stage, limit=limit)
        assert code == 1, said
        assert "Make room, or raise the limit; the same command continues from there" in said
        assert "Traceback" not in said
        house.check_whole(stage, wanted)
        assert set(house.temporary()) <= set(before)
    check_closed_folders(house, stage)
    assert undisturbed(house, stage)[0] == wanted


def check_closed_folders(house: House, stage: Stage) -> None:
    """No folder may be written, and none is."""
    house.clear(stage)
    modes = {path: path.stat().st_mode for path in (house.folder, *house.folder.rglob("*")) if path.is_dir()}
    try:
        for path in modes:
            path.chmod(0o555)
        house.warm.start(stage, powerless=True)
        assert house.warm.end() == 1, house.warm.said()
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert "Grant permission, or choose another folder" in house.warm.said()
    assert "Traceback" not in house.warm.said()
    assert not house.contents(stage)


def test_a_second_repro_at_the_same_time_is_told(tmp_path: Path) -> None:
    """The first one waits for a table that comes through a pipe."""
    write_house(tmp_path)
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    params, pipe = small_params(), tmp_path / "table.csv"
    params["data"]["source"] = {
        "kind": "csv", "table": "table.csv", "images": "photos", "separator": ",", "header": None, "path": "path",
        "split": None,
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    os.mkfifo(pipe)
    rows = [f"{path.relative_to(tmp_path / 'photos')},{path.parent.name}" for path in tmp_path.glob("photos/*/*")]
    options = {
        "cwd": tmp_path,
        "env": environment(),
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    subprocess.run(["dvc", "init", "-q", "--no-scm"], check=True, **options)
    with subprocess.Popen(["dvc", "repro", "fingerprint"], **options) as first:
        try:
            table = open_when_read(pipe, first)
            second = subprocess.run(["dvc", "repro", "fingerprint"], check=False, timeout=120, **options)
            os.write(table, "\n".join(["path,class", *rows, ""]).encode())
            os.close(table)
            said, _ = first.communicate(timeout=120)
        finally:
            first.kill()
    assert first.returncode == 0, said
    assert second.returncode != 0
    assert "Traceback" not in second.stdout
    assert "is busy" in second.stdout or "Unable to acquire lock" in second.stdout
    assert (tmp_path / "data" / "fingerprint.json").exists()


def open_when_read(pipe: Path, reader: "subprocess.Popen[str]") -> int:
    """The writing end of a named pipe, once somebody reads it."""
    while reader.poll() is None:
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.1)
    raise AssertionError(reader.communicate()[0])
