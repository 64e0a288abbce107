"""A UserError is a message; a bug keeps its traceback."""

import errno
import os
import signal
import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from meltpoint.errors import UserError, again, guarded, told_to_end


def test_trouble_becomes_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    def trouble() -> None:
        raise UserError("There is no params.yaml.")

    with pytest.raises(SystemExit) as caught:
        guarded(trouble)
    assert caught.value.code == 1
    assert "meltpoint: There is no params.yaml." in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def bug() -> None:
        raise KeyError("x")

    with pytest.raises(SystemExit, match="1"):
        guarded(bug)
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last)")
    assert told.endswith("KeyError: 'x'\n")


def raise_from(cause: Exception) -> None:
    raise RuntimeError("a library's own words") from cause


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EFBIG, "Make room"),
        (errno.EROFS, "Grant permission"),
        (errno.EACCES, "Grant"),
    ],
)
def test_a_disk_that_refuses_becomes_a_message(number: int, mend: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        guarded(lambda: raise_from(OSError(number, os.strerror(number), "models/frozen")))
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"\nmeltpoint: models/frozen cannot be read or written: {os.strerror(number)}.")
    assert mend in said


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full", "a.parquet")], ids=type)
@pytest.mark.parametrize(
    ("how", "told"), [(None, "; the same command continues from there."), ("it begins anew", "; it begins anew.")]
)
def test_who_is_stopped_is_told_how_it_goes_on(
    stop: BaseException, how: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with again(how) if how else nullcontext():
            raise type(stop)(*stop.args)

    with pytest.raises(SystemExit):
        guarded(work)
    assert told in capsys.readouterr().err


def test_sigterm_ends_as_ctrl_c_does_with_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with told_to_end():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:  # what is ended now is not disturbed
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        guarded(work)
    assert caught.value.code == 143
    assert capsys.readouterr().err.count("stopped.") == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_database_that_may_not_be_written_becomes_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        with closing(sqlite3.connect(f"file:{tmp_path}/a.db?mode=ro", uri=True)) as database:
            database.execute("create table a (b)")

    with pytest.raises(SystemExit):
        guarded(write)
    assert "MLflow's database cannot be read or written" in capsys.readouterr().err


@pytest.mark.parametrize("bug", [FileNotFoundError(errno.ENOENT, "gone"), OSError("no number"), sqlite3.DataError("x")])
def test_other_troubles_of_files_keep_their_traceback(bug: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        guarded(lambda: raise_from(bug))
    assert "RuntimeError: a library's own words" in capsys.readouterr().err
