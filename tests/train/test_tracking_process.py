import sys
import time
from pathlib import Path

import pytest

from meltpoint.train import tracking_process
from meltpoint.train.tracking_process import follow

GOOD = "import sys, pathlib; folder = pathlib.Path(sys.argv[1]); (folder / 'told').write_text(sys.stdin.read())"


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that stands for the follower; write its source."""
    monkeypatch.delenv("MELTPOINT_TRACKING")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(tracking_process, "FOLLOWER", "double")
    path = tmp_path / "double.py"
    path.write_text(GOOD)
    return path


def test_a_follower_hears_that_training_is_done(
    tmp_path: Path, follower: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with follow(tmp_path):
        assert not (tmp_path / "told").exists()
    assert (tmp_path / "told").read_text() == "done\n"
    assert capsys.readouterr().out == ""


def test_a_follower_hears_nothing_when_training_dies(tmp_path: Path, follower: Path) -> None:
    with pytest.raises(ZeroDivisionError), follow(tmp_path):
        raise ZeroDivisionError
    assert (tmp_path / "told").read_text() == ""


@pytest.mark.parametrize("source", ["raise SystemExit('no server')", "import sys; sys.exit(3)", "pass"])
def test_a_dead_follower_is_a_warning(
    tmp_path: Path, follower: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    follower.write_text(source)
    with follow(tmp_path):
        pass
    told = capsys.readouterr().out
    assert told.count("warning: no live curves in MLflow") == (source != "pass")
    assert ("no server" in told) == ("no server" in source)


def test_a_complaint_is_passed_on_once_and_at_once(
    tmp_path: Path, follower: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follower.write_text(
        "import sys, time\nprint('slow server', file=sys.stderr, flush=True)\n"
        "sys.stdin.read(); print('slow still', file=sys.stderr); sys.exit(1)"
    )
    with follow(tmp_path):
        deadline = time.monotonic() + 60
        told = ""
        while not told and time.monotonic() < deadline:
            time.sleep(0.05)
            told = capsys.readouterr().out
    assert told == ("warning: no live curves in MLflow (slow server). The training goes on, and its curves are kept.\n")
    assert capsys.readouterr().out == ""


def test_a_follower_that_does_not_end_is_left(
    tmp_path: Path, follower: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follower.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(tracking_process, "PATIENCE", 0.2)
    with follow(tmp_path):
        pass
    assert "were not in MLflow after 0 s" in capsys.readouterr().out


def test_it_can_be_switched_off(tmp_path: Path, follower: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELTPOINT_TRACKING", "off")
    with follow(tmp_path):
        pass
    assert not (tmp_path / "told").exists()


def test_a_follower_that_cannot_start(
    tmp_path: Path, follower: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with follow(tmp_path):
        pass
    assert "warning: no live curves in MLflow" in capsys.readouterr().out
