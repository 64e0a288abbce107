"""Two histories in one ledger: clones with stores of their own gave one number to two models, and git merged the lines.

A number belongs to the model of the oldest line about it. `meltpoint adopt` gives the other model a number of its own,
in a line of the ledger; the lines that are there stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from meltpoint.registry.ledger import LEDGER, AliasChange, changes_of

NUMBER = "number"  # in the place of an alias: the model that was called `before` is version `after`
JOIN = "meltpoint adopt"


def owners(changes: Sequence[AliasChange]) -> dict[str, str]:
    """Version to the fingerprint of its model: that of the oldest line about this number."""
    found: dict[str, str] = {}
    for change in sorted(changes, key=lambda change: (change.when, change.facts.key)):
        if change.after and change.facts.key:
            found.setdefault(change.after, change.facts.key)
    return found


def is_of_another(change: AliasChange, known: Mapping[str, str]) -> bool:
    """Whether a line names a number that belongs to another model than its own; `known` is what `owners` gives."""
    return bool(change.after and change.facts.key) and known[str(change.after)] != change.facts.key


def strays(changes: Sequence[AliasChange]) -> list[AliasChange]:
    """The first line about each model that has no number of its own."""
    known, found = owners(changes), dict[str, AliasChange]()
    for change in changes:
        if is_of_another(change, known) and change.facts.key not in known.values():
            found.setdefault(change.facts.key, change)
    return list(found.values())


def tell_strays(root: Path, model: str) -> Iterator[str]:
    """What is wrong, a sentence for each model without a number of its own."""
    changes = changes_of(root, model)
    for stray in strays(changes):
        first = next(change for change in changes if change.after == stray.after)
        both = [f"that of {one.who or 'unknown'} of {one.when} ({one.facts.key[:7]})" for one in (first, stray)]
        yield (
            f"{LEDGER} has two histories: version {stray.after} of {model} is two models, {' and '.join(both)}. Clones "
            "with stores of their own gave one number twice"
        )
