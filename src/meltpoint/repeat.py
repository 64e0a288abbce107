"""The whole pipeline twice from scratch, on a tiny generated dataset: equal to the byte, except for measured values."""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.params.yaml12 import QuickLoader, dump, load
from meltpoint.terminal import say

# Measured times and memory, and what is made of them. Nothing that is trained or predicted is among them.
TIMES = "data/fingerprint.json"  # of the files of the source
MEASURED = (TIMES, "reports/costs", "reports/compare.json", "reports/compare.md", "reports/compare.html")
METERS = (
    "seconds", "seconds_all_repeats", "train_seconds", "peak_megabytes", "predict_megabytes", "latency_p50_ms",
    "latency_own_ms", "latency_p95_ms", "throughput_per_second",
)  # fmt: skip
SHOWN = 30  # lines of what differs
QUOTES = "sentence"  # of compare.json: quotes what was measured
COPIED = ("src", "stages", "dvc.yaml", ".dvcignore", "presets")
SHAPES, COLOURS = ("circle", "square"), {"red": (220, 60, 50), "green": (60, 170, 80), "blue": (60, 90, 210)}
EACH, SIDE = 16, 40  # pictures of each shape and colour, and their pixels
PROBE = {"epochs": 8, "batch": 32, "lr": 0.01, "weight_decays": [0.0, 0.1]}


class RepeatError(UserError, RuntimeError):
    """The pipeline did not run, or two runs of it gave different results."""


def repeat(root: Path, threads: int) -> str:
    """Run the pipeline of the repository `root` twice, each time in an empty copy of it, and say what was equal.

    Raises:
        RepeatError: a run failed, or an output differs that was not measured; the copies are kept.
    """
    base = Path(tempfile.mkdtemp(prefix="meltpoint-repeat-"))
    folders = (base / "first", base / "second")
    _prepare(folders[0], root, threads)
    _prepare(folders[1], folders[0], threads)  # not of `root`, where somebody may be editing
    for folder in folders:
        say(f"--- {folder.name} run, from scratch, {threads} thread(s): {folder}")
        _dvc(folder, threads, "repro")
    differing = [*compare_locks(*folders), *compare_decisions(*folders)]
    if differing:
        more = [f"and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else []
        listed = "\n".join(f"  - {line}" for line in [*differing[:SHOWN], *more])
        raise RepeatError(
            f"Two runs from scratch on this machine differ in {len(differing)} place(s):\n{listed}\nOnly what is"
            f" measured may differ: {', '.join(MEASURED)}. Both runs are kept in {base}; compare their files, find what"
            " is not seeded or depends on the order of threads, and run again."
        )
    equal = sum(": out " in place and fact != "measured" for place, fact in _facts(folders[0] / "dvc.lock").items())
    shutil.rmtree(base)
    return (
        f"Two runs from scratch give the same dvc.lock: {equal} outputs are equal to the byte, models and predictions"
        f" among them. Not compared are measured times and memory, and what is made of them: {', '.join(MEASURED)};"
        " of these, all that was not measured is equal too. This is true of one machine and a fixed number of threads"
        f" ({threads} here), not across machines, libraries or numbers of threads."
    )


def compare_locks(first: Path, second: Path) -> list[str]:
    """What differs between the dvc.lock of two folders, but for the digests of what was measured; a line for each.

    Outputs come first: what depends on them differs with them.
    """
    one, two = (_facts(folder / "dvc.lock") for folder in (first, second))
    return [
        f"{place}: {_describe(one.get(place))} and {_describe(two.get(place))}"
        for place in sorted(one.keys() | two.keys(), key=lambda place: (": out " not in place, place))
        if one.get(place) != two.get(place)
    ]


def compare_decisions(first: Path, second: Path) -> list[str]:
    """Which files of what was measured differ in more than the measures; a line for each."""
    costs = {file.relative_to(folder) for folder in (first, second) for file in folder.glob("reports/costs/*.json")}
    differing = []
    for name in sorted([*costs, Path("reports/compare.json")]):  # the text and the page repeat what compare.json says
        one, two = (folder / name for folder in (first, second))
        if (_strip(read_json(one)) if one.exists() else None) != (_strip(read_json(two)) if two.exists() else None):
            differing.append(f"{name.as_posix()}: differs in more than what was measured")
    return differing


def small_params(preset: dict[str, Any]) -> dict[str, Any]:
    """A preset with the generated dataset, a tiny backbone with random weights, and little to do."""
    params = copy.deepcopy(preset)
    params["data"]["source"] = {
        "kind": "csv", "table": "pictures/labels.csv", "images": "pictures", "separator": None, "header": None,
        "path": "file", "split": None,
    }  # fmt: skip
    params["data"]["labels"] = {
        name: {"kind": "names", "column": name, "classes": list(classes)}
        for name, classes in (("shape", SHAPES), ("colour", COLOURS))
    }
    params["split"]["ratios"] = {"train": 0.5, "val": 0.25, "test": 0.25}
    for views in params["views"].values():
        views |= {"side": 32, "copies": 2}
    for encoder in params["encoders"].values():
        encoder |= {"name": "test_efficientnet", "weights": {"kind": "random"}, "mean": [0.5] * 3, "std": [0.25] * 3}
    params["heads"] = {name: {"label": name, "main": name == "shape"} for name in ("shape", "colour")}
    for strategy in params["strategies"].values():
        strategy["repeats"] = 2
        if "probe" in strategy:
            strategy["probe"] |= PROBE
        if "epochs" in strategy:
            strategy |= {"epochs": 3, "batch": 16}
    params["evaluate"] |= {"latency_runs": 3, "worst": 4}
    params["compare"] |= {"margin": 1.0, "cost": "trainable_parameters"}
    params["register"] |= {"name": "shapes", "floors": {"shape/accuracy": 0.0}}
    return params


def write_pictures(folder: Path) -> None:
    """Shapes of colours somewhere on noise, and labels.csv of both."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(3), ["file;shape;colour"]
    for shape in SHAPES:
        for colour, fill in COLOURS.items():
            for number in range(EACH):
                name = f"{shape}-{colour}-{number}.png"
                picture = Image.fromarray(rng.integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8))
                left, top, size = (int(rng.integers(*bounds)) for bounds in ((2, 14), (2, 14), (16, 24)))
                pen = ImageDraw.Draw(picture)
                (pen.ellipse if shape == "circle" else pen.rectangle)([left, top, left + size, top + size], fill=fill)
                picture.save(folder / name)
                rows.append(f"{name};{shape};{colour}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _prepare(folder: Path, root: Path, threads: int) -> None:
    """A copy of the program, as it is on the disk, in a repository without past, cache or outputs."""
    write_pictures(folder / "pictures")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(root / name, folder / name)
    params = small_params(load((root / "presets" / "elpv.yaml").read_text(encoding="utf-8")))
    params["train"]["threads"] = threads
    (folder / "params.yaml").write_text(dump(params), encoding="utf-8")
    _dvc(folder, threads, "init", "--no-scm", "--quiet")
    _dvc(folder, threads, "config", "core.analytics", "false")


def _dvc(folder: Path, threads: int, *words: str) -> None:
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    mine |= {"PYTHONPATH": str(folder / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}"}
    mine |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, env=mine, check=False)
    if done.returncode:
        raise RepeatError(
            f"`dvc {' '.join(words)}` failed in {folder}; the lines above say why. The pipeline has to run before it"
            " can be repeated. Correct this, and run again."
        )


def _facts(lock: Path) -> dict[str, object]:
    """A dvc.lock as flat facts, "stage: field path" to what is written of it; digests of what was measured left out."""
    facts: dict[str, object] = {}
    for stage, entry in load(lock.read_text(encoding="utf-8"), QuickLoader)["stages"].items():
        facts |= {f"{stage}: {field}": entry[field] for field in ("cmd", "params") if field in entry}
        for field in ("deps", "outs"):
            for file in entry.get(field, []):
                is_measured = any(Path(file["path"]).is_relative_to(name) for name in MEASURED)
                facts[f"{stage}: {field[:-1]} {file['path']}"] = "measured" if is_measured else file
    return facts


def _describe(fact: object) -> str:
    """What dvc.lock says of a place, in few words."""
    match fact:
        case None:
            return "absent"
        case {"md5": str(digest), "size": int(size)}:
            return f"{digest[:12]} ({size:,} bytes)"
        case _:
            return str(fact)[:100]


def _strip(value: object) -> object:
    """Plain values without the entries that are measured, or quote measures."""
    match value:
        case dict():
            return {key: _strip(own) for key, own in value.items() if key not in METERS and key != QUOTES}
        case list():
            return [_strip(own) for own in value]
        case _:
            return value
