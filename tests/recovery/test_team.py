"""Clones that share a store: one whose ledger is behind moves no alias, says who moved it, and can catch up."""

from collections.abc import Callable
from typing import Any

import pytest

from meltpoint.cli import run
from meltpoint.recovery.doctor import doctor
from meltpoint.recovery.sync import sync
from meltpoint.registry.versions import aliases
from meltpoint.tracking.store import open_store

pytestmark = pytest.mark.slow
NOW = {"champion": "2", "previous": "1"}


@pytest.fixture
def behind(tracked: Any, shared: None, cloned: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clone whose ledger ends at version 1, while Ada made version 2 the champion on the same store."""
    tracked.call("git", "config", "user.name", "Ada")
    tracked.register()
    tracked.commit()
    other = cloned()
    monkeypatch.chdir(tracked.folder)
    tracked.train("frozen", 3)
    tracked.decide("frozen")
    assert tracked.register().alias == "champion"
    monkeypatch.chdir(other.folder)
    return other


def test_neither_sync_nor_doctor_demotes_the_champion_of_the_team(behind: Any) -> None:
    ledger = behind.ledger()
    _, problems = sync(behind.folder)
    assert aliases(open_store("shapes")) == NOW
    assert "champion of shapes is version 2 in MLflow and version 1 in promotions.jsonl: Ada moved it at" in problems[0]
    assert "meltpoint adopt" in problems[0]
    left = doctor("shapes", behind.folder, repair=True).left
    assert [finding.what.split(" is ")[0] for finding in left] == ["champion of shapes", "previous of shapes"]
    assert aliases(open_store("shapes")) == NOW
    assert behind.ledger() == ledger


def test_the_ledger_catches_up_by_a_command(behind: Any, tracked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(["adopt"])
    assert "champion: version 1 to version 2, Ada: " in capsys.readouterr().out
    assert behind.ledger() == tracked.ledger()
    assert doctor("shapes", behind.folder, repair=False).left == []
    assert sync(behind.folder)[1] == []
    run(["adopt"])
    assert "promotions.jsonl has all that the store knows" in capsys.readouterr().out


def test_an_alias_moved_by_hand_is_reported_and_can_be_taken_over(behind: Any) -> None:
    run(["adopt"])
    store = open_store("shapes")
    store.client.set_registered_model_alias("shapes", "champion", "1")
    _, (problem,) = sync(behind.folder)
    assert "and the store does not say who moved it" in problem
    assert aliases(store)["champion"] == "1"
    run(["adopt"])
    line = behind.ledger()[-1]
    assert (line["alias"], line["from"], line["to"]) == ("champion", "2", "1")
    assert "does not say who moved it" in line["why"]
    assert line["key"] == behind.ledger()[0]["key"]
    assert doctor("shapes", behind.folder, repair=False).left == []


def test_a_store_that_was_lost_gets_every_alias(behind: Any, tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run(["adopt"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{behind.folder.parent}/fresh.db")
    sync(behind.folder)
    store = open_store("shapes")
    assert aliases(store) == NOW
    store.client.delete_registered_model_alias("shapes", "champion")
    assert "it is restored: version 2" in sync(behind.folder)[1][-1]
    assert aliases(store) == NOW, "no clone moved it"
