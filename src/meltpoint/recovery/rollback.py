"""Makes an earlier champion the champion again, after it was loaded and answered as when it was registered."""

from collections.abc import Mapping

from meltpoint.errors import UserError
from meltpoint.registry.golden_answers import check_golden_answers
from meltpoint.registry.ledger import LEDGER, VersionFacts
from meltpoint.registry.promotion import champion_moves, promote, promotion_lock, restore_deleted_aliases
from meltpoint.registry.store_history import known_changes
from meltpoint.registry.version_files import fetch, fetch_package, fingerprint
from meltpoint.registry.versions import CHAMPION, PREVIOUS, aliases, identified, key_of, versions_of
from meltpoint.terminal import say
from meltpoint.tracking.pipeline_state import git_revision
from meltpoint.tracking.store import Store


class RollbackError(UserError, ValueError):
    """There is no such champion to go back to, or its files are not what was registered."""


def rollback(store: Store, to: str | None, why: str | None) -> str:
    """Make version `to`, or the previous champion if None, the champion again; the sentence that says so.

    `why` goes into the ledger. The champion of now becomes `previous`: another rollback restores it.

    Raises:
        RollbackError: there is no earlier champion, `to` was none, or its files have changed.
        VersionError: its files are gone.
        AnswersError, ModelError: it does not answer as it did, or cannot be loaded.
        PromotionError, LeaseError: aliases could not be moved.
    """
    with promotion_lock(store) as held:
        for message in restore_deleted_aliases(store):
            say(message)
        seen = aliases(store)
        champion, target = seen.get(CHAMPION), _choose(store, seen, to)
        if int(target) not in versions_of(store):
            raise RollbackError(
                f"{LEDGER} names version {target} of {store.name}, and MLflow has no such version. What it names "
                "has to be there. Write it again from DVC's outputs: meltpoint doctor --repair"
            )
        say(f"loading version {target} of {store.name} and comparing it with the predictions stored with it")
        changes = known_changes(store, CHAMPION)
        key = key_of(versions_of(store)[int(target)])
        then = [change.facts for change in changes if (change.after, change.facts.key) == (target, key)]
        metric, value = (then[-1].metric, then[-1].value) if then else ("", None)  # it is not scored today
        data = store.client.get_model_version(store.name, target).tags.get("data", "")
        anchor = changes[-1].facts.anchor if changes else None
        facts = VersionFacts(metric, value, data, git_revision(store.root), "", anchor=anchor)
        facts, files = identified(facts, store, target), fetch(f"models:/{store.name}/{target}", store.uri)
        if (found := fingerprint(files)) != facts.key:
            raise RollbackError(
                f"The files of version {target} in {files} are not those that were registered: their digest is "
                f"{found[:12]} and was {facts.key[:12]}. Take another version, or restore its files from a copy of "
                "mlruns/."
            )
        check_golden_answers(files)
        fetch_package(f"models:/{store.name}/{target}", store.uri)
        left = f"rollback from version {champion}" if champion else "rollback"
        promote(held, seen, champion_moves(store, seen, target, f"{left}: {why}" if why else left, facts))
    again = f"; version {champion} is previous, and another rollback restores it" if champion else ""
    return f"{store.name} version {target} is the champion again{again}"


def _choose(store: Store, seen: Mapping[str, str], to: str | None) -> str:
    """The version to go back to: one that has been champion, and is not now."""
    champion = seen.get(CHAMPION)
    former = [change.after for change in known_changes(store, CHAMPION) if change.after]
    earlier = [version for version in dict.fromkeys([*former, seen.get(PREVIOUS)]) if version not in (None, champion)]
    if not earlier:
        raise RollbackError(
            f"There is no earlier champion of {store.name} to go back to: the champion is {champion or 'none'}, and "
            "there was none before. A second version has to pass the gate first: dvc repro"
        )
    if to is not None and to not in earlier:
        raise RollbackError(
            f"Version {to} of {store.name} {'is the champion already' if to == champion else 'was never champion'}. "
            f"Allowed are those that were: {', '.join(earlier)}. See `meltpoint history`."
        )
    return to or seen.get(PREVIOUS) or earlier[-1]
