"""`meltpoint predict` from end to end, as a person types it."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from meltpoint.cli import run
from meltpoint.predict.video import write_video

if TYPE_CHECKING:
    from saved_models import Kit


def test_answers_go_to_the_output_and_the_rest_elsewhere(
    tree_folder: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(album), "--model", str(tree_folder), "--language", "zh", "--top", "3"]
    run([*words, "--json", "--draw", str(tmp_path / "out")])
    told = capsys.readouterr()
    answers = [json.loads(line) for line in told.out.splitlines()]
    assert [answer["error"] is None for answer in answers] == [True, True, False, True, True]
    assert "4 pictures answered, 1 cannot be used" in told.err.splitlines()[-1]
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 4
    run([*words, "--csv"])
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_only_bad_pictures_are_a_failure(tree_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(b"text")
    with pytest.raises(SystemExit, match="1"):
        run(["predict", str(tmp_path / "a.jpg"), "--model", str(tree_folder)])
    told = capsys.readouterr()
    assert "cannot be used: not an image" in told.out
    assert told.err.splitlines()[-1] == "0 pictures answered, 1 cannot be used (1 not an image)"


def test_pictures_of_a_scene_become_masks_and_a_video_is_drawn(
    scene_folder: Path, tmp_path: Path, kit: "Kit", capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(kit.png(kit.noise(0, 70, 90)))
    with write_video(tmp_path / "clip.mp4", 48, 64, Fraction(10)) as write:
        write(kit.noise(1, 48, 64), 0.0)
    words = ["--model", str(scene_folder), "--draw", str(tmp_path / "out"), "--json"]
    run(["predict", str(tmp_path / "in"), *words, "--masks", str(tmp_path / "ids"), "--window"])
    with Image.open(tmp_path / "ids" / "1.png.png") as ids:
        assert ids.size == (90, 70)
    run(["predict", str(tmp_path / "clip.mp4"), *words])
    told = capsys.readouterr()
    assert [list(json.loads(line)["heads"]) for line in told.out.splitlines()] == [["scene"], ["scene"]]
    assert "1 frame answered, drawn in" in told.err.splitlines()[-1]
    assert (tmp_path / "out" / "clip.mp4.mp4").exists()


@pytest.mark.slow
def test_names_of_any_script_and_bytes_pass_through_a_pipe(tree_folder: Path, album: Path) -> None:
    (album / "2.PNG").rename(album / os.fsdecode(b"\xff.png"))
    command = [
        sys.executable,
        "-c",
        "from meltpoint.cli import main; main()",
        "predict",
        str(album),
        "--language",
        "zh",
    ]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    asked = subprocess.run(
        [*command, "--model", str(tree_folder), "--json"], env=environment, capture_output=True, check=True
    )
    answers = [json.loads(line) for line in asked.stdout.decode("utf-8").splitlines()]
    assert len(answers) == 5
    assert {answer["heads"]["overall"]["name"] for answer in answers if not answer["error"]} <= {"躺臥", "站立"}
    pipe = subprocess.Popen(
        [*command, "--model", str(tree_folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert pipe.stdout is not None
    pipe.stdout.close()  # as `head` does
    assert b"Traceback" not in pipe.communicate()[1]
    assert pipe.returncode == 0
