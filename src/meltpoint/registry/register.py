"""Shows the pipeline in MLflow, makes a version of the winner, and passes it through the gate; again adds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.model.card import read_card
from meltpoint.params.read import Params
from meltpoint.progress import say, track
from meltpoint.registry.gate import Verdict, check_age, check_ceilings, check_champion, check_floors, check_split
from meltpoint.registry.ledger import LEDGER, holder
from meltpoint.registry.package import fingerprint
from meltpoint.registry.pages import save_view
from meltpoint.registry.promotion import Move, one_act, promote, put_back, take_place
from meltpoint.registry.scores import read_costs, read_scores
from meltpoint.registry.show import show_decision, show_strategy
from meltpoint.registry.state import State, git_revision, read_state
from meltpoint.registry.store import Store, open_store
from meltpoint.registry.versions import (
    CANDIDATE,
    CHAMPION,
    KEY,
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
    """The winner on its way to the gate: its version and name, what it scored and costs, its note in the ledger."""

    version: str
    strategy: str
    scores: Mapping[str, float]
    costs: Mapping[str, float]
    note: Mapping[str, Any]  # the fields of a `Change` that do not depend on the alias


def register(params: Params, folder: Path = Path()) -> Outcome:
    """Act upon reports/compare.json of the pipeline in `folder`. Safe to call again, and by two at once.

    Raises:
        RegisterError, StateError: a stage before has not run.
        StoreError: MLflow cannot be used.
        GateError: a floor or a ceiling names what was not measured.
        PromotionError: aliases could not be moved.
    """
    decision, state = _read_decision(folder, params), read_state(params, folder)
    store = open_store(state.name)
    main = f"{params.main_head}/{params.compare.metric}"
    with one_act(store):
        for told in put_back(store):
            say(told)
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
    made_of = {"key": key, "strategy": strategy, "trained": card.key}
    note = {"metric": main, "value": value, "data": data, "git": git, **made_of}
    return Challenger(str(version.version), strategy, scores, read_costs(decision, strategy), note)


def _pass(store: Store, state: State, challenger: Challenger, params: Params) -> Outcome:
    """Give the version the alias it deserves."""
    seen, name = aliases(store), f"{store.name} version {challenger.version} ({challenger.strategy})"
    champion = seen.get(CHAMPION)
    if champion == challenger.version:
        return Outcome(f"{name} is the champion already", challenger.version, CHAMPION)
    verdict = _judge(store, state, challenger, champion, params)
    store.client.set_model_version_tag(store.name, challenger.version, "gate", verdict.why)
    if not verdict.passed:
        promote(store, seen, [Move(CANDIDATE, challenger.version, verdict.why, challenger.note)])
        kept = f"champion stays version {champion}" if champion else "there is no champion yet"
        return Outcome(f"{name} is a candidate, {kept}: {verdict.why}", challenger.version, CANDIDATE)
    promote(store, seen, take_place(store, seen, challenger.version, verdict.why, challenger.note))
    return Outcome(f"{name} is the champion: {verdict.why}", challenger.version, CHAMPION)


def _judge(store: Store, state: State, challenger: Challenger, champion: str | None, params: Params) -> Verdict:
    """What the gate says; the quick questions first."""
    strategy, settings = challenger.strategy, params.register_
    asked = [
        check_split(state.folder, strategy),
        check_floors(challenger.scores, settings.floors),
        check_ceilings(challenger.costs, settings.ceilings),
    ]
    if champion:
        asked.append(check_age(state.folder, strategy, champion, holder(store.root, store.name, CHAMPION)))
    refused = next((verdict for verdict in asked if not verdict.passed), None)
    if refused:
        return refused
    limits = "every floor and ceiling holds" if settings.ceilings else "every floor holds"
    if champion is None:
        return Verdict(True, f"{_reason_without(store)}; {limits}")
    files = fetch(f"models:/{store.name}/{champion}", store.uri)
    against = check_champion(state.folder, strategy, files, params)
    return Verdict(against.passed, f"{against.why}; {limits}" if against.passed else against.why)


def _reason_without(store: Store) -> str:
    """Why there is no champion to compare with."""
    line = holder(store.root, store.name, CHAMPION)
    if line is None or line["to"] is None:
        return "the first version to pass"
    return f"compared with nobody: the champion of {LEDGER}, version {line['to']}, is no longer in MLflow"
