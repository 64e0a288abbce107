"""One holder of the lease at a time, on a real store; a holder that died is followed, and one that wakes up is told."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from warm_process import nursery

from meltpoint.registry import lease as module
from meltpoint.registry import plan, promotion
from meltpoint.registry.lease import LeaseError, lease
from meltpoint.registry.ledger import VersionFacts, read_ledger
from meltpoint.registry.plan import PLAN_FILE, PromotionError
from meltpoint.registry.promotion import champion_moves, finish, promote, promotion_lock
from meltpoint.registry.store_history import unwritten_changes
from meltpoint.registry.versions import CANDIDATE, CHAMPION, KEY, PREVIOUS, aliases, ensure_registered
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.store import Store, open_store

HOLD = """
import os, signal, sys
from pathlib import Path
from meltpoint.registry.lease import lease
from meltpoint.tracking.store import open_store
with lease(open_store("shapes", Path(sys.argv[1]), sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that does not belong to the repository: other clones may use it."""
    (tmp_path / "clone").mkdir()
    return open_store("shapes", tmp_path / "clone", f"sqlite:///{tmp_path / 'team.db'}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder is dead after a moment."""
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "SILENCE", 0.5)


def test_one_at_a_time(store: Store, tmp_path: Path) -> None:
    """Each reads a number and writes the next one: none is lost."""
    path, count = tmp_path / "number", 12
    path.write_text("0")

    def raise_by_one(_: int) -> None:
        with lease(replace(store)) as held:
            number = int(path.read_text())
            held.check()
            path.write_text(str(number + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_by_one, range(count)))
    assert int(path.read_text()) == count
    assert store.client.search_experiments(filter_string="name LIKE 'shapes.promotion%'") == []


def test_the_lease_of_a_killed_process_ends(store: Store, quick: None) -> None:
    killed = subprocess.run([str(nursery() / "python"), "-c", HOLD, str(store.root), store.uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    with lease(store) as held:
        assert held.number == 2
        held.check()
    with lease(store) as held:
        assert held.number == 3


def test_who_was_silent_too_long_may_not_go_on(store: Store, quick: None) -> None:
    asleep = module._acquire(store)  # and no tag of it counts up
    with lease(store) as held:
        held.check()
        with pytest.raises(LeaseError, match="Another clone has taken over the promotion of shapes"):
            asleep.check()
    with pytest.raises(LeaseError):
        asleep.check()


def test_who_has_to_wait_is_told_who_holds_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    monkeypatch.setattr(module, "SILENCE", 2.0)
    module._acquire(store)
    with lease(store):
        assert "is registering shapes in the same store; waiting for it to end" in capsys.readouterr().out


@pytest.fixture
def two_versions(store: Store, tmp_path: Path) -> tuple[Store, Store]:
    """Two clones of a store whose champion is version 1 of two; the second clone is a folder of its own."""
    ensure_registered(store)
    for number in (1, 2):
        store.client.create_model_version(store.name, str(tmp_path), tags={KEY: f"k{number}"})
    store.client.set_registered_model_alias(store.name, CHAMPION, "1")
    (tmp_path / "other").mkdir()
    return store, replace(store, root=tmp_path / "other")


def promote_second(store: Store) -> None:
    with promotion_lock(store) as held:
        facts = VersionFacts("accuracy", 0.9, "d", "g", "k2")
        promote(held, {CHAMPION: "1"}, champion_moves(store, {CHAMPION: "1"}, "2", "it is better", facts))


@pytest.mark.parametrize("step", ["point", "record", "append", "forget"])
def test_what_a_dead_clone_began_is_finished_by_the_next(
    two_versions: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    dead, next_one = two_versions
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(plan, step, Mock(side_effect=StoreError("gone")))
        patch.setattr(promotion, "failures_as_ours", lambda *_: nullcontext())
        promote_second(dead)
    assert (dead.root / PLAN_FILE).exists()
    with promotion_lock(next_one):
        assert aliases(next_one) == {CHAMPION: "2", PREVIOUS: "1"}
        assert {one.alias for one in unwritten_changes(next_one)} == {CHAMPION, PREVIOUS}, "the store has the record"
    begun = step in ("point", "record")
    assert ("finished a promotion of shapes that" in capsys.readouterr().out) is begun
    assert read_ledger(next_one.root) == []
    message = finish(dead)
    assert message is not None
    assert message.startswith("finished a promotion of shapes that was interrupted")
    assert [line.alias for line in read_ledger(dead.root)] == [CHAMPION, PREVIOUS]
    assert not (dead.root / PLAN_FILE).exists()


def test_what_a_dead_clone_began_is_undone_where_somebody_moved_an_alias(
    two_versions: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead, next_one = two_versions
    with monkeypatch.context() as patch, pytest.raises(PromotionError):
        patch.setattr(plan, "point", Mock(side_effect=StoreError("gone")))
        promote_second(dead)
    dead.client.set_registered_model_alias(dead.name, CANDIDATE, "1")
    with promotion_lock(next_one):
        assert aliases(next_one) == {CHAMPION: "1", CANDIDATE: "1"}
    assert "undid a promotion of shapes that was interrupted: candidate was moved to 1" in capsys.readouterr().out
    assert finish(dead) == "another clone undid a promotion of shapes that was interrupted here"
    assert read_ledger(dead.root) == []
    assert not (dead.root / PLAN_FILE).exists()


def test_other_models_do_not_wait(store: Store) -> None:
    with lease(store), lease(replace(store, name="shapes2")) as other:
        assert other.number == 1


def test_a_store_that_fails_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(store.uri.removeprefix("sqlite:///")).write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError), lease(store):
        pass
