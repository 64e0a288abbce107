"""Shows the pipeline in MLflow, makes a version of the winner, and passes it through the gate; again adds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.model.card import read_card
from meltpoint.params.read import Params
from meltpoint.progress import track
from meltpoint.registry.gate import Verdict, check_champion, check_floors
from meltpoint.registry.ledger import Change, append
from meltpoint.registry.package import fingerprint
from meltpoint.registry.pages import save_view
from meltpoint.registry.scores import read_scores
from meltpoint.registry.show import show_decision, show_strategy
from meltpoint.registry.state import State, git_revision, read_state
from meltpoint.registry.store import Store, open_store
from meltpoint.registry.versions import (
    CANDIDATE,
    CHAMPION,
    KEY,
    PREVIOUS,
    aliases,
    create_version,
    fetch,
    find_version,
)
from meltpoint.registry.words import describe_decision

COMPARE = Path("reports/compare.json")


class RegisterError(UserError, RuntimeError):
    """There is no decision to act upon."""


@dataclass(frozen=True)
class Outcome:
    """What became of the winner."""

    sentence: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Challenger:
    """The winner on its way to the gate: its version, its name, what it scored, and what the ledger says of it."""

    version: str
    strategy: str
    scores: Mapping[str, float]
    note: Mapping[str, Any]  # the fields of a `Change` that do not depend on the alias


def register(params: Params, folder: Path = Path()) -> Outcome:
    """Act upon reports/compare.json of the pipeline in `folder`. Safe to call again, and by two at once.

    Raises:
        RegisterError, StateError: a stage before has not run.
        StoreError: MLflow cannot be used.
        GateError: a floor names a score that does not exist.
    """
    decision, state = _read_decision(folder, params), read_state(params, folder)
    store = open_store(state.name)
    main = f"{params.main_head}/{params.compare.metric}"
    with store.alone("register"):
        shown = track(state.strategies, "showing in MLflow", unit="strategy")
        runs = {name: show_strategy(store, state, name, decision, params.evaluate.worst) for name in shown}
        show_decision(store, state, decision, main)
        save_view(store, main, list(params.heads))
        challenger = _enter(store, state, decision, main, runs[decision["winner"]].info.run_id)
        return _pass(store, state, challenger, params)


def _read_decision(folder: Path, params: Params) -> dict[str, Any]:
    try:
        decision: dict[str, Any] = read_json(folder / COMPARE)
    except FileNotFoundError:
        raise RegisterError(f"There is no {folder / COMPARE}, which says who won. Run: dvc repro compare") from None
    compared = sorted(row["name"] for row in decision["strategies"])
    if compared != sorted(params.strategies):
        raise RegisterError(
            f"{COMPARE} compares {compared}, and params.yaml has the strategies {sorted(params.strategies)}. "
            "They have to be the same. Run: dvc repro compare"
        )
    return decision


def _enter(store: Store, state: State, decision: Mapping[str, Any], main: str, run: str) -> Challenger:
    """The version of the winner; made where its model folder has none yet."""
    strategy, scores = decision["winner"], read_scores(state.folder, decision["winner"])
    card, key = read_card(state.folder / "models" / strategy), fingerprint(state.folder / "models" / strategy)
    data, git, value = state.data[:12], git_revision(state.folder), scores.get(f"test/{main}")
    tags = {
        KEY: key, "strategy": strategy, "data": data, "git": git, "licence": card.licence,
        "state": state.digest[:12], f"test {main}": "n/a" if value is None else f"{value:.4f}",
    }  # fmt: skip
    version = find_version(store, key)
    if version is None:
        version = create_version(store, state, strategy, run, tags, describe_decision(decision, main))
    note = {"metric": main, "value": value, "data": data, "git": git, "key": key}
    return Challenger(str(version.version), strategy, scores, note)


def _pass(store: Store, state: State, challenger: Challenger, params: Params) -> Outcome:
    """Give the version the alias it deserves."""
    champion, name = aliases(store).get(CHAMPION), f"{store.name} version {challenger.version} ({challenger.strategy})"
    if champion == challenger.version:
        return Outcome(f"{name} is the champion already", challenger.version, CHAMPION)
    verdict = _judge(store, state, challenger, champion, params)
    store.client.set_model_version_tag(store.name, challenger.version, "gate", verdict.why)
    if not verdict.passed:
        _move(store, CANDIDATE, challenger.version, verdict.why, challenger)
        kept = f"champion stays version {champion}" if champion else "there is no champion yet"
        return Outcome(f"{name} is a candidate, {kept}: {verdict.why}", challenger.version, CANDIDATE)
    _move(store, CHAMPION, challenger.version, verdict.why, challenger)
    if champion:
        _move(store, PREVIOUS, champion, f"version {challenger.version} took its place", challenger)
    if aliases(store).get(CANDIDATE) == challenger.version:
        _move(store, CANDIDATE, None, "it is the champion now", challenger)
    return Outcome(f"{name} is the champion: {verdict.why}", challenger.version, CHAMPION)


def _judge(store: Store, state: State, challenger: Challenger, champion: str | None, params: Params) -> Verdict:
    floors = check_floors(challenger.scores, params.register_.floors)
    if not floors.passed:
        return floors
    if champion is None:
        return Verdict(True, f"the first version to pass; {floors.why}")
    files = fetch(f"models:/{store.name}/{champion}", store.uri)
    against = check_champion(state.folder, challenger.strategy, files, params)
    return Verdict(against.passed, f"{against.why}; {floors.why}" if against.passed else against.why)


def _move(store: Store, alias: str, version: str | None, why: str, challenger: Challenger) -> None:
    """Let an alias point to `version`, or nowhere, and write it down; nothing happens if it does already."""
    before = aliases(store).get(alias)
    if before == version:
        return
    if version is None:
        store.client.delete_registered_model_alias(store.name, alias)
    else:
        store.client.set_registered_model_alias(store.name, alias, version)
    note = dict(challenger.note)
    if version not in (None, challenger.version):
        key = store.client.get_model_version(store.name, version).tags.get(KEY, "")
        note |= {"key": key, "value": None}  # it was not scored today under this name
    append(store.root, Change(store.name, alias, before, version, why, **note))
