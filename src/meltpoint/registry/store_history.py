"""The store's own record of its promotions, in tags of versions: the clones of a team share a store, and not a ledger.

A clone whose ledger is behind finds there who moved an alias, when and why.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from meltpoint.registry.ledger import LEDGER, AliasChange, LedgerError, changes_of, place
from meltpoint.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, aliases, versions_of
from meltpoint.tracking.database import database, database_uri
from meltpoint.tracking.store import Store

OURS = (CHAMPION, PREVIOUS, CANDIDATE)
LINE = "meltpoint.ledger."  # and act (of old lines the time) and alias: tag of a version, a line of the ledger as JSON
ADOPT = f"git pull; or write what the store knows into {LEDGER}: meltpoint adopt"


@dataclass(frozen=True)
class Disagreement:
    """An alias that points to `found` in the store and to `named` in the ledger."""

    model: str
    alias: str
    found: str | None  # version
    named: str | None  # version
    shared: bool
    mover: AliasChange | None  # the store's record of how it came there

    @property
    def stays(self) -> bool:
        """Whether the alias must not be moved: another clone may have moved it, and its ledger may say why."""
        return self.shared and (self.found is not None or self.mover is not None)

    def __str__(self) -> str:
        """Both places; and on a shared store who moved the alias, when and why."""
        both = f"{self.alias} of {self.model} is {place(self.found)} in MLflow and {place(self.named)} in {LEDGER}"
        if not self.shared:
            return both
        if self.mover is None:
            return f"{both}, and the store does not say who moved it" if self.found else both
        return f"{both}: {self.mover.who or 'unknown'} moved it at {self.mover.when} ({self.mover.why})"


def is_shared(store: Store) -> bool:
    """Whether other clones may use the store: it is not the database of this repository."""
    return store.uri != database_uri(database(store.root))


def record(store: Store, changes: Iterable[AliasChange]) -> None:
    """Write lines of a ledger into the store, as far as it has their versions and lacks the lines."""
    there = versions_of(store)
    for change in changes:
        version, name = change.after or change.before or "", _tag(change)
        if version.isdigit() and int(version) in there and name not in there[int(version)].tags:
            line = json.dumps(change.as_row(), ensure_ascii=False)
            store.client.set_model_version_tag(store.name, version, name, line)


def unwritten_changes(store: Store) -> list[AliasChange]:
    """The changes that the store has a record of and the ledger does not, oldest first.

    Raises:
        LedgerError: a record is damaged.
    """
    known, found = {_tag(change) for change in changes_of(store.root, store.name)}, []
    for number, version in versions_of(store).items():
        for name, text in version.tags.items():
            if name.startswith(LINE) and name.endswith(OURS) and name not in known:
                try:
                    found.append(AliasChange.of_row(json.loads(text)))
                except (KeyError, ValueError, TypeError):
                    raise LedgerError(
                        f"The tag {name} of version {number} of {store.name} is no line of a ledger: {text[:80]!r}. "
                        "`meltpoint` writes it as JSON. Delete the tag in MLflow."
                    ) from None
    return sorted(found, key=lambda change: (change.when, change.act or "", OURS.index(change.alias)))


def known_changes(store: Store, alias: str | None = None) -> list[AliasChange]:
    """What the ledger, and a shared store, know of an alias, or of all, oldest first."""
    changes = [*changes_of(store.root, store.name), *(unwritten_changes(store) if is_shared(store) else ())]
    return sorted((one for one in changes if alias in (None, one.alias)), key=lambda change: change.when)


def disagreements(store: Store) -> list[Disagreement]:
    """Our aliases that point elsewhere in the store than in the ledger."""
    now, shared = aliases(store), is_shared(store)
    known = known_changes(store) if shared else []
    found = []
    for alias in OURS:
        changes = changes_of(store.root, store.name, alias)
        named = changes[-1].after if changes else None
        if now.get(alias) != named:
            movers = [one for one in known if one.alias == alias]
            mover = movers[-1] if movers and movers[-1].after == now.get(alias) else None
            found.append(Disagreement(store.name, alias, now.get(alias), named, shared, mover))
    return found


def _tag(change: AliasChange) -> str:
    return f"{LINE}{change.act or change.when}.{change.alias}"
