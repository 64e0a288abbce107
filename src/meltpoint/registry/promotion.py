"""Aliases and the ledger move together: what is meant is written down first, and finished or undone after a crash.

A `Move` says where an alias goes. `promote` writes all moves to `PLAN_FILE`, then moves the aliases, then adds the
lines of the ledger, then removes `PLAN_FILE`. If that was interrupted, the next command finds the file and goes on.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json
from meltpoint.progress import say
from meltpoint.registry.ledger import LEDGER, AliasChange, VersionFacts, append, place, read_ledger, utc_now
from meltpoint.registry.store_history import ADOPT, disagreements, known_changes, record, unwritten_changes
from meltpoint.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, aliases, identified, key_of
from meltpoint.tracking.database import database, database_uri, lock_path
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.pipeline_state import git_revision, user_name
from meltpoint.tracking.store import Store

PLAN_FILE = Path(".checkpoints/promotion.json")
PATIENCE = 2.0  # seconds to wait for another promotion before a message says so
LOCAL = "mlruns"  # how a plan names the store of the repository, wherever that is moved


class PromotionError(UserError, RuntimeError):
    """Aliases cannot move: they were moved by something else meanwhile, or a step failed."""


@dataclass(frozen=True)
class Move:
    """An alias goes to `version`, or nowhere. `facts` are those of that version, or of the one it leaves."""

    alias: str
    version: str | None
    why: str
    facts: VersionFacts


@dataclass(frozen=True)
class Plan:
    """A promotion as `PLAN_FILE` holds it: the aliases before and after, and the lines of the ledger."""

    act: str
    store: str  # as `_name_of` gives it
    model: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    keys: Mapping[str, str]  # version to the fingerprint of its model folder
    lines: Sequence[AliasChange]


@contextmanager
def promotion_lock(store: Store) -> Iterator[None]:
    """Keep every other register and rollback of this repository waiting; what a crash left is completed first.

    Raises:
        PromotionError: what a crash left belongs to another store.
    """
    with registry_lock(store.root):
        if message := _complete(store):
            say(message)
        yield


def promote(store: Store, seen: Mapping[str, str], moves: Iterable[Move]) -> None:
    """Move aliases, all or none of them, and write that down; inside of `promotion_lock`.

    Moves that change nothing are left out. `seen` are the aliases by which the moves were decided.

    Raises:
        PromotionError: the aliases have changed since, or a step failed. Nothing moved, or the next command goes on.
    """
    when = max([utc_now(), *(change.when for change in known_changes(store))])  # a clock may go back, the order stays
    act, after, lines, who = uuid.uuid4().hex[:12], dict(seen), [], user_name(store.root)
    for move in moves:
        before = after.get(move.alias)
        if before == move.version:
            continue
        after = {alias: version for alias, version in after.items() if alias != move.alias}
        after |= {move.alias: move.version} if move.version else {}
        moved = (store.name, move.alias, before, move.version, move.why)
        lines.append(AliasChange(*moved, move.facts, aliases=after, act=act, when=when, who=who))
    if not lines:
        return
    keys = {line.after: line.facts.key for line in lines if line.after}
    plan = Plan(act, _name_of(store), store.name, dict(seen), after, keys, lines)
    now = aliases(store)
    if now != dict(seen):
        raise PromotionError(
            f"The aliases of {store.name} moved while this was decided: they were {_list(seen)} and are {_list(now)}. "
            "A decision holds for the champion it was compared with. Nothing was changed; run it again: "
            "dvc repro --force --single-item register"
        )
    with _failures_as_ours(store, "Nothing has moved. Run the same again"):
        write_json(store.root / PLAN_FILE, {**vars(plan), "lines": [line.as_row() for line in plan.lines]})
    with _failures_as_ours(store, "It was begun; the next `dvc repro` or `meltpoint doctor --repair` completes it"):
        _carry_out(store, plan)


def champion_moves(
    store: Store, seen: Mapping[str, str], version: str, why: str, facts: VersionFacts
) -> Iterator[Move]:
    """The moves that make `version` the champion: the one before becomes `previous`, and it is no candidate then."""
    yield Move(CHAMPION, version, why, facts)
    if before := seen.get(CHAMPION):  # it was not scored today under this name
        old = identified(replace(facts, value=None), store, before)
        yield Move(PREVIOUS, before, f"version {version} took its place", old)
    if seen.get(CANDIDATE) == version:
        yield Move(CANDIDATE, None, "it is the champion now", facts)


def restore_deleted_aliases(store: Store) -> list[str]:
    """Let deleted aliases point again to where the ledger says; inside of `promotion_lock`. It returns what it found.

    An alias that was deleted is no decision, and its version is known. One that was moved to another version stays
    there, as the ledger of another clone may explain it; that is reported.
    """
    messages = []
    for one in disagreements(store):
        if one.stays:
            messages.append(f"{one}. It stays there. To end the disagreement: {ADOPT}")
        elif one.found is not None:
            messages.append(f"{one}: something else moved it. It stays; to move it back: meltpoint doctor --repair")
        else:
            line = known_changes(store, one.alias)[-1]
            where = f"{place(line.after)}, as in {LEDGER}"
            if _fits(store, line.after, line.facts.key):
                store.client.set_registered_model_alias(store.name, one.alias, str(line.after))
                messages.append(f"{one.alias} of {store.name} had been deleted in MLflow; it is restored: {where}")
            else:
                messages.append(
                    f"{one.alias} of {store.name} is {where}, and MLflow has no such version of that model. To write "
                    "it again: meltpoint sync"
                )
    return messages


def adopt(store: Store) -> list[AliasChange]:
    """Write into the ledger what the store knows and the ledger does not; the lines that were written. No alias moves.

    Raises:
        LedgerError: the ledger, or the record of the store, cannot be read.
    """
    with promotion_lock(store):
        written = unwritten_changes(store)
        append(store.root, written)
        act, now = uuid.uuid4().hex[:12], aliases(store)
        why = "found so in MLflow, which does not say who moved it"
        for one in disagreements(store):
            facts = VersionFacts("", None, "", git_revision(store.root), "")
            facts = identified(facts, store, str(one.found or one.named)) if one.found else facts
            written.append(AliasChange(store.name, one.alias, one.named, one.found, why, facts, aliases=now, act=act))
        append(store.root, written)
        record(store)
    return written


def unfinished(root: Path) -> str | None:
    """What a promotion that was interrupted meant to do, in words; None if there is none."""
    plan = _read(root)
    return None if plan is None else f"{plan.model}: {_list(plan.after)} instead of {_list(plan.before)}"


def finish(store: Store) -> str | None:
    """Finish a promotion that was interrupted, or undo it where that is impossible; say which. None if there is none.

    It waits for a register or rollback that is running.

    Raises:
        PromotionError: it was begun in another store, or a step failed again.
    """
    with registry_lock(store.root):
        return _complete(store)


@contextmanager
def registry_lock(root: Path) -> Iterator[None]:
    """Keep every other process and thread from changing the registry; waiting prints a message. It can be nested."""
    lock = FileLock(lock_path(root, "register"), is_singleton=True)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        say("another register or rollback of this repository is running; waiting for it to end")
        lock.acquire()
    with lock:
        lock.release()  # `with` holds it once more
        yield


def _complete(store: Store) -> str | None:
    """As `finish`, inside of the lock."""
    root = store.root
    plan = _read(root)
    if plan is None:
        return None
    store = replace(store, name=plan.model)  # a promotion of another model may have been interrupted
    if plan.store != _name_of(store):
        raise PromotionError(
            f"A promotion of {plan.model} was interrupted in the store {plan.store}, and this is {_name_of(store)}. It "
            f"can be completed only there. Set MLFLOW_TRACKING_URI to that store (unset it for {LOCAL}) and run "
            f"`meltpoint doctor --repair`, or give it up: delete {root / PLAN_FILE}"
        )
    written = any(line.act == plan.act for line in read_ledger(root))
    now, before, after = aliases(store), plan.before, plan.after
    moved = [
        name for name in sorted({*now, *before, *after}) if now.get(name) not in (before.get(name), after.get(name))
    ]
    gone = [version for version, key in plan.keys.items() if not _fits(store, version, key)]
    with _failures_as_ours(store, "It stays begun; run the same again"):
        if written:
            record(store)
            _forget(root)
        elif moved or gone:
            own = {alias for alias in before.keys() | after.keys() if now.get(alias) == after.get(alias)}
            back = {alias for alias in own if _fits(store, before.get(alias), plan.keys.get(before.get(alias, "")))}
            _point(store, back, before)
            _forget(root)
            where = f"{moved[0]} was moved to {now.get(moved[0]) or 'nowhere'} since" if moved else ""
            why = where or f"version {', '.join(gone)} is another model now"
            return f"undid a promotion of {plan.model} that was interrupted: {why}"
        else:
            _carry_out(store, plan)
    return f"finished a promotion of {plan.model} that was interrupted: {_list(after)}"


def _carry_out(store: Store, plan: Plan) -> None:
    """Every step of a promotion; those that are done already change nothing."""
    _point(store, plan.before.keys() | plan.after.keys(), plan.after)
    append(store.root, plan.lines)
    record(store)
    _forget(store.root)


def _forget(root: Path) -> None:
    (root / PLAN_FILE).unlink()


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
    return any(str(one.version) == version and key in (None, key_of(one)) for one in found)


def _read(root: Path) -> Plan | None:
    path = root / PLAN_FILE
    if not path.exists():
        return None
    try:
        row = read_json(path)
        return Plan(**{**row, "lines": [AliasChange.of_row(line) for line in row["lines"]]})
    except (ValueError, KeyError, TypeError) as error:
        raise PromotionError(
            f"{path} is damaged: {error}. `meltpoint` writes it whole before aliases move, and deletes it after. "
            "Delete it, then run `meltpoint doctor`, which finds aliases that disagree with the ledger."
        ) from None


def _name_of(store: Store) -> str:
    """The store without the secrets of its address."""
    return LOCAL if store.uri == database_uri(database(store.root)) else re.sub(r"//[^/@]*@", "//", store.uri)


@contextmanager
def _failures_as_ours(store: Store, remedy: str) -> Iterator[None]:
    """A full disk or a lost server becomes a PromotionError, with what to do."""
    try:
        yield
    except (StoreError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise PromotionError(
            f"A promotion of {store.name} could not be written down: {reason}. A writable disk and a running store are "
            f"needed. {remedy}."
        ) from error


def _list(aliases: Mapping[str, str]) -> str:
    return ", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())) or "no alias"
