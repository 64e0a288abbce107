from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from meltpoint.images.views import Views
from meltpoint.tasks.thresholds import one_of_each
from meltpoint.train.calibration import Calibration, calibrate
from meltpoint.train.problem import Problem, build_problem

PARENTS = {"red": "light", "green": "dark", "blue": "dark"}
Change = Callable[[dict[str, Any]], None]
NOTHING = Calibration(None, None)
RECALL, PRECISION = ({"metric": metric, "at_least": 0.5} for metric in ("recall", "precision"))


class Net(nn.Module):
    """Says of each image what it is told to, whatever the image: rows of logits in the order of val."""

    def __init__(self, logits: dict[str, list[list[float]]]) -> None:
        super().__init__()
        self.logits, self.seen = {head: torch.tensor(rows) for head, rows in logits.items()}, 0

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = slice(self.seen, self.seen + len(images))
        self.seen += len(images)
        return {head: values[rows] for head, values in self.logits.items()}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meltpoint.train.calibration.fuse", lambda model: model)
    monkeypatch.setattr("meltpoint.train.calibration.BATCH", 7)  # several batches
    monkeypatch.setattr("meltpoint.train.calibration.infer", lambda forward, images, device: forward(images))


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def views_of(scene: Any, shades: list[str | None]) -> Views:
    """The scene with other shades on val."""
    views = scene.inputs.views
    samples = views.samples.copy()
    samples.loc[views.rows("val"), "shade"] = shades
    return replace(views, samples=samples)


def learn(
    scene: Any, change: Change, shades: list[str | None], said: list[float], **others: list[list[float]]
) -> dict[str, Calibration]:
    views, params = views_of(scene, shades), scene.params(change)
    problem: Problem = build_problem(views, params.recipe("finetune"))
    rows = [[0.0] * 3 for _ in said]
    model: Any = Net({"shade": [[logit(value)] for value in said], "colour": rows, **others})
    return calibrate(model, problem, views)


def wishing(**fields: Any) -> Change:
    return lambda raw: raw["heads"]["shade"].update(fields)


SAID = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02]
LIGHT: list[str | None] = ["light"] * 8 + ["dark", "light", "dark", "light"] + ["dark"] * 7  # 10 light of 19


def test_nothing_wished_nothing_run(scene: Any) -> None:
    params = scene.params()
    problem = build_problem(scene.inputs.views, params.recipe("finetune"))
    broken: Any = None
    assert calibrate(broken, problem, scene.inputs.views) == {"shade": NOTHING, "colour": NOTHING}


def test_a_recall_is_kept_with_the_highest_threshold(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """9 of 10 show that it is half at least: 0.5**10 * 11 = 0.011; 8 would do so with 0.055."""
    learnt = learn(scene, wishing(threshold=RECALL), LIGHT, SAID)
    assert learnt["shade"].threshold == pytest.approx(0.425, abs=2e-4)
    assert learnt["colour"] == NOTHING
    output = capsys.readouterr().out
    assert (
        "shade answers 'light' from a probability of 0.425 on: with 95% confidence a recall of 0.5 at least" in output
    )
    assert "On val it is 0.900, of 10 images of 'light'; 11.1% of 'dark' are called 'light' too, and 90.0%" in output


def test_a_precision_is_kept_with_the_lowest_threshold(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """10 of 13 show that half at least are right, 10 of 14 do not."""
    assert learn(scene, wishing(threshold=PRECISION), LIGHT, SAID)["shade"].threshold == pytest.approx(0.275, abs=2e-4)
    assert "On val it is 0.769, of 13 that are called so; 100.0% of 'light' are found" in capsys.readouterr().out


def test_a_recall_that_costs_most_of_the_other_class_is_told(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    learn(scene, wishing(threshold=RECALL), LIGHT[::-1], SAID)
    assert "warning: this recall of 'light' costs most of 'dark'" in capsys.readouterr().out


@pytest.mark.parametrize("wish", [0.75, 0.95])
def test_too_few_images_promise_no_recall(scene: Any, capsys: pytest.CaptureFixture[str], wish: float) -> None:
    """10 of 10 show 0.74 at the most. The more probable class is the answer, however low the least of them."""
    learnt = learn(scene, wishing(threshold={"metric": "recall", "at_least": wish}), LIGHT, SAID)
    assert learnt["shade"] == NOTHING
    output = capsys.readouterr().out
    assert f"warning: heads.shade.threshold asks for a recall of {wish:g}, and val has 10 images of 'light'" in output
    assert f"can be promised from {11 if wish == 0.75 else 59} on; 10 can promise 0.74." in output
    assert "The more probable class is the answer." in output


def test_a_precision_that_val_does_not_show_is_told(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    wish = {"metric": "precision", "at_least": 0.7}
    assert learn(scene, wishing(threshold=wish), LIGHT, SAID)["shade"] == NOTHING
    output = capsys.readouterr().out
    assert "warning: heads.shade.threshold asks for a precision of 0.7, which val does not show" in output
    assert "takes 9 images that are called 'light', all of them rightly" in output
    assert "Of the 9 that look most like it 0.889 are" in output


def test_without_an_example_there_is_no_threshold(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    learnt = learn(scene, wishing(threshold=RECALL), ["dark"] * 19, SAID)
    assert learnt["shade"] == NOTHING
    assert "and val has no image of 'light'" in capsys.readouterr().out


def test_rows_without_a_label_count_for_nothing(scene: Any) -> None:
    """9 of 9 show what 8 of 9 do: 0.5**9 * 10 = 0.0195."""
    learnt = learn(scene, wishing(threshold=RECALL), [*LIGHT[:9], None, *LIGHT[10:]], SAID)
    assert learnt["shade"].threshold == pytest.approx(0.575, abs=2e-4)


@pytest.mark.parametrize("wish", [RECALL, PRECISION])
def test_a_group_of_images_counts_once(scene: Any, capsys: pytest.CaptureFixture[str], wish: dict[str, Any]) -> None:
    """Ten photographs of one light thing are one light thing."""
    views = views_of(scene, LIGHT)
    samples, val = views.samples.copy(), views.rows("val")
    light = samples["shade"].iloc[val] == "light"
    samples.loc[samples.index[val[light.to_numpy()]], "group"] = "one thing"
    views, params = replace(views, samples=samples), scene.params(wishing(threshold=wish))
    model: Any = Net({"shade": [[logit(value)] for value in SAID], "colour": [[0.0] * 3 for _ in SAID]})
    assert calibrate(model, build_problem(views, params.recipe("finetune")), views)["shade"] == NOTHING
    assert ("val has 1 image of 'light'" in capsys.readouterr().out) == (wish is RECALL)


def test_one_of_each_group_is_taken_at_random() -> None:
    groups = np.array(["a", "b", "b", "c"] * 30, dtype=object)
    groups[3::4] = [f"c{number}" for number in range(30)]
    kept = one_of_each(groups)
    assert sorted(groups[kept]) == sorted({*groups})
    assert (np.diff(kept) > 0).all()
    assert kept.tolist() == one_of_each(groups).tolist()
    assert {one_of_each(np.array(["x"] * size, dtype=object))[0] for size in range(2, 30)} - {0}, "not the first"


def test_unknown_are_those_less_sure_than_the_right_ones(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By confidence the first error is 0.35, which says dark with 0.65; 12 right answers before it show 0.75."""
    learnt = learn(scene, wishing(unknown=0.75), LIGHT, SAID)
    assert learnt["shade"].unknown_below == pytest.approx(0.675, abs=2e-4)
    assert "shade is unknown below" in capsys.readouterr().out


def test_the_confidence_is_that_of_the_answer_by_the_threshold(scene: Any) -> None:
    wishes = wishing(unknown=0.75, threshold={"metric": "recall", "at_least": 0.7})
    learnt = learn(scene, wishes, LIGHT, SAID)["shade"]
    assert learnt.threshold == pytest.approx(0.325, abs=2e-4)
    assert learnt.unknown_below == pytest.approx(0.575, abs=2e-4)  # 0.55 says light now, and is wrong


def test_never_right_enough_is_told(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    turned: list[str | None] = ["dark" if shade == "light" else "light" for shade in LIGHT]
    assert learn(scene, wishing(unknown=0.7), turned, SAID)["shade"] == NOTHING
    output = capsys.readouterr().out
    assert "warning: heads.shade.unknown asks for 0.7 of the answers to be right, which val does not show" in output
    assert "No answer is called unknown" in output


def test_a_set_is_learnt_from_the_true_classes(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """17 of 19 show 0.7, 16 do not. Of the true classes one has 0.35, two 0.45, and equals pass together."""
    learnt = learn(scene, wishing(unknown={"coverage": 0.7}), LIGHT, SAID)
    assert learnt["shade"].unknown_below == pytest.approx(0.4, abs=2e-4)
    assert "hold the true one, with 95% confidence, in 0.7 of new images at least" in capsys.readouterr().out


def test_too_few_images_promise_no_coverage(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert learn(scene, wishing(unknown={"coverage": 0.9}), LIGHT, SAID)["shade"] == NOTHING
    output = capsys.readouterr().out
    assert "warning: heads.shade.unknown asks for a coverage of 0.9, and val has 19 images" in output
    assert "can be promised from 29 on; 19 can promise 0.85." in output


def test_heads_in_a_tree_are_judged_by_their_path(scene: Any) -> None:
    """The sure level corrects the other, and shares its certainty with it."""

    def planted(raw: dict[str, Any]) -> None:
        raw["task"]["tree"] = {"levels": ["shade", "colour"], "parents": {"colour": PARENTS}}
        raw["heads"]["shade"]["unknown"] = raw["heads"]["colour"]["unknown"] = 0.8

    views, params = scene.inputs.views, scene.params(planted)
    colours = views.samples["colour"].iloc[views.rows("val")].tolist()
    views = views_of(scene, [PARENTS[colour] for colour in colours])
    says = [[4.0 * (colour == name) for name in ("red", "green", "blue")] for colour in colours]
    model: Any = Net({"shade": [[0.1 if PARENTS[colour] == "dark" else -0.1] for colour in colours], "colour": says})
    learnt = calibrate(model, build_problem(views, params.recipe("finetune")), views)
    # alone the shade would be wrong each time, and no share of its answers right
    red, sure = 1 / (1 + np.exp(0.1)), np.exp(4.0)
    least = red * sure / (red * sure + red * 1 + (1 - red) * 1)
    other = red * sure / (red * sure + 2 * (1 - red))
    assert learnt["colour"].unknown_below == pytest.approx(min(least, other), abs=2e-4)
    assert learnt["shade"].unknown_below is not None
    assert learnt["shade"].unknown_below > 0.9
