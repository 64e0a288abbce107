"""Names of classes are data: no picture, table or terminal reads them as markup, and none is left out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from meltpoint.compare.decision import compare
from meltpoint.compare.formatting import markdown
from meltpoint.compare.table import _classes, write_text
from meltpoint.evaluate.confusion import draw_confusion
from meltpoint.evaluate.style import style
from meltpoint.params.judging import Compare
from meltpoint.tasks.classification import plots
from meltpoint.tasks.classification.metrics import judge_heads
from meltpoint.tasks.classification.plots import draw_panels, draw_precision_recall, draw_reliability, draw_roc, drawn
from meltpoint.terminal import plain, plain_lines

NAMES = ["$", "$$", "$5 $10", "<b>", r"\alpha", "_x_", "[red]", "%s"]
MORE = ["{x}", "two\nlines", "-rf", "a|b", "\x1b[31mred", "__", r"$\frac{$", "\u202egnp.exe"]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What was drawn, after it was saved in earnest."""
    kept: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any, **named: Any) -> None:
        save(figure, *given, **named)
        kept.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


@pytest.mark.parametrize("names", [NAMES, MORE], ids=["markup", "more"])
def test_every_name_is_drawn_as_it_is(
    names: list[str], predict: Any, cards: Any, figures: list[Figure], tmp_path: Path
) -> None:
    classes = {"y": names}
    judged = judge_heads(predict(0.2, 1, classes=classes), cards(classes), None, 10).splits["test"]
    draw_confusion(judged, None, "Names", shares=False, path=tmp_path / "confusion.png")
    for draw in (draw_roc, draw_precision_recall, draw_reliability):
        draw_panels(judged, "Names", draw, tmp_path / "curve.png")
    confusion, *curves = figures
    wanted = [plain(name) for name in names]
    axes = confusion.subfigs[0].axes[0]
    assert [label.get_text().strip() for label in axes.get_xticklabels()] == wanted
    for figure in curves[:2]:
        legend = figure.axes[0].get_legend()
        assert legend is not None
        assert [text.get_text().rpartition(", ")[0].strip() for text in legend.get_texts()] == wanted
    texts = [text for figure in figures for text in figure.findobj(lambda one: hasattr(one, "get_parse_math"))]
    shown = [text for text in texts if any(name in text.get_text() for name in wanted)]
    assert len(shown) >= 4 * len(names)
    assert not any(text.get_parse_math() or text.get_usetex() for text in shown)


def test_every_picture_has_the_style_that_reads_no_markup() -> None:
    """A picture that is drawn without `style()` would read `$`."""
    folder = Path(plots.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("Figure(") == text.count("rc_context(style())"), path.name
    assert plots.style()["text.parse_math"] is plots.style()["text.usetex"] is False


@pytest.mark.parametrize(
    ("name", "told"),
    [("\x1b[31mred", r"\x1b[31mred"), ("a\nb", r"a\nb"), ("\u202egnp.exe", r"\u202egnp.exe"), ("\x07", r"\x07"),
     ("caf\u00e9 \u732b", "caf\u00e9 \u732b"), ("\u0645\u06cc\u200c\u0631\u0648", "\u0645\u06cc\u200c\u0631\u0648")],
)  # fmt: skip
def test_what_steers_a_terminal_is_told_by_its_escape(name: str, told: str) -> None:
    assert plain(name) == told
    assert plain_lines(f"{name}\n\tmore") == f"{name if chr(10) in name else told}\n\tmore"


@pytest.mark.parametrize(
    ("name", "told"),
    [("a|b", r"a\|b"), ("<b>", r"\<b\>"), ("[x](y)", r"\[x\](y)"), ("*a*", r"\*a\*"), ("two\nlines", r"two\\nlines"),
     ("plain", "plain")],
)  # fmt: skip
def test_markdown_shows_it_as_it_is(name: str, told: str) -> None:
    assert markdown(name) == told


HOSTILE = ["a|b *x* <img src=x>", "[click](http://x)"]
RAW = ("a|b", "*x*", " <img", "[click]")


def test_no_class_is_markup_in_the_text_of_a_decision(
    reports: Any, cards: Any, predict: Any, settings: Compare
) -> None:
    classes = {"y": [*HOSTILE, "plain"]}
    own = type(reports)(reports.folder, classes, cards(classes))
    for number, name in enumerate(("one", "two")):
        own.add(name, predict(0.1 * (number + 1), number, 15, classes=classes))
    asked = settings.model_copy(update={"metric": "balanced_accuracy"})
    decision = compare(own.read("one", "two", metric="balanced_accuracy"), asked)
    assert HOSTILE[0] in decision.sentence, "there are so few images of a class that the sentence names it"
    text = write_text(decision)
    assert r"a\|b \*x\* \<img src=x\>" in text
    assert not [raw for raw in RAW if raw in text]


def test_no_class_is_markup_in_the_table_of_classes() -> None:
    scores: Any = {"test": {"y": {"classes": {name: {"iou": 0.5} for name in HOSTILE}}}}
    wording = SimpleNamespace(listed=True, ranking="iou")
    results = SimpleNamespace(main_head="y", classes={"y": HOSTILE}, strategies=["one"], wording=wording)
    decision: Any = SimpleNamespace(results=results, rows=[SimpleNamespace(metrics=scores)])
    told = "\n".join(_classes(decision))
    assert r"| a\|b \*x\* \<img src=x\> | 50.0% |" in told
    assert not [raw for raw in RAW if raw in told]


def test_a_legend_leaves_no_name_out() -> None:
    assert drawn("_x_") == " _x_"
    assert drawn("x_") == "x_"


def test_names_in_chinese_are_letters_and_no_boxes(predict: Any, cards: Any, tmp_path: Path) -> None:
    """matplotlib warns of a letter that no font has, and warnings are errors."""
    classes = {"y": ["猫", "狗と犬", "고양이"]}
    judged = judge_heads(predict(0.2, 1, classes=classes), cards(classes), None, 10).splits["test"]
    draw_confusion(judged, None, "混淆", shares=False, path=tmp_path / "confusion.png")
    draw_panels(judged, "Names", draw_roc, tmp_path / "curve.png")


def test_pictures_with_latin_names_are_those_of_before(predict: Any, cards: Any, tmp_path: Path) -> None:
    classes = {"y": ["cat", "déjà"]}
    judged = judge_heads(predict(0.2, 1, classes=classes), cards(classes), None, 10).splits["test"]
    both = []
    for families in (["DejaVu Sans"], list(style()["font.family"])):
        style()["font.family"] = families
        draw_confusion(judged, None, "Names", shares=False, path=tmp_path / "confusion.png")
        both.append((tmp_path / "confusion.png").read_bytes())
    assert len(families) == 2
    assert both[0] == both[1]
