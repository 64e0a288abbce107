"""The challenger against a champion: paired on today's test images, without those that the champion was trained on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.compare.formatting import METRICS, counted, gain_of, gap_of, spread_of, value_of
from meltpoint.compare.measured import MOST, count_groups
from meltpoint.compare.results import Answers
from meltpoint.images.views import open_like
from meltpoint.model.card import read_card
from meltpoint.model.trained_on import hash_group, read_trained_on
from meltpoint.params.judging import Compare, GateRules
from meltpoint.registry.gate import Verdict, report_of
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.contract import load_paired, load_registry
from meltpoint.tracking.pipeline_state import PipelineState

FEWEST = 50  # groups that have to be left where a champion was trained on some of today's test images


@dataclass(frozen=True)
class Rescored:
    """The verdict, and whether the challenger was shown to be better, or could not be compared and passes."""

    verdict: Verdict
    better: bool = False


def rescore(state: PipelineState, strategy: str, champion: Path, title: str, rules: GateRules) -> Rescored:
    """The strategy of `state` against the model folder `champion`, which `title` names ("the champion").

    It is the best of all that the comparison listed, on these same images: of K such the best of K equals would pass
    too often, so that each is held to the K-th part of the chance of error (Bonferroni's correction).
    """
    folder, head, metric = state.folder, rules.head, rules.compare.metric
    old, card = open_answerer(champion), read_card(folder / "models" / strategy)
    classes, allowed = card.classes, rules.limits.new_labels
    if old.card.task != card.task:
        words = f"another task than {title}'s: it was {old.card.task} and is {card.task}"
        return Rescored(Verdict(allowed, words), allowed)
    if old.card.classes != classes and not allowed:
        before = old.card.classes
        changed = [name for name in sorted(before.keys() | classes.keys()) if before.get(name) != classes.get(name)]
        differing = "; ".join(
            f"{name} was {before.get(name, 'absent')} and is {classes.get(name, 'absent')}" for name in changed
        )
        return Rescored(Verdict(False, f"other labels than {title}'s: {differing}"))
    if old.card.classes.get(head) != classes[head]:
        return Rescored(Verdict(True, f"{title} knows other classes of {head}, which register.new_labels allows"), True)
    paired = load_paired(card.task)
    table = paired.read(report_of(folder, strategy), {head: classes[head]}, metric)
    again = load_registry(old.card.task).score_again(old, folder, rules.views, metric, rules.batch)
    own = table[table["split"] == "test"]
    views, _ = open_like(old.card.images, rules.views, folder / "data" / "views")
    trained_on, today = read_trained_on(champion), views.samples
    if trained_on is None and old.card.data != views.fingerprint:
        unknown = (
            f"{title} does not say what it was trained on, as models of version 0.1 do not, and the images have been "
            "split anew since: on its own training images it would score too well. To begin anew with this one, give "
            "register.name another name"
        )
        return Rescored(Verdict(False, unknown))
    test = today[today["split"] == "test"]["id"]
    trained = set() if trained_on is None else set(test[seen_by(trained_on, today)].tolist())
    both = sorted((set(own["id"]) - trained) & set(again["id"]))
    tables = [[answered.set_index("id").loc[both]] for answered in (own, again)]
    answers, left_out = paired.pair(tables, head, classes[head]), len(trained & set(own["id"]))
    return judge(answers, head, title, rules.compare, left_out, len(state.strategies))


def seen_by(trained_on: pd.DataFrame, today: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a model has seen each of today's test images, or one of its group, bool (T,), in the order of `today`.

    Args:
        trained_on: what `model.trained_on.read_trained_on` gives of its folder: `sha256` and `group` of train and val.
        today: the whole table of samples of today, with `sha256`, `split` and `group`; T of its rows are in test.

    An image is seen if its bytes were in the model's train or val, if such an image is in its group today, wherever
    that one is now, or if its declared group was in train or val, though all images that it had then are gone.
    """
    known, trained = set(trained_on["sha256"]), set(trained_on["group"].dropna())
    own = np.array([sha256 in known for sha256 in today["sha256"].to_numpy(dtype=object)], dtype=np.bool_)
    codes, names = pd.factorize(today["group"].to_numpy(dtype=object))  # -1 without a group
    beside = np.zeros(len(names) + 1, dtype=np.bool_)  # the last is of those without one
    beside[codes[own]] = True
    if trained:
        beside[:-1] |= [hash_group(name) in trained for name in names]
    beside[-1] = False
    answer: NDArray[np.bool_] = (own | beside[codes])[(today["split"] == "test").to_numpy(dtype=bool)]
    return answer


def judge(answers: Answers, head: str, title: str, settings: Compare, left_out: int = 0, among: int = 1) -> Rescored:
    """Decide from what the challenger and, second, the champion answered.

    It passes if it is shown, one-sided at the asked confidence for the best of so many (`among`), that it loses less
    than the margin.
    """
    without = f"{title} was trained on {counted(left_out, 'test image')} of today's, which are left out"
    groups = count_groups(answers.group)
    if not groups:
        none = f"{without}; none is left" if left_out else f"no test image has a label for {head}"
        return Rescored(Verdict(False, f"{none}, so that nothing can be compared"))
    if left_out and groups < FEWEST:
        few = f"{without}; {groups} images or groups are left, and {FEWEST} are the least to judge by"
        return Rescored(Verdict(False, few))
    found = answers.measure(settings.metric)
    difference = found.difference(0, 1, settings.confidence)
    if difference is None:
        return Rescored(Verdict(False, f"it cannot be judged against {title}: {found.refusal}"))
    metric, level = settings.metric, (1 - settings.confidence) / among
    images = counted(found.images, "test image")
    images += "" if found.groups == found.images else f" in {counted(found.groups, 'group')}"
    shown = settings.margin >= MOST.get(metric, 1.0) or found.shows(0, 1, settings.margin, level)
    why = (
        f"{value_of(metric, float(found.scores[0]))} {METRICS[metric]} on {head} against {title}'s "
        f"{value_of(metric, float(found.scores[1]))} on {images} ({gain_of(metric, difference.value)}, "
        f"{settings.confidence:.0%} interval {spread_of(metric, difference.interval)}): a loss of "
        f"{gap_of(metric, settings.margin)} or more is {'' if shown else 'not '}ruled out"
    )
    why += f" for the best of {among} that were compared" if among > 1 else ""
    why += f"; {without}" if left_out else ""
    return Rescored(Verdict(shown, why), found.shows(0, 1, 0.0, level))
