"""`meltpoint plan`: what DVC would run and why, in a real repository; times of the last run, or estimates."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from warm_process import nursery

from meltpoint.cli import run
from meltpoint.data.fingerprint import fingerprint_sources
from meltpoint.duplicate import about_comparing, chance_to_meet, compare_seconds, key_bits
from meltpoint.errors import UserError
from meltpoint.forecast.plan import Graph, count_images, find_steps, look_at_files
from meltpoint.forecast.speeds import PLACE, USUAL, EncoderSpeed, Speeds, read_speeds, write_speeds
from meltpoint.forecast.stages import Load, export_seconds, in_words, stage_seconds
from meltpoint.params.exports import Exports
from meltpoint.params.read import Params, parse_params, read_params
from meltpoint.params.sources import ArchiveSource, FolderSource, MasksSource
from meltpoint.progress import Stopwatch, timed_file

ROOT = Path(__file__).parents[2]
STAGES = {
    "download": {"cmd": "cp source.txt raw.txt", "deps": ["source.txt"], "params": ["data"], "outs": ["raw.txt"]},
    "split": {"cmd": "cp raw.txt split.txt", "deps": ["raw.txt"], "params": ["split"], "outs": ["split.txt"]},
    "train": {
        "foreach": ["frozen", "finetune"],
        "do": {"cmd": "cp split.txt ${item}.txt", "deps": ["split.txt"], "outs": ["${item}.txt"]},
    },
}
Plan = Callable[[], list[str]]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of DVC's own libraries


def dvc(*words: str) -> None:
    subprocess.run([str(nursery() / "python"), "-m", "dvc", *words, "-q"], check=True, timeout=300)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of DVC with three small stages and the default's params, in which everything has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "presets" / "elpv.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (tmp_path / "source.txt").write_text("one")
    dvc("init", "--no-scm")
    return tmp_path


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Plan:
    def _plan() -> list[str]:
        run(["plan"])
        return capsys.readouterr().out.splitlines()

    return _plan


def edit(path: Path, section: str, key: str, value: object) -> None:
    raw = yaml.safe_load(path.read_text())
    raw[section][key] = value
    path.write_text(yaml.safe_dump(raw))


@pytest.mark.slow
def test_what_runs_why_and_how_long(house: Path, plan: Plan) -> None:
    lines = plan()
    assert lines[0] == "dvc repro will run 4 of 4 stages:"
    assert [line.split()[0] for line in lines[1:5]] == ["download", "split", "train@frozen", "train@finetune"]
    assert all("estimated" in line for line in lines[1:5])
    assert lines[1].endswith("has not run here")
    assert lines[2].endswith("has not run here")

    dvc("repro")
    assert plan() == ["dvc repro has nothing to do: its 4 stages are up to date."]

    timed_file("split").parent.mkdir(parents=True)
    timed_file("split").write_text(json.dumps({"seconds": 240.0}))
    (house / "reports" / "costs").mkdir(parents=True)
    (house / "reports" / "costs" / "train-frozen.json").write_text(json.dumps({"seconds": 600.0}))
    (house / "raw.txt").write_text("another")
    download, split, frozen, finetune, _, encoder, measure = plan()[1:]
    assert "raw.txt" in download
    assert split.split()[:4] == ["split", "4", "min", "as"]
    assert split.endswith("after download")
    assert frozen.split()[:5] == ["train@frozen", "10", "min", "as", "in"]
    assert "its report" in frozen
    assert "estimated" in finetune
    assert encoder == "  lite0 at 128 px: not measured here: the estimate is that of tf_efficientnet_lite0 at this size"
    assert measure.endswith("meltpoint plan --measure")

    dvc("repro")
    edit(house / "params.yaml", "split", "official", False)
    split, *_ = plan()[1:]
    assert split.startswith("  split")
    assert "estimated" in split, "with other params the last time says nothing"
    assert split.endswith("changed: split")

    (house / "data" / "splits").mkdir(parents=True)
    for table in ("train", "val", "test"):
        (house / "data" / "splits" / f"{table}.csv").write_bytes(b"\n" * 10**7)
    (told,) = [line for line in plan() if line.startswith("  split: ")]
    assert told.startswith("  split: the hashes of 29,999,997 pictures meet in 64 tables.")
    edit(house / "params.yaml", "split", "duplicates", {"hash_distance": 88, "correlation": 0.6, "common": 0.005})
    (told,) = [line for line in plan() if line.startswith("  split: ")]
    assert told.startswith("  split: to compare 29,999,997 pictures all with all takes about ")
    assert "split.duplicates.tables: 64" in told
    edit(house / "params.yaml", "embed", "engine", "ray")
    assert "  Estimates are of this machine alone: others that come by embed.engine are not counted." in plan()


@pytest.mark.slow
def test_trouble_is_told_without_a_traceback(house: Path, plan: Plan) -> None:
    (house / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match="DVC cannot say what it would run"):
        plan()
    (house / "params.yaml").write_text("seed: 1")
    with pytest.raises(UserError, match=r"params.yaml has 12 errors"):
        plan()


@pytest.mark.slow
def test_it_needs_no_torch_no_mlflow_no_pandas(house: Path) -> None:
    code = (
        "import sys; from meltpoint.cli import run; run(['plan']);"
        "print({'mlflow', 'torch', 'pandas', 'cv2'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip().endswith("set()")


def test_a_stage_remembers_its_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Stopwatch("train@frozen").close("done")
    assert json.loads(timed_file("train@frozen").read_text())["seconds"] > 0
    timed_file("train@frozen").unlink()
    timed_file("train@frozen").parent.rmdir()
    (tmp_path / ".checkpoints" / "seconds").write_text("a file is in the way")
    Stopwatch("train@frozen").close("done")


def seconds(params: Params, images: int, speeds: Speeds) -> dict[str, float]:
    recipes = {name: params.recipe(name) for name in params.strategies}
    load = Load.shared(images, {"val": 0.1, "test": 0.2})
    tables = params.split.duplicates.tables_of(images)
    return stage_seconds(recipes, tables, params.embed.max_gb, params.evaluate, load, speeds)


def test_more_pixels_images_views_and_epochs_take_longer() -> None:
    params = read_params(ROOT / "presets" / "elpv.yaml")
    usual, more = (seconds(params, images, read_speeds()) for images in (2000, 4000))
    assert list(usual) == [
        "fingerprint", "download", "split", "augment@s128", "embed@lite0", "train@frozen", "train@finetune",
        "evaluate@frozen", "evaluate@finetune", "speed", "compare", "register",
    ]  # fmt: skip
    assert all(more[stage] > usual[stage] for stage in usual if stage not in {"speed", "compare"})
    larger = params.model_copy(update={"views": {"s128": params.views["s128"].model_copy(update={"side": 256})}})
    grown = seconds(larger, 2000, read_speeds())
    assert grown["embed@lite0"] > 3 * usual["embed@lite0"]
    assert grown["download"] == usual["download"]


def test_the_chance_that_two_hashes_meet_is_that_of_drawn_bits() -> None:
    random, count, tables, distance = np.random.default_rng(0), 10_000, 8, 64
    assert key_bits(count) == 13
    alike = np.arange(256) >= distance
    met = [
        any(alike[random.choice(256, key_bits(count), replace=False)].all() for _ in range(tables)) for _ in range(3000)
    ]
    assert np.mean(met) == pytest.approx(chance_to_meet(count, tables, distance), abs=0.02)
    assert chance_to_meet(count, tables, 0) == 1
    assert chance_to_meet(count, tables, 250) == 0


def test_heads_for_masks_take_longer_than_those_for_images() -> None:
    usual = Speeds(6.0, 0.006, 2, "cpu", 1.0, [])
    masks, images = (
        seconds(read_params(ROOT / "presets" / f"{name}.yaml"), 124, usual)["train@frozen"]
        for name in ("camvid", "elpv")
    )
    assert masks > 60 > images


def test_duplicates_of_many_are_looked_for_in_tables_in_hours_not_years() -> None:
    assert about_comparing(1000, None) is None
    assert "in 64 tables. Not all with all are compared" in (about_comparing(10**9, 64) or "")
    assert "split.duplicates.tables: 64" in (about_comparing(10**8, None) or "")
    assert compare_seconds(10**8, 64) == pytest.approx(10 * compare_seconds(10**7, 64))
    assert compare_seconds(10**8, None) == pytest.approx(100 * compare_seconds(10**7, None))


def test_exports_are_estimated_too() -> None:
    params = read_params(ROOT / "presets" / "elpv.yaml")
    recipes = {name: params.recipe(name) for name in params.strategies}
    load, speeds = Load(1000, 700, 100, 200), Speeds(1.0, 0.001, 2, "cpu", 1.0, [USUAL])

    def take(**rows: dict[str, object]) -> dict[str, float]:
        return export_seconds(Exports.model_validate(rows).asked, recipes, params.evaluate, load, speeds)

    few, many = (
        take(onnx_int8={"images": 64}),
        take(onnx={}, onnx_int8={"images": 512}, onnx_qat={"epochs": 2, "lr": 1}),
    )
    assert list(take()) == ["offer"]
    assert set(many) == {"export@onnx", "export@onnx_int8", "export@onnx_qat", "offer"}
    assert few["export@onnx_int8"] < many["export@onnx_int8"] < many["export@onnx_qat"]
    assert take()["offer"] < few["offer"] < take(onnx_int8={"images": 64, "resize": True})["offer"] < many["offer"]


SLOW = EncoderSpeed("slow", side=64, forward=1.0, step=3.0, heads=1e-4, features=100)


def test_each_encoder_has_its_own_speed_at_the_size_of_its_views() -> None:
    raw = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    raw["encoders"]["other"] = raw["encoders"]["lite0"] | {"name": "slow", "views": "s64"}
    raw["views"]["s64"] = raw["views"]["s128"] | {"side": 64}
    raw["strategies"]["slow"] = raw["strategies"]["frozen"] | {"encoder": "other"}
    params = parse_params(raw, "params.yaml")
    speeds = Speeds(1.0, 0.001, 2, "cpu", 1.0, [USUAL, replace(USUAL, side=64), SLOW])
    found = seconds(params, 1000, speeds)
    shown = 1000 + 700 * params.views["s64"].copies
    assert found["embed@other"] == pytest.approx(1 + shown * SLOW.forward)
    assert found["embed@lite0"] == pytest.approx(1 + shown * USUAL.forward * 4), "scaled from the nearest size: 64 px"
    assert found["evaluate@slow"] > found["evaluate@frozen"]
    lite, other = params.encoders["lite0"], params.encoders["other"]
    assert speeds.describe(lite, 128) == "scaled from what was measured here at 64 px"
    assert speeds.describe(other, 64) == "measured here"
    alone = replace(speeds, encoders=[SLOW])
    assert alone.describe(lite, 128) == "not measured here: the estimate is that of slow at this size"
    assert replace(speeds, encoders=[]).of(other, 224) == USUAL, "two usual cores"


@pytest.mark.slow
def test_every_encoder_is_measured_when_that_is_asked_for(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", "--measure"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "  lite0 at 128 px: measured here"
    (speed,) = read_speeds().encoders
    assert (speed.encoder, speed.side) == ("tf_efficientnet_lite0", 128)
    assert 0 < speed.heads < speed.forward < speed.step


def test_speeds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    lite = read_params(ROOT / "presets" / "elpv.yaml").encoders["lite0"]
    assert read_speeds().of(lite, 224).forward == pytest.approx(USUAL.forward / 4)
    own = Speeds(2.0, 0.5, 8, "cpu", 1.0, [SLOW])
    write_speeds(own)
    assert read_speeds() == own
    PLACE.write_text(json.dumps(asdict(own) | {"colour": 1}))
    assert read_speeds().encoders == [], "a file of another version is not used"


def test_images_are_counted_without_being_read(tmp_path: Path) -> None:
    for name in ("images/1.jpg", "masks/1.png", "masks/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    masks = MasksSource.model_validate(
        {"kind": "masks", "path": str(tmp_path), "images": {"all": "images"}, "masks": {"all": "masks"},
         "mask_name": "{stem}.png"}
    )  # fmt: skip
    assert count_images(masks, files=3) == 2
    assert count_images(FolderSource(kind="folder", path=str(tmp_path)), files=3) == 3
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "masks")
    for location, images in ((packed, 2), (str(tmp_path / "none.zip"), 0), ("https://x.org/a.zip", 0)):
        archive = ArchiveSource(
            kind="archive", location=location, sha256="0" * 64, max_members=9, max_gigabytes=1,
            inside=FolderSource(kind="folder", path="."),
        )  # fmt: skip
        assert count_images(archive, files=1) == images


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "5 s"), (22, "20 s"), (89, "90 s"), (95, "2 min"), (1500, "25 min"), (9000, "2.5 h")]
)
def test_words_promise_no_more_than_is_known(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_look_at_the_source_is_no_reason_to_run_but_what_it_finds_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "photos" / "cat" / "1.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    raw = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    raw["data"] |= {
        "source": {"kind": "folder", "path": "photos"},
        "labels": {"defective": {"kind": "names", "column": "class", "classes": None}},
    }
    raw["heads"] = {"defective": raw["heads"]["defective"]}
    raw["encoders"]["lite0"]["weights"] = {"kind": "file", "path": "w.pth", "match": "name", "licence": "mine"}
    (tmp_path / "w.pth").write_bytes(b"weights")
    params = parse_params(raw, "params.yaml")
    fingerprint_sources(params.data, {"lite0": params.encoders["lite0"].weights}, params.taps).write(Path("data"))
    stages = {"fingerprint": [], "download": ["fingerprint"], "embed": ["download", "fingerprint"], "train": ["embed"]}
    reads = {stage: set[str]() for stage in stages}
    reads |= {"download": {"data/fingerprint.json"}, "embed": {"data/raw", "data/encoders/lite0.json"}}

    def found() -> list[tuple[str, str]]:
        status: dict[str, Any] = {"fingerprint": ["always changed"]}
        weights = {"lite0": params.encoders["lite0"].weights}
        look_at_files(Graph(stages, reads), status, fingerprint_sources(params.data, weights, params.taps))
        return [(step.stage, step.reason) for step in find_steps(stages, status, {})]

    assert found() == []
    (tmp_path / "w.pth").write_bytes(b"another")
    assert found() == [("embed", "changed: weights or taps of lite0"), ("train", "after embed")]
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert found() == [], "weights count by what they hold"
    picture.write_bytes(b"longer")
    assert found() == [
        ("download", "changed: files of the source"), ("embed", "after download"), ("train", "after embed"),
    ]  # fmt: skip
