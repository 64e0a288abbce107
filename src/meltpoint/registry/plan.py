"""What a promotion is about to do, written down before it is done: so that it is finished or undone after a crash.

It stands in `PLAN_FILE` of the repository, and in the lease where clones share the store.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.files import write_json
from meltpoint.registry.lease import Lease
from meltpoint.registry.ledger import AliasChange, append
from meltpoint.registry.store_history import is_shared, record
from meltpoint.registry.versions import CHAMPION, aliases, key_of
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.store import Store

PLAN_FILE = Path(".checkpoints/promotion.json")
LOCAL = "mlruns"  # how a plan names the store of the repository, wherever that is moved


class PromotionError(UserError, RuntimeError):
    """Aliases cannot move: they were moved by something else meanwhile, or a step failed."""


@dataclass(frozen=True)
class Plan:
    """A promotion as `PLAN_FILE` holds it: the aliases before and after, and the lines of the ledger."""

    act: str
    store: str  # as `store_name` gives it
    model: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    keys: Mapping[str, str]  # version to the fingerprint of its model folder
    lines: Sequence[AliasChange]
    lease: str = ""  # the MLflow experiment that holds the plan, too; none for the store of the repository itself


def unfinished(root: Path) -> str | None:
    """What a promotion that was interrupted meant to do, in words; None if there is none."""
    plan = read_plan(root)
    return None if plan is None else f"{plan.model}: {list_aliases(plan.after)} instead of {list_aliases(plan.before)}"


def begin(held: Lease, plan: Plan) -> None:
    """Write a plan down; what `PLAN_FILE` names, the next holder of the lease knows too."""
    row = {**vars(plan), "lines": [line.as_row() for line in plan.lines]}
    with failures_as_ours(held.store, "Nothing has moved. Run the same again"):
        held.write_plan(json.dumps(row))
        try:
            write_json(held.store.root / PLAN_FILE, row)
        except OSError:
            held.write_plan("")
            raise


def carry_out(held: Lease, plan: Plan) -> None:
    """Move the aliases, and write that into the store and the ledger; what is done already is not done twice."""
    point(held, plan.before.keys() | plan.after.keys(), plan.after)
    write_down(held, plan)


def complete_abandoned(held: Lease) -> list[str]:
    """Finish or undo the promotions of other clones that died in the middle; a sentence on each."""
    messages = []
    for experiment, text in held.abandoned():
        if text:
            plan = _parse(text, f"The tag of the MLflow experiment {experiment}")
            message = undo_if_impossible(held, plan)
            if message is None:
                point(held, plan.before.keys() | plan.after.keys(), plan.after)
                record(held.store, plan.lines)
                who = plan.lines[0].who or "another clone"
                message = f"finished a promotion of {plan.model} that {who} had begun: {list_aliases(plan.after)}"
            messages.append(message)
        held.bury(experiment)
    return messages


def undo_if_impossible(held: Lease, plan: Plan) -> str | None:
    """Undo a promotion that can no longer be finished; what was undone and why. None if it can be finished."""
    store, before, after = held.store, plan.before, plan.after
    now = aliases(store)
    moved = [
        name for name in sorted({*now, *before, *after}) if now.get(name) not in (before.get(name), after.get(name))
    ]
    gone = [version for version, key in plan.keys.items() if not fits(store, version, key)]
    if not moved and not gone:
        return None
    own = {alias for alias in before.keys() | after.keys() if now.get(alias) == after.get(alias)}
    back = {alias for alias in own if fits(store, before.get(alias), plan.keys.get(before.get(alias, "")))}
    point(held, back, before)
    where = f"{moved[0]} was moved to {now.get(moved[0]) or 'nowhere'} since" if moved else ""
    why = where or f"version {', '.join(gone)} is another model now"
    return f"undid a promotion of {plan.model} that was interrupted: {why}"


def write_down(held: Lease, plan: Plan) -> None:
    """Write a promotion whose aliases have moved into the store and the ledger."""
    record(held.store, plan.lines)
    held.write_plan("")
    append(held.store.root, plan.lines)
    forget(held.store.root)


def forget(root: Path) -> None:
    """The plan of the repository is done, or given up."""
    (root / PLAN_FILE).unlink()


def point(held: Lease, names: set[str], wanted: Mapping[str, str]) -> None:
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


def fits(store: Store, version: str | None, key: str | None) -> bool:
    """Whether a version is there, and made of the files with this fingerprint (None: of any); nowhere always is."""
    if version is None:
        return True
    found = store.client.search_model_versions(f"name = '{store.name}'")
    return any(str(one.version) == version and key in (None, key_of(one)) for one in found)


def read_plan(root: Path) -> Plan | None:
    """The plan of a promotion of this repository that was interrupted; None if there is none.

    Raises:
        PromotionError: the file is damaged.
    """
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


def store_name(store: Store) -> str:
    """The store without the secrets of its address."""
    return re.sub(r"//[^/@]*@", "//", store.uri) if is_shared(store) else LOCAL


@contextmanager
def failures_as_ours(store: Store, remedy: str) -> Iterator[None]:
    """A full disk or a lost server becomes a PromotionError, with what to do."""
    try:
        yield
    except (StoreError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise PromotionError(
            f"A promotion of {store.name} could not be written down: {reason}. A writable disk and a running store are "
            f"needed. {remedy}."
        ) from error


def list_aliases(aliases: Mapping[str, str]) -> str:
    """Aliases and their versions in words."""
    return ", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())) or "no alias"
