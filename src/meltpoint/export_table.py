"""All strategies of one params file in one export format, side by side: what each answers, how fast, how large."""

from pathlib import Path
from typing import Any

import numpy as np

from meltpoint.compare.formatting import markdown
from meltpoint.errors import UserError
from meltpoint.export.folder import read_record, write_export
from meltpoint.export.winner import fingerprint_of, is_export
from meltpoint.images.views import Views, open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.params.exports import Export
from meltpoint.params.read import Params
from meltpoint.predict.speed import measure_speeds
from meltpoint.progress import megabytes
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_metrics, load_objective
from meltpoint.tasks.exported import open_exported
from meltpoint.terminal import say

FOLDER = Path(".variants") / "exports"
TABLE = "table.md"


class ExportTableError(UserError, RuntimeError):
    """The strategies cannot be put into one table."""


def tabulate_exports(name: str, params: Params, root: Path) -> str:
    """Write the model of every strategy in the format `name`, and put their scores on test into a Markdown table.

    Precision and recall of each head are means over its classes, a class without an answer or an image left out;
    latencies of all are measured in turn. What has been written of the same model is not written again.

    Raises:
        ExportTableError: params.yaml has no such row under `export`, or a strategy is not trained.
        ExportError: a model cannot be written in this format.
    """
    if name not in params.export.asked:
        raise ExportTableError(
            f"params.yaml has no row {name!r} under export; it has {list(params.export.asked) or 'none'}. Add it."
        )
    answerers: dict[str, Answerer] = {}
    scores: dict[str, Any] = {}
    for strategy in params.strategies:
        if not (root / "models" / strategy).exists():
            raise ExportTableError(f"models/{strategy} is not there. Train all strategies first: dvc repro compare")
        say(f"--- {strategy}")
        views = open_views(views_of(read_card(root / "models" / strategy), root))
        answerer = _write(name, params.export.asked[name], root, strategy, views)
        predictions = answerer.predict_views(views, ("val", "test"), params.evaluate.batch)
        judgement = load_metrics(answerer.card.task).judge(predictions, answerer.card, params.evaluate)
        answerers[strategy], scores[strategy] = answerer, judgement.metrics["test"]
    return _tabulate(answerers, scores, measure_speeds(answerers, params.evaluate)["strategies"])


def _write(name: str, settings: Export, root: Path, strategy: str, views: Views) -> Answerer:
    """The export of a strategy's model, made unless it is there."""
    model, folder = root / "models" / strategy, root / FOLDER / name / strategy
    fingerprint = fingerprint_of(model)
    if is_export(folder):
        record, used = read_record(folder)
        if (record.winner, used) == (fingerprint, settings):
            return open_exported(folder)
    decode = load_objective(read_card(model).task).decode
    write_export(model, fingerprint, name, settings, decode, views, folder)
    return open_exported(folder)


def _tabulate(answerers: dict[str, Answerer], scores: dict[str, Any], speeds: dict[str, Any]) -> str:
    heads = list(dict.fromkeys(head for own in scores.values() for head in own))
    titles = ["strategy", "pixels", "heads"]
    titles += [f"{markdown(head)} {score}" for head in heads for score in ("precision", "recall")]
    lines = [f"| {' | '.join([*titles, 'latency ms', 'MB'])} |", f"|---|{'---:|' * (len(titles) + 1)}"]
    for strategy, answerer in answerers.items():
        cells = [markdown(strategy), str(answerer.card.images.side), str(len(answerer.card.heads))]
        for head in heads:
            classes = scores[strategy].get(head, {}).get("classes", {}).values()
            for score in ("precision", "recall"):
                known = [one[score] for one in classes if one[score] is not None]
                cells.append(f"{np.mean(known):.1%}" if known else "–")
        cells += [f"{speeds[strategy]['latency_p50_ms']:.1f}", f"{megabytes(answerer.predictor.folder):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Scores are of the test images, means over the classes of a head.", ""])
