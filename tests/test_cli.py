"""The command line teaches, tells the decision, and puts presets in place."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meltpoint import api, cli
from meltpoint.cli import COMMANDS, run
from meltpoint.data import download_links
from meltpoint.errors import CommandError
from meltpoint.predict import batch
from meltpoint.registry.ledger import AliasChange, VersionFacts, append
from meltpoint.registry.version_files import VersionError
from meltpoint.tasks import opening
from meltpoint.tracking import store as registry_store

ROOT = Path(__file__).parents[1]


def row(name: str, score: float) -> dict[str, Any]:
    metrics = {split: {"defective": {"accuracy": score}} for split in ("val", "test")}
    return {"name": name, "metrics": metrics, "intervals": {}, "cost": {"train_seconds": 61.0, "latency_p50_ms": 11.0}}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with presets and a decision, as the working directory."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "presets" / "elpv.yaml", tmp_path / "params.yaml")
    (tmp_path / "reports").mkdir()
    decision = {"winner": "frozen", "verdict": "ship", "sentence": "Ship frozen: it is as good.",
                "main_head": "defective", "metric": "accuracy",
                "strategies": [row("frozen", 0.843), row("finetune", None)]}  # type: ignore[arg-type]  # fmt: skip
    (tmp_path / "reports" / "compare.json").write_text(json.dumps(decision))
    return tmp_path


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_teaches(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(words)
    told = capsys.readouterr().out
    assert len(told.split()) > 25
    assert max(len(line) for line in told.splitlines()) <= 120


def test_status_is_the_decision_and_where_everything_is(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = VersionFacts("m", 0.8, "d", "g", "k", "frozen", "t")
    append(house, [AliasChange("elpv-cells", "champion", None, "3", "every floor holds", facts, {}, "a")])
    run(["status"])
    told = capsys.readouterr().out
    assert "Ship frozen: it is as good." in told
    assert "84.3%" in told
    assert "elpv-cells version 3, since 20" in told
    assert "reports/compare.html" in told
    assert "make ui" in told


def test_status_without_a_champion(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["status"])
    assert "elpv-cells none yet" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "history"])
def test_what_was_decided_is_read_without_what_is_slow_to_import(house: Path, command: str) -> None:
    code = f"import sys; from meltpoint.cli import run; run(['{command}']);"
    code += "print({'mlflow', 'torch', 'pandas', 'scipy.stats', 'scipy.optimize'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip().endswith("set()")


def test_status_before_a_decision_is_told(house: Path) -> None:
    (house / "reports" / "compare.json").unlink()
    with pytest.raises(CommandError, match="make repro"):
        run(["status"])


def test_the_pages_are_for_this_machine_alone(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    store = SimpleNamespace(uri=f"sqlite:///{house}/mlruns/mlflow.db", experiment="1")
    monkeypatch.setattr(registry_store, "open_store", lambda name, root, moved: store)
    monkeypatch.setattr(registry_store, "kept_elsewhere", lambda store: None)
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    run(["ui", "--port", "5123"])
    words = " ".join(started[0])
    assert "--host 127.0.0.1 --port 5123" in words
    assert f"--backend-store-uri {store.uri}" in words


def test_a_server_has_pages_of_its_own(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SimpleNamespace(uri="http://127.0.0.1:1", experiment="1")
    monkeypatch.setattr(registry_store, "open_store", lambda name, root, moved: store)
    monkeypatch.setattr(registry_store, "kept_elsewhere", lambda store: None)
    run(["ui"])
    assert "http://127.0.0.1:1" in capsys.readouterr().out


def test_trouble_is_a_message_and_exit_code_1(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["meltpoint", "preset", "elvp"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "There is no preset 'elvp'. Did you mean 'elpv'?" in capsys.readouterr().err


def test_a_preset_replaces_a_preset(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["preset", "elpv"])
    assert "elpv-cells, frozen, finetune." in capsys.readouterr().out
    assert not (house / "params.yaml.bak").exists()
    assert (house / "params.yaml").read_bytes() == (house / "presets" / "elpv.yaml").read_bytes()


def test_params_of_ones_own_are_kept(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "params.yaml").write_text("seed: 1\n")
    run(["preset", "elpv"])
    assert "params.yaml.bak" in capsys.readouterr().out
    assert (house / "params.yaml.bak").read_text() == "seed: 1\n"


class Asked(Exception):  # noqa: N818 - ends a command where it would open a model
    """Which model was asked for."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(where: str) -> None:
        raise Asked(where)

    monkeypatch.setattr(api, "find", find)


def test_the_champion_answers_unless_another_model_is_named(house: Path, opened: None) -> None:
    with pytest.raises(Asked, match="^models:/elpv-cells@champion$"):
        run(["predict", "a.jpg"])
    with pytest.raises(Asked, match="^models/frozen$"):
        run(["predict", "a.jpg", "--model", "models/frozen"])


def test_without_params_a_model_has_to_be_named(house: Path, opened: None) -> None:
    (house / "params.yaml").unlink()
    with pytest.raises(CommandError, match="Name one, such as models:/NAME@champion"):
        run(["predict", "a.jpg"])


def test_without_a_champion_the_way_is_told(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(where: str) -> None:
        raise VersionError(f"{where} cannot be loaded.")

    monkeypatch.setattr(api, "find", find)
    with pytest.raises(CommandError, match="cannot be opened. models:/elpv-cells@champion cannot be loaded"):
        run(["predict", "a.jpg"])


@pytest.mark.parametrize(
    ("words", "form", "draw", "masks", "window"),
    [
        ([], "lines", None, None, False),
        (["--json", "--masks", "ids", "--window"], "json", None, Path("ids"), True),
        (["--csv", "--draw", "out"], "csv", Path("out"), None, False),
    ],
)
def test_words_become_a_batch(
    house: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    form: str,
    draw: Path | None,
    masks: Path | None,
    window: bool,
) -> None:
    asked: list[batch.Batch] = []
    tally = batch.Summary(1, 0, Counter(), Counter(), None, 0)
    loaded = SimpleNamespace(card=SimpleNamespace(task="classification"))
    monkeypatch.setattr(api, "find", Path)
    monkeypatch.setattr(opening, "open_any", lambda folder: loaded)
    monkeypatch.setattr(batch, "run_batch", lambda answerer, display, own, out: asked.append(own) or tally)
    run(["predict", "a", "b", "--language", "zh", "--top", "3", *words])
    assert asked == [batch.Batch(["a", "b"], 3, "zh", form, draw, None, masks, window)]  # type: ignore[arg-type]


def test_one_form_at_a_time(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["predict", "a", "--json", "--csv"])


def test_links_are_fetched_as_asked_for(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def fetch(*words: object) -> str:
        asked.append(words)
        return "2 of 3 images fetched"

    monkeypatch.setattr(download_links, "download_links", fetch)
    run(["fetch-urls", "links", "--into", "photos", "--retries", "0", "--max-megabytes", "1.5"])
    assert asked == [(Path("links"), Path("photos"), 8, 20, 0, 1.5)]
    assert capsys.readouterr().out == "2 of 3 images fetched\n"
