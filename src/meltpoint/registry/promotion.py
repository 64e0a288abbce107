"""Aliases and the ledger move together: what is meant is written down first, and finished or undone after a crash.

A `Move` says where an alias goes; `promote` writes all moves of an act to `INTENTION`, then moves the aliases, then
adds the lines of the ledger, then removes `INTENTION`. Whoever comes next finds it there if that was cut short.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json
from meltpoint.progress import say
from meltpoint.registry.ledger import LEDGER, Change, append, holder, line_of, read
from meltpoint.registry.versions import CANDIDATE, CHAMPION, KEY, PREVIOUS, aliases, identity
from meltpoint.tracking.store import Store, database_uri

INTENTION = Path(".checkpoints/promotion.json")
PATIENCE = 2.0  # seconds to wait for another act in silence
LOCAL = "mlruns"  # how an intention names the store of the repository, wherever that is moved


class PromotionError(UserError, RuntimeError):
    """Aliases cannot move: somebody else moved them meanwhile, or a step failed."""


@dataclass(frozen=True)
class Move:
    """An alias goes to `version`, or nowhere. `note` are the fields of a `Change` that say what that model is."""

    alias: str
    version: str | None
    why: str
    note: Mapping[str, Any]


@contextmanager
def one_act(store: Store) -> Iterator[None]:
    """Keep every other register and rollback of this repository waiting; what a crash left is brought to an end first.

    Raises:
        PromotionError: what a crash left belongs to another store.
    """
    with _alone(store):
        if told := _end(store, store.root):
            say(told)
        yield


def promote(store: Store, seen: Mapping[str, str], moves: Iterable[Move]) -> None:
    """Move aliases, all or none of them, and write that down; inside of `one_act`. Moves that change nothing are none.

    `seen` are the aliases by which the moves were decided.

    Raises:
        PromotionError: the aliases are others by now, or a step failed; nothing has moved, or the next act goes on.
    """
    plan = _plan(store, seen, moves)
    if not plan["lines"]:
        return
    now = aliases(store)
    if now != dict(seen):
        raise PromotionError(
            f"The aliases of {store.name} moved while this was decided: they were {_told(seen)} and are {_told(now)}. "
            "A decision holds for the champion it was compared with. Nothing was changed; run it again: "
            "dvc repro --force --single-item register"
        )
    with _told_failures(store, "Nothing has moved. Run the same again"):
        write_json(store.root / INTENTION, plan)
    with _told_failures(store, "It was begun; the next `dvc repro` or `meltpoint doctor --repair` brings it to an end"):
        _carry_out(store, store.root, plan)


def take_place(
    store: Store, seen: Mapping[str, str], version: str, why: str, note: Mapping[str, Any]
) -> Iterator[Move]:
    """The moves that make `version` the champion: the one before becomes `previous`, and it is no candidate then."""
    yield Move(CHAMPION, version, why, note)
    if before := seen.get(CHAMPION):  # it was not scored today under this name
        old = {**note, "value": None, **identity(store, before)}
        yield Move(PREVIOUS, before, f"version {version} took its place", old)
    if seen.get(CANDIDATE) == version:
        yield Move(CANDIDATE, None, "it is the champion now", note)


def put_back(store: Store) -> list[str]:
    """Let aliases that were deleted behind the ledger point to where it says; inside of `one_act`. What was found.

    A deleted alias is nobody's decision: which version it belongs to is known. One that was moved to another version
    stays there, as somebody may have written that down in another clone; it is told.
    """
    now, told = aliases(store), list[str]()
    for alias in (CHAMPION, PREVIOUS, CANDIDATE):
        line, found = holder(store.root, store.name, alias), now.get(alias)
        if line is None or found == line["to"]:
            continue
        where = f"version {line['to']}" if line["to"] else "nowhere"
        if found is not None:
            told.append(
                f"{alias} of {store.name} is version {found} in MLflow and {where} in {LEDGER}: it was moved by other "
                "hands. It stays there; to put it back: meltpoint doctor --repair"
            )
        elif _fits(store, line["to"], line["key"]):
            store.client.set_registered_model_alias(store.name, alias, line["to"])
            told.append(f"{alias} of {store.name} had been deleted in MLflow; it is put back: {where}, as in {LEDGER}")
        else:
            told.append(
                f"{alias} of {store.name} is {where} in {LEDGER}, and MLflow has no such version of that model. To "
                "write it again: meltpoint sync"
            )
    return told


def unfinished(root: Path) -> str | None:
    """What a promotion that was cut short meant to do, in words; None if there is none."""
    plan = _read(root)
    return None if plan is None else f"{plan['model']}: {_told(plan['after'])} instead of {_told(plan['before'])}"


def finish(store: Store, root: Path) -> str | None:
    """Finish a promotion that was cut short, or undo it where it cannot be; say which. None if there is none.

    It waits for a register or rollback that is at work.

    Raises:
        PromotionError: it was begun in another store, or a step failed again.
    """
    with _alone(store):
        return _end(store, root)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the lock of acts; who has to wait for it is told."""
    (store.root / "mlruns").mkdir(exist_ok=True)
    lock = FileLock(str(store.root / "mlruns" / ".register.lock"))
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        say("another register or rollback of this repository is at work; waiting for it to end")
        lock.acquire()
    with lock:
        lock.release()  # `with` holds it once more
        yield


def _plan(store: Store, seen: Mapping[str, str], moves: Iterable[Move]) -> dict[str, Any]:
    """An act as JSON: the aliases before and after, and the lines of the ledger."""
    act, after, lines = uuid.uuid4().hex[:12], dict(seen), []
    for move in moves:
        before = after.get(move.alias)
        if before == move.version:
            continue
        after = {alias: version for alias, version in after.items() if alias != move.alias}
        after |= {move.alias: move.version} if move.version else {}
        moved = (store.name, move.alias, before, move.version, move.why)
        change = Change(*moved, **move.note, aliases=after, act=act)
        lines.append(line_of(change))
    keys = {line["to"]: line["key"] for line in lines if line["to"]}
    named = {"act": act, "store": _name_of(store, store.root), "model": store.name}
    return {**named, "before": dict(seen), "after": after, "keys": keys, "lines": lines}


def _end(store: Store, root: Path) -> str | None:
    """As `finish`, inside of the lock."""
    plan = _read(root)
    if plan is None:
        return None
    store = replace(store, name=plan["model"])  # an act of another model may have been cut short
    if plan["store"] != _name_of(store, root):
        raise PromotionError(
            f"A promotion of {plan['model']} was cut short in the store {plan['store']}, and this is "
            f"{_name_of(store, root)}. It can be brought to an end there alone. Set MLFLOW_TRACKING_URI to that store "
            f"(unset it for {LOCAL}) and run `meltpoint doctor --repair`, or give it up: delete {root / INTENTION}"
        )
    written = any(line["act"] == plan["act"] for line in read(root))
    trouble = None if written else _hindrance(store, plan)
    with _told_failures(store, "It stays begun; run the same again"):
        if written:  # the last step but one: all that is left is to forget it
            _forget(root)
        elif trouble:
            _put_back(store, root, plan)
            return f"undid a promotion of {plan['model']} that was cut short: {trouble}"
        else:
            _carry_out(store, root, plan)
    return f"finished a promotion of {plan['model']} that was cut short: {_told(plan['after'])}"


def _carry_out(store: Store, root: Path, plan: Mapping[str, Any]) -> None:
    """Every step of an act; those that are done already change nothing."""
    _point(store, plan["before"].keys() | plan["after"].keys(), plan["after"])
    append(root, plan["lines"])
    _forget(root)


def _put_back(store: Store, root: Path, plan: Mapping[str, Any]) -> None:
    """Undo what an act did; an alias that is somewhere else by now, or was at a version that is gone, stays there."""
    now, before, after = aliases(store), plan["before"], plan["after"]
    own = {alias for alias in before.keys() | after.keys() if now.get(alias) == after.get(alias)}
    back = {alias for alias in own if _fits(store, before.get(alias), plan["keys"].get(before.get(alias)))}
    _point(store, back, before)
    _forget(root)


def _forget(root: Path) -> None:
    (root / INTENTION).unlink()


def _hindrance(store: Store, plan: Mapping[str, Any]) -> str | None:
    """Why an act cannot be finished any more; None if it can."""
    now = aliases(store)
    for alias in sorted(now.keys() | plan["before"].keys() | plan["after"].keys()):
        if now.get(alias) not in (plan["before"].get(alias), plan["after"].get(alias)):
            return f"somebody moved {alias} to {now.get(alias) or 'nowhere'} since"
    gone = [version for version, key in plan["keys"].items() if not _fits(store, version, key)]
    return f"version {', '.join(gone)} is not the one it meant" if gone else None


def _point(store: Store, names: set[str], wanted: Mapping[str, str]) -> None:
    """Let the aliases `names` be as `wanted`, the champion first."""
    now = aliases(store)
    for alias in sorted(names, key=lambda name: (name != CHAMPION, name)):
        version = wanted.get(alias)
        if version is not None and now.get(alias) != version:
            store.client.set_registered_model_alias(store.name, alias, version)
        elif version is None and alias in now:
            store.client.delete_registered_model_alias(store.name, alias)


def _fits(store: Store, version: str | None, key: str | None) -> bool:
    """Whether a version is there, and made of the files with this fingerprint (None: of any); nowhere always is."""
    if version is None:
        return True
    found = store.client.search_model_versions(f"name = '{store.name}'")
    return any(str(one.version) == version and key in (None, one.tags.get(KEY)) for one in found)


def _read(root: Path) -> dict[str, Any] | None:
    path = root / INTENTION
    if not path.exists():
        return None
    try:
        plan: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise PromotionError(
            f"{path} is damaged: {error}. `meltpoint` writes it whole before aliases move, and deletes it after. "
            "Delete it, then run `meltpoint doctor`, which finds aliases that disagree with the ledger."
        ) from None
    return plan


def _name_of(store: Store, root: Path) -> str:
    """The store without the secrets of its address."""
    local = database_uri(root / "mlruns" / "mlflow.db")
    return LOCAL if store.uri == local else re.sub(r"//[^/@]*@", "//", store.uri)


@contextmanager
def _told_failures(store: Store, mend: str) -> Iterator[None]:
    """A full disk or a server that went away is told, with what to do."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise PromotionError(
            f"A promotion of {store.name} could not be written down: {reason}. A writable disk and a running store are "
            f"needed. {mend}."
        ) from error


def _told(aliases: Mapping[str, str]) -> str:
    return ", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())) or "no alias"
