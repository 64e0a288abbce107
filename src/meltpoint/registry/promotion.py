"""Aliases and the ledger move together: what is meant is written down first, and finished or undone after a crash.

A `Move` says where an alias goes. `promote` writes all moves to `PLAN_FILE`, then moves the aliases, then adds the
lines of the ledger, then removes `PLAN_FILE`. If that was interrupted, the next command finds the file and goes on.
"""

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from meltpoint.errors import UserError
from meltpoint.files import write_json
from meltpoint.progress import say
from meltpoint.registry.lease import Lease, lease
from meltpoint.registry.ledger import LEDGER, AliasChange, VersionFacts, append, changes_of, place, read_ledger, utc_now
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
    lease: str | None = (
        None  # the MLflow experiment that holds this plan too; None: the store is that of the repository
    )


@contextmanager
def promotion_lock(store: Store) -> Iterator[Lease]:
    """Keep every other register and rollback waiting: of this repository, and of other clones that share its store.

    What a crash left, here or in another clone, is completed first.

    Raises:
        PromotionError: what a crash left belongs to another store.
        StoreError: the store does not answer.
    """
    with registry_lock(store.root):
        if message := finish(store):
            say(message)
        with lease(store) as held:
            for message in _complete_abandoned(held):
                say(message)
            yield held


def promote(held: Lease, seen: Mapping[str, str], moves: Iterable[Move]) -> None:
    """Move aliases, all or none of them, and write that down; `held` is what `promotion_lock` gives.

    Moves that change nothing are left out. `seen` are the aliases by which the moves were decided.

    Raises:
        PromotionError: the aliases have changed since, or a step failed. Nothing moved, or the next command goes on.
        LeaseError: another clone took over, as this process had stood still. It finished or undid what was begun.
    """
    store = held.store
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
    plan = Plan(act, _name_of(store), store.name, dict(seen), after, keys, lines, held.experiment)
    now = aliases(store)
    if now != dict(seen):
        raise PromotionError(
            f"The aliases of {store.name} moved while this was decided: they were {_list(seen)} and are {_list(now)}. "
            "A decision holds for the champion it was compared with. Nothing was changed; run it again: "
            "dvc repro --force --single-item register"
        )
    row = {**vars(plan), "lines": [line.as_row() for line in plan.lines]}
    with _failures_as_ours(store, "Nothing has moved. Run the same again"):
        held.write_plan(json.dumps(row))  # first: what PLAN_FILE names, the next holder of the lease knows
        write_json(store.root / PLAN_FILE, row)
    with _failures_as_ours(store, "It was begun; the next `dvc repro` or `meltpoint doctor --repair` completes it"):
        _point(held, plan.before.keys() | plan.after.keys(), plan.after)
        _write_down(held, plan)


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
        record(store, changes_of(store.root, store.name))
    return written


def unfinished(root: Path) -> str | None:
    """What a promotion that was interrupted meant to do, in words; None if there is none."""
    plan = _read(root)
    return None if plan is None else f"{plan.model}: {_list(plan.after)} instead of {_list(plan.before)}"


def finish(store: Store) -> str | None:
    """Finish a promotion of this repository that was interrupted, or undo it where that is impossible; say which.

    It waits for a register or rollback that is running. None if there is none.

    Raises:
        PromotionError: it was begun in another store, or a step failed again.
    """
    with registry_lock(store.root):
        if (plan := _read(store.root)) is None:
            return None
        if plan.store != _name_of(store):
            raise PromotionError(
                f"A promotion of {plan.model} was interrupted in the store {plan.store}, and this is "
                f"{_name_of(store)}. It can be completed only there. Set MLFLOW_TRACKING_URI to that store (unset it "
                f"for {LOCAL}) and run `meltpoint doctor --repair`, or give it up: delete {store.root / PLAN_FILE}"
            )
        with (
            _failures_as_ours(store, "It stays begun; run the same again"),
            lease(replace(store, name=plan.model)) as held,  # a promotion of another model may have been interrupted
        ):
            messages = _complete_abandoned(held)
            written = plan.act in {line.act for line in [*read_ledger(store.root), *known_changes(held.store)]}
            if not written and (plan.lease or (why := _undo_if_impossible(held, plan))):
                _forget(store.root)
                return "; ".join(messages) if plan.lease else why
            if not written:
                _point(held, plan.before.keys() | plan.after.keys(), plan.after)
            _write_down(held, plan)
    return f"finished a promotion of {plan.model} that was interrupted: {_list(plan.after)}"


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


def _complete_abandoned(held: Lease) -> list[str]:
    """Finish or undo the promotions of other clones that died in the middle; a sentence on each."""
    messages = []
    for experiment, text in held.abandoned():
        if text:
            plan = _parse(text, f"The tag of the MLflow experiment {experiment}")
            messages.append(_undo_if_impossible(held, plan) or _finish_abandoned(held, plan))
        held.bury(experiment)
    return messages


def _finish_abandoned(held: Lease, plan: Plan) -> str:
    _point(held, plan.before.keys() | plan.after.keys(), plan.after)
    record(held.store, plan.lines)
    who = plan.lines[0].who or "another clone"
    return f"finished a promotion of {plan.model} that {who} had begun: {_list(plan.after)}"


def _undo_if_impossible(held: Lease, plan: Plan) -> str | None:
    """Undo a promotion that can no longer be finished; what was undone and why. None if it can be finished."""
    store, before, after = held.store, plan.before, plan.after
    now = aliases(store)
    moved = [
        name for name in sorted({*now, *before, *after}) if now.get(name) not in (before.get(name), after.get(name))
    ]
    gone = [version for version, key in plan.keys.items() if not _fits(store, version, key)]
    if not moved and not gone:
        return None
    own = {alias for alias in before.keys() | after.keys() if now.get(alias) == after.get(alias)}
    back = {alias for alias in own if _fits(store, before.get(alias), plan.keys.get(before.get(alias, "")))}
    _point(held, back, before)
    where = f"{moved[0]} was moved to {now.get(moved[0]) or 'nowhere'} since" if moved else ""
    why = where or f"version {', '.join(gone)} is another model now"
    return f"undid a promotion of {plan.model} that was interrupted: {why}"


def _write_down(held: Lease, plan: Plan) -> None:
    """Write a promotion into the store and the ledger; what is written already is not written twice."""
    record(held.store, plan.lines)
    held.write_plan("")
    append(held.store.root, plan.lines)
    _forget(held.store.root)


def _forget(root: Path) -> None:
    (root / PLAN_FILE).unlink()


def _point(held: Lease, names: set[str], wanted: Mapping[str, str]) -> None:
    """Let the aliases `names` be as `wanted`, the champion first."""
    store = held.store
    now = aliases(store)
    for alias in sorted(names, key=lambda name: (name != CHAMPION, name)):
        version = wanted.get(alias)
        held.check()
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
    return _parse(path.read_text(encoding="utf-8"), str(path))


def _parse(text: str, where: str) -> Plan:
    try:
        row = json.loads(text)
        return Plan(**{**row, "lines": [AliasChange.of_row(line) for line in row["lines"]]})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PromotionError(
            f"{where} is damaged: {error}. `meltpoint` writes it whole before aliases move, and deletes it after. "
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
