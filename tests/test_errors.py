"""A UserError is a message; a bug keeps its traceback."""

import pytest

from meltpoint.errors import UserError, guarded


def test_trouble_becomes_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    def trouble() -> None:
        raise UserError("There is no params.yaml.")

    with pytest.raises(SystemExit) as caught:
        guarded(trouble)
    assert caught.value.code == 1
    assert "meltpoint: There is no params.yaml." in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    def bug() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        guarded(bug)
