"""Aliases and the ledger move together, one promotion at a time.

A `Move` says where an alias goes. `promote` writes all moves down as a plan, then moves the aliases, then adds the
lines of the ledger, then deletes the plan. If that was interrupted, the next command finds the plan and completes it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from meltpoint.registry.histories import NUMBER, strays
from meltpoint.registry.lease import Lease, lease
from meltpoint.registry.ledger import LEDGER, AliasChange, VersionFacts, append, changes_of, place, read_ledger, utc_now
from meltpoint.registry.plan import (
    LOCAL,
    PLAN_FILE,
    Plan,
    PromotionError,
    begin,
    carry_out,
    complete_abandoned,
    failures_as_ours,
    fits,
    forget,
    list_aliases,
    read_plan,
    store_name,
    undo_if_impossible,
    write_down,
)
from meltpoint.registry.store_history import ADOPT, OURS, disagreements, known_changes, record, unwritten_changes
from meltpoint.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, aliases, identified, versions_of
from meltpoint.terminal import say
from meltpoint.tracking.database import lock_path
from meltpoint.tracking.pipeline_state import git_revision, user_name
from meltpoint.tracking.store import Store

PATIENCE = 2.0  # seconds to wait for another promotion before a message says so


@dataclass(frozen=True)
class Move:
    """An alias goes to `version`, or nowhere. `facts` are those of that version, or of the one it leaves."""

    alias: str
    version: str | None
    why: str
    facts: VersionFacts


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
            for message in complete_abandoned(held):
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
    plan = Plan(act, store_name(store), store.name, dict(seen), after, keys, lines, held.experiment)
    now = aliases(store)
    if now != dict(seen):
        raise PromotionError(
            f"The aliases of {store.name} moved while this was decided: they were {list_aliases(seen)} and are "
            f"{list_aliases(now)}. A decision holds for the champion it was compared with. Nothing was changed; run it "
            "again: dvc repro --force --single-item register"
        )
    begin(held, plan)
    with failures_as_ours(store, "It was begun; the next `dvc repro` or `meltpoint doctor --repair` completes it"):
        carry_out(held, plan)


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
            if fits(store, line.after, line.facts.key):
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

    A ledger with two histories is joined first, and nothing else is done then.

    Raises:
        LedgerError: the ledger, or the record of the store, cannot be read.
    """
    with promotion_lock(store):
        if joined := join(store):  # what the store shows is of one of the two histories
            record(store, changes_of(store.root, store.name))
            return joined
        written = unwritten_changes(store)
        append(store.root, written)
        act, now = uuid.uuid4().hex[:12], aliases(store)
        why = "found so in MLflow, which does not say who moved it"
        for one in disagreements(store):
            named = changes_of(store.root, store.name, one.alias)[-1:]
            if one.named and not fits(store, one.named, named[0].facts.key):
                continue  # the store does not show that version yet
            facts = VersionFacts("", None, "", git_revision(store.root), "")
            facts = identified(facts, store, str(one.found or one.named)) if one.found else facts
            written.append(AliasChange(store.name, one.alias, one.named, one.found, why, facts, aliases=now, act=act))
        append(store.root, written)
        record(store, changes_of(store.root, store.name))
    return written


def join(store: Store) -> list[AliasChange]:
    """Give each model whose number belongs to another one the next free number, in the ledger; the lines for that.

    An alias that the ledger gives to such a model goes with it. Two clones that do it give the same numbers.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    changes, lines, numbers = changes_of(store.root, store.name), list[AliasChange](), dict[tuple[str, str], str]()
    act, who, found = uuid.uuid4().hex[:12], user_name(store.root), strays(changes)
    when = max([utc_now(), *(change.when for change in changes)])

    def add(alias: str, line: AliasChange, number: str, why: str) -> None:
        anchor = number if line.facts.anchor in [stray.after for stray in found] else line.facts.anchor
        moved = (store.name, alias, line.after, number, why)
        lines.append(AliasChange(*moved, replace(line.facts, anchor=anchor), act=act, when=when, who=who))

    taken = [int(change.after) for change in changes if change.after and change.after.isdigit()]
    for free, stray in enumerate(found, start=max([*taken, *versions_of(store)], default=0) + 1):
        numbers[str(stray.after), stray.facts.key] = str(free)
        who_did = f"{stray.who or 'unknown'} of {stray.when}"
        add(NUMBER, stray, str(free), f"version {stray.after} of {who_did}: another clone had given that number before")
    for alias in OURS:
        last = next((change for change in reversed(changes) if change.alias == alias), None)
        if last is not None and (number := numbers.get((str(last.after), last.facts.key))):
            add(alias, last, number, f"it is {place(number)} since two histories were joined; before: {last.why}")
    append(store.root, lines)
    return lines


def finish(store: Store) -> str | None:
    """Finish a promotion of this repository that was interrupted, or undo it where that is impossible; say which.

    It waits for a register or rollback that is running. None if there is none.

    Raises:
        PromotionError: it was begun in another store, or a step failed again.
    """
    with registry_lock(store.root):
        if (plan := read_plan(store.root)) is None:
            return None
        if plan.store != store_name(store):
            raise PromotionError(
                f"A promotion of {plan.model} was interrupted in the store {plan.store}, and this is "
                f"{store_name(store)}. It can be completed only there. Set MLFLOW_TRACKING_URI to that store (unset it "
                f"for {LOCAL}) and run `meltpoint doctor --repair`, or give it up: delete {store.root / PLAN_FILE}"
            )
        with (
            failures_as_ours(store, "It stays begun; run the same again"),
            lease(replace(store, name=plan.model)) as held,  # a promotion of another model may have been interrupted
        ):
            messages = complete_abandoned(held)
            written = plan.act in {line.act for line in [*read_ledger(store.root), *known_changes(held.store)]}
            if plan.lease and not written:  # whoever held the lease next undid it, which may have been just now
                forget(store.root)
                undone = f"another clone undid a promotion of {plan.model} that was interrupted here"
                return "; ".join(messages) or undone
            if not written and (why := undo_if_impossible(held, plan)):
                forget(store.root)
                return why
            if written:
                write_down(held, plan)
            else:
                carry_out(held, plan)
    return f"finished a promotion of {plan.model} that was interrupted: {list_aliases(plan.after)}"


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
