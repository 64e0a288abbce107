import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from meltpoint.predict.batch import say_cells, say_json, say_line, write_cells
from meltpoint.predict.records import Answer, Choice, HeadAnswer
from meltpoint.tasks.classification import display

if TYPE_CHECKING:
    from saved_models import Kit

STAND = Choice("stand", "站立", 0.97)
TREE, DANCER = Choice("tree", "樹式", 0.7123456789), Choice("dancer", "舞王式", 0.2)
HEADS = {
    "pose": HeadAnswer("tree", "樹式", TREE.probability, (TREE, DANCER), (STAND, TREE), False),
    "overall": HeadAnswer("stand", "站立", 0.97, (STAND,), (STAND,), False),
    "indoors": HeadAnswer("no", "no", 0.55, (Choice("no", "no", 0.55), Choice("yes", "yes", 0.45)), (), True),
}
GOOD = Answer('a, "b".jpg', None, HEADS, ("overall", "pose"))
BAD = Answer("c.jpg", "truncated", {}, ("overall", "pose"))


def test_a_line_goes_from_the_root_to_the_leaf() -> None:
    assert say_line(GOOD, display, "pose") == (
        'a, "b".jpg  overall 站立 97.0% > pose 樹式 71.2% (舞王式 20.0%); indoors unknown, perhaps no 55.0%'
    )
    assert say_line(BAD, display, "pose") == "c.jpg  cannot be used: truncated"


def test_json_is_one_line_that_keeps_everything() -> None:
    line = say_json(GOOD, display)
    assert "\n" not in line
    assert "樹式" in line
    told = json.loads(line)
    assert told["heads"]["pose"]["top"][0] == {"label": "tree", "name": "樹式", "probability": 0.712346}
    assert told["heads"]["pose"]["path"][0]["label"] == "stand"
    assert told["heads"]["indoors"]["unknown"] is True
    assert told["levels"] == ["overall", "pose"]
    assert json.loads(say_json(BAD, display)) == {
        "source": "c.jpg",
        "error": "truncated",
        "heads": {},
        "levels": told["levels"],
    }


@pytest.mark.parametrize("top", [1, 3])
def test_rows_of_a_table_fit_its_columns(kit: "Kit", top: int) -> None:
    classes = {"pose": ["tree", "dancer", "corpse"], "overall": ["stand", "lie"], "indoors": ["no", "yes"]}
    columns = display.columns(kit.card({head: kit.head(head) for head in classes}, classes), top)
    columns = ["source", "error", *columns]
    text = "\n".join([write_cells(columns), say_cells(GOOD, display, columns), say_cells(BAD, display, columns)])
    good, bad = csv.DictReader(io.StringIO(text))
    assert good["source"] == 'a, "b".jpg'
    assert (good["pose"], good["pose.name"], good["pose.probability"]) == ("tree", "樹式", "0.712346")
    assert good["pose.top1"] == "樹式"
    assert ("pose.top2" in good) == (top > 1)
    assert ("overall.top2" in good, "overall.top3" in good) == (top > 1, False)
    assert good["indoors.unknown"] == "True"
    assert {name: cell for name, cell in bad.items() if cell} == {"source": "c.jpg", "error": "truncated"}
