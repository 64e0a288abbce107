"""Who may be champion: not worse than the champion on today's test images, above every floor, with the same labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.errors import UserError
from meltpoint.evaluate.bootstrap import resample
from meltpoint.evaluate.words import METRICS, percent, points, spread
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card
from meltpoint.params.judging import Compare
from meltpoint.params.read import Params
from meltpoint.predict.predictor import Predictor, open_predictor
from meltpoint.progress import track
from meltpoint.tables import answer_column, label_column, read_predictions

Ints = NDArray[np.int64]


class GateError(UserError, ValueError):
    """A floor names a score that does not exist."""


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may be champion, and why."""

    passed: bool
    why: str


def check_floors(scores: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    """Whether every floor ("head/metric") holds on test; `scores` as `scores.read_scores` names them.

    Raises:
        GateError: a floor names something that was not measured.
    """
    known = sorted(key.removeprefix("test/") for key in scores if key.startswith("test/"))
    for name in floors:
        if f"test/{name}" not in scores:
            raise GateError(
                f"register.floors names {name!r}, which was not measured on test. Measured are {', '.join(known)}. "
                "Take one of them in params.yaml."
            )
    found = {name: scores[f"test/{name}"] for name in floors}
    low = [name for name in floors if found[name] < floors[name]]
    told = [f"{name} is {found[name]:.3f} on test, below its floor {floors[name]:g}" for name in low]
    return Verdict(not low, "; ".join(told) or "every floor holds")


def check_champion(folder: Path, strategy: str, champion: Path, params: Params) -> Verdict:
    """The strategy of `folder` against the model folder `champion`, on the test images of today."""
    head, old = params.main_head, open_predictor(champion)
    classes = read_card(folder / "models" / strategy).classes
    if old.card.classes != classes and not params.register_.new_labels:
        return Verdict(False, f"other labels than the champion's: {differing(old.card.classes, classes)}")
    if old.card.classes.get(head) != classes[head]:
        return Verdict(True, f"the champion knows other classes of {head}, which register.new_labels allows")
    said = read_predictions(folder / "reports" / "strategies" / strategy / "predictions.parquet", classes)
    said = said[(said["split"] == "test") & said[label_column(head)].notna()]
    both = said.merge(score_again(old, folder, params), on="id", suffixes=("", ".champion"), validate="one_to_one")
    columns = (label_column(head), answer_column(head), f"{answer_column(head)}.champion")
    true, new, before = (_ids(both[column], classes[head]) for column in columns)
    return judge(true, new, before, len(classes[head]), head, params.compare, params.seed)


def score_again(champion: Predictor, folder: Path, params: Params) -> pd.DataFrame:
    """What the champion says of today's test images, with its own preprocessing: `id` and, per head, its answer.

    It answers as its card says: by its own thresholds, and by its own tree.
    Pictures that the champion refuses (it may have a lower limit of pixels) are left out.
    """
    views, batch = open_views(folder / "data" / "views"), params.evaluate.batch
    samples = views.samples.iloc[views.rows("test")]
    if champion.card.images == params.images:
        said = champion.predict_views(views, ("test",), batch)
    else:
        paths = [folder / "data" / "raw" / path for path in samples["path"]]
        said = champion.predict_images(track(paths, "scoring the champion"), batch)
        said = said.assign(id=samples["id"].to_numpy())[said["error"].isna()]
    return pd.DataFrame(said[["id", *map(answer_column, champion.card.classes)]])


def _ids(names: "pd.Series[str]", classes: list[str]) -> Ints:
    return pd.Categorical(names, categories=classes).codes.astype(np.int64)


def judge(true: Ints, new: Ints, old: Ints, n_classes: int, head: str, settings: Compare, seed: int) -> Verdict:
    """Class ids (N,): the truth, what the challenger says, what the champion says."""
    if not len(true):
        return Verdict(False, f"no test image has a label for {head}, so that nothing can be compared")
    found = resample(true, np.stack([new, old]), n_classes, settings.metric, settings.resamples, seed)
    gain = found.difference(0, 1, settings.confidence)
    words = (
        f"{percent(float(found.scores[0]))} {METRICS[settings.metric]} on {head} against the champion's "
        f"{percent(float(found.scores[1]))} on {len(true):,} test images ({points(gain.value)} points, "
        f"{settings.confidence:.0%} interval {spread(gain.interval)}; the margin is {points(settings.margin)})"
    )
    same = gain.interval.low == gain.interval.high == 0
    return Verdict(same or gain.interval.low > -settings.margin, words)


def differing(old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> str:
    """The heads whose classes are not the same."""
    changed = [head for head in sorted(old.keys() | new.keys()) if old.get(head) != new.get(head)]
    return "; ".join(f"{head} was {old.get(head, 'absent')} and is {new.get(head, 'absent')}" for head in changed)
