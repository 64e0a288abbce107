"""The exports of a winner are asked for the same images as it was, and timed beside it: what an offer rests on."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from meltpoint.arrays import Floats, Ints
from meltpoint.compare.exports import Answered, judge_exports, no_exports
from meltpoint.export.folder import check_made_of
from meltpoint.export.winner import Winner, fingerprint_of
from meltpoint.files import whole_folder, write_json
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.offers import Costs, Offers
from meltpoint.params.judging import Compare, Evaluate
from meltpoint.predict.predictor import read_views
from meltpoint.predict.speed import measure_speeds
from meltpoint.progress import megabytes
from meltpoint.shards import open_shards
from meltpoint.tables import write_predictions
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.tasks.contract import load_metrics, load_paired
from meltpoint.tasks.exported import open_exported


def offer(
    winner: Winner, formats: Collection[str], folders: tuple[Path, Path, Path], raw: Path, evaluate: Evaluate,
    compare: Compare,
) -> Offers:  # fmt: skip
    """Predict val and test with the winner and each export, time them in turn in this process, and judge the exports.

    An export that resizes is asked for the pictures as they were decoded, from the shards in `raw`, the others for
    their views. `folders` are those of models, of exports, and for the predictions.parquet and metrics.json of each
    export.

    Raises:
        ExportError: an export is damaged, or was made of another model.
    """
    models, exports, reports = folders
    model = models / winner.strategy
    card = read_card(model)
    with whole_folder(reports) as new:
        write_json(new / "formats.json", list(formats))  # DVC warns of an empty folder
        if not formats:
            return no_exports(winner.strategy, winner.fingerprint, card.main_head, compare)
        for name in formats:
            check_made_of(exports / name, winner)
        answerers = {winner.strategy: open_answerer(model)}
        answerers |= {name: open_exported(exports / name) for name in formats}
        views = open_views(views_of(card))
        if any(one.predictor.resizes for one in answerers.values()):
            views = replace(views, read_file=open_shards(raw).read)
        answered = _answer(answerers, views, evaluate)
        for name in formats:
            write_predictions(answered[name].predictions, new / name / "predictions.parquet")
            write_json(new / name / "metrics.json", answered[name].metrics)
        return judge_exports(
            winner.strategy, answered[winner.strategy], {name: answered[name] for name in formats}, card.main_head,
            card.classes, load_paired(card.task), compare,
        )  # fmt: skip


def _answer(answerers: Mapping[str, Answerer], views: Views, settings: Evaluate) -> dict[str, Answered]:
    """What each model answers and costs; the first is the winner."""
    card = next(iter(answerers.values())).card
    judge = load_metrics(card.task).judge
    val, test = views.rows("val"), views.rows("test")
    groups = views.samples["group"].iloc[test].reset_index(drop=True)
    agreements, apart = _look(answerers, views, np.concatenate([val, test]), card.main_head, settings.batch)
    speeds = measure_speeds(answerers, settings, stage="offer")["strategies"]
    answered = {}
    for name, answerer in answerers.items():
        predictions = answerer.predict_views(views, ("val", "test"), settings.batch)
        folder = answerer.predictor.folder
        costs = Costs(
            megabytes=round(megabytes(folder), 3),
            latency_p50_ms=speeds[name]["latency_p50_ms"],
            latency_p95_ms=speeds[name]["latency_p95_ms"],
            throughput_per_second=speeds[name]["throughput_per_second"],
        )
        metrics = judge(predictions, answerer.card, settings).metrics
        answered[name] = Answered(
            fingerprint_of(folder), predictions, metrics, costs, agreements[name][len(val) :], groups, apart[name]
        )
    return answered


def _look(
    answerers: Mapping[str, Answerer], views: Views, rows: Ints, head: str, batch: int
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Beside the first model: how much of each answer (N,) of the head is its own, of tags and pixels a share.

    And how far the probabilities of all heads are from its own at most.
    """
    shares: dict[str, list[Floats]] = {name: [] for name in answerers}
    apart = dict.fromkeys(answerers, 0.0)
    size = min(answerer.fit_batch(batch) for answerer in answerers.values())
    resizing = [name for name, answerer in answerers.items() if answerer.predictor.resizes]
    whole = {name: read_views(views, rows, size, whole=True) for name in resizing}
    for pixels in read_views(views, rows, size):
        given = {name: next(whole[name]) if name in whole else pixels for name in answerers}
        found = {name: answerer.probabilities(given[name]) for name, answerer in answerers.items()}
        said = {name: answerer.decide(found[name])[head] for name, answerer in answerers.items()}
        first = next(iter(answerers))
        for name, own in said.items():
            assert own.shape == said[first].shape, f"{name} gives other answers than were asked for"
            shares[name].append((own == said[first]).reshape(len(own), -1).mean(1))
            gaps = [float(np.abs(found[name][key] - wanted).max()) for key, wanted in found[first].items()]
            apart[name] = max(apart[name], *gaps)
    of_all = {name: np.concatenate(own) for name, own in shares.items()}
    assert all(len(own) == len(rows) for own in of_all.values()), "fewer images were read than were asked for"
    return of_all, apart
