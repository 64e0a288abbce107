"""The command as a whole: what it writes, keeps, and leaves alone; the machine really timed; stages run on it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warm_process import nursery

from meltpoint.cli import run
from meltpoint.errors import UserError
from meltpoint.forecast.speeds import PLACE, read_speeds
from meltpoint.params.read import read_params
from meltpoint.terminal import plain

ROOT = Path(__file__).parents[2]
Draw = Callable[..., Path]
Fill = Callable[[Path, dict[str, int]], Path]
Init = Callable[..., Any]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "presets" not in path.parts
    }


def test_a_dry_run_writes_nothing(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "pets", {"cat": 4, "dog": 4})
    (place / "params.yaml").write_text("mine")
    before = everything(place)
    assert "nothing is written" in init("pets", "--dry-run").out
    assert everything(place) == before


def test_what_was_there_is_never_lost(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "pets", {"cat": 4, "dog": 4})
    for text in ("first", "second"):
        (place / "params.yaml").write_text(text)
        init("pets")
    assert (place / "params.yaml.bak").read_text() == "first"
    assert (place / "params.yaml.bak2").read_text() == "second"
    assert read_params(place / "params.yaml").main_head == "pets"


def test_it_can_be_written_elsewhere(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "pets", {"cat": 4, "dog": 4})
    init("pets", "--output", "variants/pets.yaml")
    assert read_params(place / "variants" / "pets.yaml").main_head == "pets"
    assert not (place / "params.yaml").exists()


HOSTILE = [
    "a\x1b[31mred", "a\nb: c", "a\rb", "a\tb", "a\x85b", "a\x9bred", "a\x7f", "a\u2028b", "a\u202eb", "\ufeffa",
    "a\uffffb", "a # b", "&a", "*a", "- a", "%a", "\"'a", "null",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("what", ["folder", "class", "file"])
def test_hostile_names_act_neither_on_the_terminal_nor_in_params(
    place: Path, draw: Draw, init: Init, what: str, name: str
) -> None:
    root = place / (name if what == "folder" else "pets")
    for kind in (name if what == "class" else "cat", "dog"):
        for number in range(11):
            draw(root / kind / f"{number}.png")
    if what == "file":
        (root / "cat" / f"{name}.png").write_text("no picture")
    ran = init(root.name)
    for text in (ran.out, ran.path.read_text(encoding="utf-8")):
        assert not [one for one in text if one != "\n" and plain(one) != one]
    assert ran.params.data.source.path == root.name
    assert ran.params.data.max_bad == int(what == "file")


@pytest.mark.parametrize("minutes", ["0", "-5", "nan"])
def test_minutes_are_checked(place: Path, fill: Fill, init: Init, minutes: str) -> None:
    fill(place / "pets", {"cat": 4, "dog": 4})
    with pytest.raises(UserError, match="--minutes"):
        init("pets", f"--minutes={minutes}")


@pytest.mark.slow
def test_the_machine_is_timed_and_the_first_stages_run(
    place: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, count in (("training", 8), ("test", 4)):
        for name, size in (("cat", (160, 120)), ("dog", (120, 160))):
            for number in range(count):
                draw(place / "pets" / split / name / f"{number}.png", size)
    run(["init", "pets", "--minutes", "20"])
    out = capsys.readouterr().out
    assert "train@frozen" in out
    assert (place / PLACE).exists()
    (speed,) = read_speeds().encoders
    assert speed.encoder == "tf_efficientnet_lite0"
    assert 0 < speed.forward < speed.step
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("DVC_ROOT", None)
    for stage in ("download", "split"):
        script = ROOT / "stages" / f"{stage}.py"
        subprocess.run([str(nursery() / "python"), str(script)], cwd=place, env=environment, check=True, timeout=300)
    counts = {
        split: len((place / "data/splits" / f"{split}.csv").read_text().splitlines()) - 1
        for split in ("train", "val", "test")
    }
    assert counts["test"] == 8
    assert counts["train"] + counts["val"] == 16
    assert counts["val"] > 0
