"""Clones with stores of their own gave one number to two models: git merges the ledgers, a command the histories."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.cli import run
from meltpoint.recovery.doctor import Report, doctor
from meltpoint.recovery.sync import sync
from meltpoint.registry.golden_answers import check_golden_answers
from meltpoint.registry.version_files import fetch
from meltpoint.registry.versions import aliases, is_whole, key_of, versions_of
from meltpoint.tracking.store import open_store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def win(clone: Any, seed: int) -> str:
    """Another training of `frozen` becomes the champion, and is committed; the fingerprint of its model."""
    clone.train("frozen", seed)
    clone.decide("frozen")
    assert clone.register().alias == "champion"
    clone.commit()
    clone.call("dvc", "push", "--quiet")
    return str(clone.ledger()[-1 if seed == 1 else -2]["key"])


@pytest.fixture
def merged(tracked: Any, cloned: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """The clone of Bea, the working directory, after she merged what Ada had registered; the keys of the models."""
    shutil.copy(ROOT / ".gitattributes", tracked.folder)
    tracked.call("git", "add", ".gitattributes")
    tracked.call("git", "config", "user.name", "Ada")
    keys = [win(tracked, 1)]
    bea = cloned()
    bea.call("git", "config", "user.name", "Bea")
    bea.call("git", "config", "user.email", "b@b")
    sync(bea.folder)
    monkeypatch.chdir(tracked.folder)
    keys.append(win(tracked, 3))
    monkeypatch.chdir(bea.folder)
    keys.append(win(bea, 4))
    bea.call("git", "pull", "-q", "--no-rebase", "--no-edit", "-X", "ours", "origin")
    bea.call("dvc", "fetch", "--quiet", "--all-commits")
    return bea, keys


def test_two_histories_are_told_apart_and_joined(
    merged: tuple[Any, list[str]], tracked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bea, keys = merged
    before = (bea.folder / "promotions.jsonl").read_text()
    (finding,) = doctor("shapes", bea.folder, repair=True).left
    assert "two histories: version 2 of shapes is two models, that of Ada of 20" in finding.what
    assert "and that of Bea of 20" in finding.what
    assert finding.remedy == "meltpoint adopt, then meltpoint doctor --repair"
    assert any("To join them: meltpoint adopt" in problem for problem in sync(bea.folder)[1])
    assert (bea.folder / "promotions.jsonl").read_text() == before
    assert key_of(versions_of(open_store("shapes"))[2]) == keys[2]

    capsys.readouterr()
    run(["adopt"])
    assert "number: version 2 to version 3, Bea: version 2 of Bea of 20" in capsys.readouterr().out
    assert (bea.folder / "promotions.jsonl").read_text().startswith(before)
    run(["adopt"])
    assert "has all that the store knows" in capsys.readouterr().out
    run(["history"])
    told = capsys.readouterr().out.splitlines()
    assert any(" Ada " in line and " champion  1     2 " in line for line in told)
    assert any(" Bea " in line and f" champion  1     2 ({keys[2][:7]})" in line for line in told)

    bea.call("git", "commit", "-qam", "joined")
    assert len(doctor("shapes", bea.folder, repair=True).repaired) == 1
    tracked.call("git", "-c", "user.email=a@a", "pull", "-q", "--no-rebase", str(bea.folder))
    tracked.call("dvc", "fetch", "--quiet", "--all-commits")
    for clone in (bea, tracked):
        monkeypatch.chdir(clone.folder)
        sync(clone.folder)
        store = open_store("shapes")
        versions = versions_of(store)
        assert [key_of(versions[number]) for number in sorted(versions)] == keys
        assert all(is_whole(store, version) for version in versions.values())
        assert aliases(store) == {"champion": "3", "previous": "1"}
        assert doctor("shapes", clone.folder, repair=False) == Report([], [])
    run(["rollback", "--to", "2"])
    check_golden_answers(fetch("models:/shapes@champion"))
    assert clone.ledger()[-2]["value"] == next(line["value"] for line in clone.ledger() if line["key"] == keys[1])
