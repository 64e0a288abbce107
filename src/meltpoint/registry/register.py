"""Logs the pipeline in MLflow, makes a version of the winner, and asks the gate; a second run adds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from meltpoint.comparison import Comparison, read_comparison
from meltpoint.errors import UserError
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.params.judging import GateRules
from meltpoint.progress import track
from meltpoint.registry.exports import log_exports
from meltpoint.registry.gate import Verdict, check_age, check_ceilings, check_floors, check_split
from meltpoint.registry.holdout_reuse import NAMED, Judged, reuse_of, sketch, write_judged
from meltpoint.registry.lease import Lease
from meltpoint.registry.ledger import LEDGER, VersionFacts, utc_now
from meltpoint.registry.promotion import Move, champion_moves, promote, promotion_lock, restore_deleted_aliases
from meltpoint.registry.rescoring import Rescored, rescore
from meltpoint.registry.store_history import known_changes
from meltpoint.registry.version_files import VersionError, fetch, fingerprint
from meltpoint.registry.versions import CANDIDATE, CHAMPION, KEY, REUSE, aliases, create_version, find_version
from meltpoint.terminal import say
from meltpoint.tracking.descriptions import describe_decision
from meltpoint.tracking.log_runs import log_decision, log_strategy
from meltpoint.tracking.pipeline_state import PipelineState, git_revision
from meltpoint.tracking.run_metrics import cost_metrics, read_scores
from meltpoint.tracking.saved_view import save_view
from meltpoint.tracking.store import Store, open_store

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
    """The winner on its way to the gate: its version and name, what it scored and costs."""

    version: str
    strategy: str
    scores: Mapping[str, float]
    costs: Mapping[str, float]
    facts: VersionFacts
    shipped: bool  # the comparison had the evidence for it


def register(state: PipelineState, rules: GateRules) -> Outcome:
    """Act upon reports/compare.json of a pipeline. Safe to call again, and by two at once.

    Raises:
        RegisterError: the stage compare has not run.
        StoreError: MLflow cannot be used.
        GateError: a floor or a ceiling names what was not measured.
        PromotionError, LeaseError: aliases could not be moved.
    """
    path = state.folder / COMPARE
    try:
        decision = read_comparison(path)
    except FileNotFoundError:
        raise RegisterError(f"There is no {path}, which says which strategy won. Run: dvc repro compare") from None
    compared = sorted(row.name for row in decision.strategies)
    if compared != sorted(state.strategies):
        raise RegisterError(
            f"{COMPARE} compares {compared}, and params.yaml has the strategies {sorted(state.strategies)}. "
            "They have to be the same. Run: dvc repro compare"
        )
    store = open_store(state.name)
    with promotion_lock(store) as held:
        for message in restore_deleted_aliases(store):
            say(message)
        shown = track(state.strategies, "showing in MLflow", unit="strategy")
        runs = {name: log_strategy(store, state, name, decision) for name in shown}
        log_decision(store, state, decision)
        save_view(store, decision.main, list(state.params["heads"]))
        challenger = _enter(store, state, decision, runs[decision.winner].info.run_id)
        views = open_views(views_of(read_card(state.folder / "models" / decision.winner), state.folder))
        test = views.samples.iloc[views.rows("test")]["sha256"]
        models = [fingerprint(state.folder / "models" / row.name)[:NAMED] for row in decision.strategies]
        judged = (utc_now(), store.name, len(test), decision.metric, decision.spread, models, sketch(test))
        write_judged(store.root, Judged(*judged))
        reuse = reuse_of(store.root, store.name, challenger.facts.key)
        assert reuse is not None, "it has just been written down"
        store.client.set_model_version_tag(store.name, challenger.version, REUSE, str(reuse))
        return _pass(held, state, challenger, rules)


def _enter(store: Store, state: PipelineState, decision: Comparison, run: str) -> Challenger:
    """The version of the winner; made where its model folder has none yet."""
    strategy, main = decision.winner, decision.main
    scores = read_scores(state.folder, strategy)
    card, key = read_card(state.folder / "models" / strategy), fingerprint(state.folder / "models" / strategy)
    data, git, value = state.data[:12], git_revision(state.folder), scores.get(f"test/{main}")
    tags = {
        KEY: key, "strategy": strategy, "data": data, "git": git, "licence": card.licence,
        "state": state.digest[:12], f"test {main}": "n/a" if value is None else f"{value:.4f}",
    }  # fmt: skip
    version = find_version(store, key)
    if version is None:
        version = create_version(store, state, strategy, run, tags, describe_decision(decision))
    log_exports(store, state, version)
    facts = VersionFacts(main, value, data, git, key, strategy, card.key)
    return Challenger(str(version.version), strategy, scores, cost_metrics(decision, strategy), facts, decision.ships)


def _pass(held: Lease, state: PipelineState, challenger: Challenger, rules: GateRules) -> Outcome:
    """Give the version the alias it deserves."""
    store = held.store
    seen, name = aliases(store), f"{store.name} version {challenger.version} ({challenger.strategy})"
    champion = seen.get(CHAMPION)
    if champion == challenger.version:
        return Outcome(f"{name} is the champion already", challenger.version, CHAMPION)
    verdict, anchor = _judge(store, state, challenger, champion, rules)
    store.client.set_model_version_tag(store.name, challenger.version, "gate", verdict.why)
    if not verdict.passed:
        promote(held, seen, [Move(CANDIDATE, challenger.version, verdict.why, challenger.facts)])
        kept = f"champion stays version {champion}" if champion else "there is no champion yet"
        return Outcome(f"{name} is a candidate, {kept}: {verdict.why}", challenger.version, CANDIDATE)
    facts = replace(challenger.facts, anchor=anchor)
    promote(held, seen, champion_moves(store, seen, challenger.version, verdict.why, facts))
    return Outcome(f"{name} is the champion: {verdict.why}", challenger.version, CHAMPION)


def _judge(
    store: Store, state: PipelineState, challenger: Challenger, champion: str | None, rules: GateRules
) -> tuple[Verdict, str | None]:
    """What the gate says, the quick questions first; and the best champion so far, should the challenger pass."""
    strategy, settings = challenger.strategy, rules.limits
    line = next(reversed(known_changes(store, CHAMPION)), None)
    verdicts = [
        check_split(state.folder, strategy),
        check_floors(challenger.scores, settings.floors),
        check_ceilings(challenger.costs, settings.ceilings),
    ]
    if champion:
        verdicts.append(check_age(state.folder, strategy, champion, line))
    refused = next((verdict for verdict in verdicts if not verdict.passed), None)
    if refused:
        return refused, None
    limits = "every floor and ceiling holds" if settings.ceilings else "every floor holds"
    if champion is None:
        why = "the first version to pass"
        if line and line.after:
            why = f"compared with nobody: the champion of {LEDGER}, version {line.after}, is no longer in MLflow"
        if not challenger.shipped:
            why += ", as there is no other: the comparison found not enough evidence"
        return Verdict(True, f"{why}; {limits}"), challenger.version
    if not challenger.shipped:
        why = "the comparison found not enough evidence for it, and a strategy that only leads replaces no champion"
        return Verdict(False, why), None
    anchor = (line.facts.anchor if line else None) or champion
    return _contest(store, state, challenger, champion, anchor, rules, limits)


def _contest(
    store: Store,
    state: PipelineState,
    challenger: Challenger,
    champion: str,
    anchor: str,
    rules: GateRules,
    limits: str,
) -> tuple[Verdict, str | None]:
    """Against the champion, and against the best champion so far: else each may be a little worse than the one before.

    It is the best from then on only if it was shown to be better: on fresh images chance alone lifts one of two equals.
    That loss in small steps is known from trials of medicines: D'Agostino et al., Non-inferiority trials, Statistics in
    Medicine 22 (2003).
    """

    def against(version: str, title: str) -> Rescored:
        files = fetch(f"models:/{store.name}/{version}", store.uri)
        return rescore(state, challenger.strategy, files, title, rules)

    found = against(champion, "the champion")
    if not found.verdict.passed:
        return found.verdict, None
    why, best = found.verdict.why, champion
    if anchor not in (champion, challenger.version):
        try:
            found, best = against(anchor, f"version {anchor}"), anchor
        except VersionError:
            why += f"; version {anchor}, the best champion so far, is gone and was not scored again"
        else:
            why += f"; against the best champion so far: {found.verdict.why}"
            if not found.verdict.passed:
                return Verdict(False, why), None
    return Verdict(True, f"{why}; {limits}"), challenger.version if found.better else best
