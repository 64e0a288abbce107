"""A clone of the template, in which nothing was run, is told so kindly by every command that looks back."""

import shutil
import subprocess
from pathlib import Path

import pytest

from meltpoint.cli import run
from meltpoint.errors import CommandError, UserError
from meltpoint.registry.ledger import BEGIN, TRACES, is_fresh

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What git tracks of dvc.yaml and the like, committed, and nothing that a run writes."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], check=True)
    return tmp_path


def test_a_user_commits_his_own(clone: Path) -> None:
    shutil.copy(ROOT / ".gitignore", clone / ".gitignore")
    for name in ("dvc.lock", "promotions.jsonl"):
        (clone / name).write_text("")
        assert subprocess.run(["git", "check-ignore", "-q", name], check=False).returncode == 1


@pytest.mark.parametrize("command", ["history", "doctor"])
def test_there_is_nothing_to_tell(clone: Path, capfd: pytest.CaptureFixture[str], command: str) -> None:
    run([command])
    assert capfd.readouterr() == (f"{BEGIN}\n", "")


@pytest.mark.parametrize("command", ["history", "status", "doctor"])
def test_where_a_first_stage_has_run_the_next_step_is_told(
    clone: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """`dvc repro download`, say: there is a dvc.lock, and neither decision, ledger nor store."""
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    try:
        run([command])
    except (UserError, SystemExit) as error:
        told = capfd.readouterr().out + str(error)
    else:
        told = capfd.readouterr().out
    assert "make repro" in told
    assert "meltpoint sync" not in told, "there is nothing that it could show"


@pytest.mark.parametrize("command", ["sync", "plan"])
def test_a_folder_that_git_does_not_know_is_told(clone: Path, command: str) -> None:
    shutil.rmtree(clone / ".git")
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(UserError, match="is not a git repository. Make it one: git init"):
        run([command])


@pytest.mark.parametrize("command", ["status", "sync"])
def test_there_is_nothing_to_show(clone: Path, capfd: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(UserError) as caught:
        run([command])
    assert str(caught.value).endswith(BEGIN)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_behind(clone: Path) -> None:
    run(["doctor"])
    run(["history"])
    assert is_fresh(clone)
    assert {path.name for path in clone.iterdir()} == {"dvc.yaml", "params.yaml", ".dvc", ".git"}


@pytest.mark.parametrize("trace", TRACES)
def test_a_run_leaves_traces(clone: Path, trace: str) -> None:
    (clone / trace).parent.mkdir(exist_ok=True)
    (clone / trace).write_text("")
    assert not is_fresh(clone)


def test_a_lost_store_is_no_fresh_clone(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clone / "dvc.lock").write_text("")
    with pytest.raises(SystemExit):
        run(["doctor"])
    assert "to repair it: make repro" in capsys.readouterr().out, "sync would find nothing to show"
    with pytest.raises(CommandError, match=r"no reports/compare\.json yet"):
        run(["status"])


def test_the_environment_is_looked_at(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "some")
    with pytest.raises(SystemExit):
        run(["doctor"])
