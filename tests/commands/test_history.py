"""The ledger as a table, without MLflow."""

import json
import shutil
from pathlib import Path

import pytest

from meltpoint.cli import run
from meltpoint.registry.ledger import AliasChange, VersionFacts, append

ROOT = Path(__file__).parents[2]
OLD = {"when": "2026-11-21T11:55:22+00:00", "from": None, "to": "1", "version": "1", "model": "elpv-cells",
       "alias": "champion", "why": "every floor holds", "metric": "defective/accuracy", "value": 0.879389, "data": "d",
       "git": "g", "key": "k"}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose ledger has a line of the first version, one of this, and one of another model."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "presets" / "elpv.yaml", tmp_path / "params.yaml")
    (tmp_path / "promotions.jsonl").write_text(json.dumps(OLD) + "\n")
    rest = (VersionFacts("defective/accuracy", None, "d", "g", "k", "frozen", "t"), {}, "a")
    append(tmp_path, [
        AliasChange("elpv-cells", "previous", None, "1", "version 2 took its place", *rest),
        AliasChange("cells", "champion", None, "8", "of another model", *rest),
    ])  # fmt: skip
    return tmp_path


def test_it_is_a_table(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["history"])
    titles, first, second = capsys.readouterr().out.splitlines()
    assert titles.split("  ")[0] == "when (UTC)"
    assert first == "2026-11-21 11:55  -    champion  -     1   defective/accuracy 0.8794  every floor holds"
    assert second.endswith("previous  -     1   -                          version 2 took its place")
    assert titles.index("why") == first.index("every") == second.index("version 2")


def test_one_alias(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["history", "--alias", "champion"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    run(["history", "--alias", "candidate"])
    assert capsys.readouterr().out.startswith("No alias candidate of elpv-cells has moved yet: ")


def test_nothing_has_happened_yet(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "promotions.jsonl").unlink()
    (house / "dvc.lock").write_text("")
    run(["history"])
    assert capsys.readouterr().out.startswith("No alias of elpv-cells has moved yet: ")
