"""The command gives its words to `registry.rollback`, and tells what came of it."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from meltpoint.cli import run
from meltpoint.recovery import rollback as room
from meltpoint.tracking import store as stores

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "given"),
    [([], (None, None)), (["--to", "3"], ("3", None)), (["--why", "blind at night"], (None, "blind at night"))],
)
def test_words_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], given: tuple[str | None, str | None],
) -> None:  # fmt: skip
    shutil.copy(ROOT / "presets" / "elpv.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores, "open_store", lambda name, root, moved: SimpleNamespace(name=name))
    monkeypatch.setattr(room, "rollback", lambda store, to, why: f"{store.name} {(to, why)}")
    run(["rollback", *words])
    assert capsys.readouterr().out == f"elpv-cells {given}\n"
