"""The operating point stands where the head answers."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from meltpoint.params.heads import Threshold
from meltpoint.tasks.classification.metrics import judge_heads
from meltpoint.tasks.classification.plots import draw_precision_recall


@pytest.mark.parametrize(("metric", "dashed"), [("recall", [[0.8, 0.8], [0, 1]]), ("precision", [[0, 1], [0.8, 0.8]])])
def test_the_threshold_is_marked(metric: Any, dashed: list[list[float]], predict: Any, card: Any) -> None:
    classes = {"screen": ["no", "yes"]}
    wished = Threshold(metric=metric, at_least=0.8)
    head = card(classes["screen"], threshold=0.5, wished=wished)
    judged = judge_heads(predict(0.2, 1, classes=classes), {"screen": head}, None, 10).splits["test"]["screen"]
    axes = Figure().subplots()
    draw_precision_recall(axes, judged)
    lines = {str(line.get_label()).split(",")[0]: line for line in axes.get_lines()}
    wish = lines[f"wished on val: {metric} 80%"]
    assert [list(wish.get_xdata()), list(wish.get_ydata())] == dashed
    mark = next(line for label, line in lines.items() if label.startswith("threshold 0.500: precision"))
    assert list(mark.get_xdata()) == [judged.scores["recall"]]
    assert list(mark.get_ydata()) == [judged.scores["precision"]]
    assert judged.scores["recall"] == judged.by_class.loc["yes", "recall"]


def test_without_a_threshold_nothing_is_marked(predict: Any, cards: Any) -> None:
    classes = {"screen": ["no", "yes"]}
    axes = Figure().subplots()
    draw_precision_recall(
        axes, judge_heads(predict(0.2, 1, classes=classes), cards(classes), None, 10).splits["test"]["screen"]
    )
    assert [str(line.get_label()).split(",")[0] for line in axes.get_lines()] == ["yes"]
