"""Aliases and ledger move together, wherever an act is interrupted; the store is a double of four calls."""

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from meltpoint.registry import plan, promotion
from meltpoint.registry.lease import Lease
from meltpoint.registry.ledger import LEDGER, VersionFacts, read_ledger
from meltpoint.registry.plan import PLAN_FILE, PromotionError, unfinished
from meltpoint.registry.promotion import Move, champion_moves, finish, promote, promotion_lock
from meltpoint.registry.store_history import unwritten_changes
from meltpoint.registry.versions import KEY
from meltpoint.tracking.store import Store

FACTS = VersionFacts("m", 0.9, "d", "g", "k2", "frozen", "t")
BEFORE = {"champion": "1", "candidate": "2"}
AFTER = {"champion": "2", "previous": "1"}
STEPS = 6  # of the act: the intention, three aliases, the ledger, the intention again


class Crash(BaseException):
    """The process dies."""


class Client:
    """Aliases and versions 1 and 2 of one registered model."""

    def __init__(self) -> None:
        self.at, self.keys = dict(BEFORE), {"1": "k1", "2": "k2"}
        self.tags: dict[str, dict[str, str]] = {"1": {}, "2": {}}

    def search_registered_models(self, words: str) -> list[Any]:
        return [SimpleNamespace(aliases=dict(self.at))]

    def search_model_versions(self, words: str) -> list[Any]:
        return [SimpleNamespace(version=one, tags={KEY: key, **self.tags[one]}) for one, key in self.keys.items()]

    def get_model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(tags={KEY: self.keys[version]})

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.at[alias] = version

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[version][key] = value

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        del self.at[alias]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    client: Any = Client()
    return Store(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}", tmp_path, client, "shapes", "1")


def act(store: Store) -> None:
    """Version 2 takes the place of version 1."""
    with promotion_lock(store) as held:
        promote(held, BEFORE, champion_moves(store, BEFORE, "2", "it is good", FACTS))


def at(store: Store) -> dict[str, str]:
    found: dict[str, str] = store.client.at  # type: ignore[attr-defined]
    return found


def cut(store: Store, monkeypatch: pytest.MonkeyPatch, place: int, after: bool, error: BaseException) -> None:
    """Let the act end with `error` before or after its step number `place`."""
    done = 0

    def wrap(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def step(*words: Any, **named: Any) -> None:
            nonlocal done
            done += 1
            if done - 1 == place and not after:
                raise error
            real(*words, **named)
            if done - 1 == place:
                raise error

        monkeypatch.setattr(owner, name, step)

    for owner, name in [(plan, "write_json"), (plan, "append"), (plan, "forget"),
                        (store.client, "set_registered_model_alias"),
                        (store.client, "delete_registered_model_alias")]:  # fmt: skip
        wrap(owner, name)


def test_an_act_moves_aliases_and_writes_them_down(store: Store) -> None:
    act(store)
    lines = read_ledger(store.root)
    assert at(store) == AFTER
    assert [(line.alias, line.before, line.after, line.facts.key) for line in lines] == [
        ("champion", "1", "2", "k2"), ("previous", None, "1", "k1"), ("candidate", "2", None, "k2"),
    ]  # fmt: skip
    assert [line.aliases for line in lines] == [
        {"champion": "2", "candidate": "2"}, {"champion": "2", "candidate": "2", "previous": "1"}, AFTER,
    ]  # fmt: skip
    assert len({line.act for line in lines}) == 1
    assert not (store.root / PLAN_FILE).exists()
    assert finish(store) is None
    (store.root / LEDGER).unlink()
    assert unwritten_changes(store) == lines, "the store has its own record"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", range(STEPS))
def test_a_crash_at_any_step_is_finished_or_left_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: int, after: bool
) -> None:
    with monkeypatch.context() as patch:
        cut(store, patch, place, after, Crash())
        with pytest.raises(Crash):
            act(store)
    begun = (store.root / PLAN_FILE).exists()
    told = finish(store)
    assert (told is not None) is begun
    nothing = place == 0 and not after
    assert at(store) == (BEFORE if nothing else AFTER)
    assert len(read_ledger(store.root)) == (0 if nothing else 3)
    assert finish(store) is None
    assert not (store.root / PLAN_FILE).exists()


@pytest.mark.parametrize("place", range(STEPS))
def test_a_full_disk_is_told_and_what_was_begun_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    with monkeypatch.context() as patch:
        cut(store, patch, place, after=False, error=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(PromotionError, match=r"could not be written down: .*No space left on device.* needed\."):
            act(store)
    with promotion_lock(store):
        assert at(store) == (AFTER if place else BEFORE)
    assert ("finished a promotion of shapes" in capsys.readouterr().out) is (place > 0)


def interrupted(store: Store, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    with monkeypatch.context() as patch, pytest.raises(Crash):
        cut(store, patch, place, after=False, error=Crash())
        act(store)


def test_an_unfinished_act_can_be_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unfinished(store.root) is None
    interrupted(store, monkeypatch, 2)
    assert unfinished(store.root) == "shapes: champion 2, previous 1 instead of candidate 2, champion 1"


def test_it_is_undone_when_the_version_is_another_by_now(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(store, monkeypatch, 4)
    assert at(store) == AFTER
    store.client.keys["2"] = "of a store that was made anew"  # type: ignore[attr-defined]
    told = finish(store)
    assert told == "undid a promotion of shapes that was interrupted: version 2 is another model now"
    assert at(store) == {"champion": "1"}, "no alias for a version that is another one"
    assert read_ledger(store.root) == []


def test_what_is_written_down_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(store, monkeypatch, 5)
    at(store)["champion"] = "1"
    assert finish(store) is not None
    assert at(store)["champion"] == "1", "somebody moved it after the act"
    assert len(read_ledger(store.root)) == 3


def test_a_damaged_intention_is_told(store: Store) -> None:
    (store.root / PLAN_FILE.parent).mkdir()
    (store.root / PLAN_FILE).write_text("{")
    with pytest.raises(PromotionError, match=r"promotion\.json is damaged: .* Delete it"):
        unfinished(store.root)


def test_it_is_undone_when_somebody_moved_the_alias_since(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(store, monkeypatch, 3)
    at(store)["champion"] = "7"
    told = finish(store)
    assert told is not None
    assert "champion was moved to 7 since" in told
    assert at(store)["champion"] == "7", "the later word counts"


def test_an_act_of_another_model_is_finished_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(store, monkeypatch, 2)
    told = finish(replace(store, name="cells"))
    assert told is not None
    assert "of shapes" in told
    assert {change.model for change in read_ledger(store.root)} == {"shapes"}


def test_a_moved_repository_is_the_same_store(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupted(store, monkeypatch, 2)
    other = tmp_path / "moved"
    (store.root / ".checkpoints").rename(other.with_name("kept"))
    (other / "mlruns").mkdir(parents=True)
    other.with_name("kept").rename(other / ".checkpoints")
    moved = replace(store, root=other, uri=f"sqlite:///{other / 'mlruns' / 'mlflow.db'}")
    assert finish(moved) is not None
    assert len(read_ledger(other)) == 3


def test_another_store_is_told_without_its_password(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "lease", lambda store: nullcontext(Lease(store)))  # nothing answers at this address
    served = replace(store, uri="https://me:secret@mlflow.example")
    interrupted(served, monkeypatch, 2)
    assert "secret" not in (store.root / PLAN_FILE).read_text()
    with pytest.raises(PromotionError, match=r"in the store https://mlflow\.example, and this is mlruns.*or give it"):
        finish(store)


def test_a_decision_against_another_champion_is_refused(store: Store) -> None:
    at(store)["champion"] = "3"
    with pytest.raises(PromotionError, match=r"were candidate 2, champion 1 and are candidate 2, champion 3"):
        act(store)
    assert read_ledger(store.root) == []


def test_who_has_to_wait_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    said: Queue[str] = Queue()
    monkeypatch.setattr(promotion, "PATIENCE", 0.01)
    monkeypatch.setattr(promotion, "say", said.put)
    with ThreadPoolExecutor(1) as pool:
        with promotion_lock(store):
            second = pool.submit(act, store)
            assert "waiting for it to end" in said.get(timeout=60)
            assert not second.done()
            assert at(store) == BEFORE
        second.result()
    assert at(store) == AFTER


def test_a_move_to_where_an_alias_is_already_is_none(store: Store) -> None:
    with promotion_lock(store) as held:
        promote(held, BEFORE, [Move("candidate", "2", "again", FACTS)])
    assert read_ledger(store.root) == []
