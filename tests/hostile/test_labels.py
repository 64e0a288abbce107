"""Labels that cannot be learnt, through the stages `download` and `split`: each is refused by name, or masked."""

from collections.abc import Callable
from typing import Any

SECTION = "Labels"
Cells = list[str]
ANIMALS = ["a", "b"] * 15
TAGS: dict[str, Any] = {"kind": "tags", "column": "y", "separator": ";"}


def text_of(**columns: Cells) -> bytes:
    names = [f"cat/{number:02}.png" for number in range(len(next(iter(columns.values()))))]
    rows = [",".join(["path", *columns])]
    rows += [",".join([name, *cells]) for name, *cells in zip(names, *columns.values(), strict=True)]
    return ("\n".join(rows) + "\n").encode()


def threshold(at_least: float = 0.5) -> dict[str, Any]:
    return {"kind": "threshold", "column": "y", "at_least": at_least, "classes": ["low", "high"]}


MAKERS: dict[str, Callable[[], tuple[dict[str, Cells], dict[str, Any]]]] = {
    "a class with one image": lambda: ({"y": [*ANIMALS[:29], "rare"]}, {}),
    "a class with two images": lambda: ({"y": [*ANIMALS[:28], "rare", "rare"]}, {}),
    "a class missing from an official split": lambda: (
        {"y": ["a", "b", "c"] * 10, "part": ["train"] * 15 + ["test"] * 5 + ["val", "train", "train"] * 3 + ["train"]},
        {},
    ),
    "a class whose images are all one group": lambda: (
        {"y": [*ANIMALS[:26], *["c"] * 4], "own": [str(number) for number in range(26)] + ["one"] * 4},
        {},
    ),
    "one class alone": lambda: ({"y": ["a"] * 30}, {}),
    "no label at all": lambda: ({"y": [""] * 30}, {}),
    "a word for a missing cell": lambda: ({"y": [*ANIMALS[:28], "nan", ""]}, {}),
    "a word for a missing cell that is listed as a class": lambda: (
        {"y": ["nan", "b"] * 15},
        {"y": {"kind": "names", "column": "y", "classes": ["nan", "b"]}},
    ),
    "NaN in one head": lambda: ({"y": ANIMALS, "z": (["c", "nan", "d", "", "NaN"] * 6)}, {"z": None}),
    "only NaN in one head": lambda: ({"y": ANIMALS, "z": ["nan"] * 30}, {"z": None}),
    "an unknown class": lambda: (
        {"y": [*ANIMALS[:29], "bb"]},
        {"y": {"kind": "names", "column": "y", "classes": ["a", "b"]}},
    ),
    "a listed class that no image has": lambda: (
        {"y": ANIMALS},
        {"y": {"kind": "names", "column": "y", "classes": ["a", "b", "c"]}},
    ),
    "a class that is listed twice": lambda: (
        {"y": ANIMALS},
        {"y": {"kind": "names", "column": "y", "classes": ["a", "b", "a"]}},
    ),
    "a word where a number is needed": lambda: ({"y": [*["0.1", "0.9"] * 14, "0.9", "much"]}, {"y": threshold()}),
    "infinity where a number is needed": lambda: ({"y": [*["0.1", "0.9"] * 14, "0.9", "inf"]}, {"y": threshold()}),
    "a threshold that nothing reaches": lambda: ({"y": ["0.1", "0.9"] * 15}, {"y": threshold(2.0)}),
    "a number that stands for no class": lambda: (
        {"y": [*["0", "1"] * 14, "1", "7"]},
        {"y": {"kind": "values", "column": "y", "classes": {"no": 0, "yes": 1}}},
    ),
    "two classes of one number": lambda: (
        {"y": ["0", "1"] * 15},
        {"y": {"kind": "values", "column": "y", "classes": {"no": 0, "yes": 1, "also": 1}}},
    ),
    "labels made of each other in a circle": lambda: (
        {"y": ANIMALS},
        {
            "y": {"kind": "equals", "label": "z", "is_in": ["a"], "classes": ["no", "yes"]},
            "z": {"kind": "equals", "label": "y", "is_in": ["a"], "classes": ["no", "yes"]},
        },
    ),
    "a label called like a column of the table": lambda: (
        {"y": ANIMALS, "z": ["c", "d"] * 15},
        {"path": {"kind": "names", "column": "z", "classes": None}},
    ),
    "tags: one twice in a cell": lambda: ({"y": [*ANIMALS[:29], "a;a"]}, {"y": TAGS}),
    "tags: the separator of the table in a name": lambda: ({"y": [*ANIMALS[:29], "a|b"]}, {"y": TAGS}),
    "tags: an unknown one": lambda: ({"y": [*ANIMALS[:29], "a;aa"]}, {"y": {**TAGS, "classes": ["a", "b"]}}),
    "tags: two that look alike": lambda: ({"y": [*ANIMALS[:29], "A"]}, {"y": TAGS}),
    "tags: a column with a word": lambda: (
        {"y": [*["0", "1"] * 14, "1", "yes"], "z": ["1", "0"] * 15},
        {"y": {"kind": "tags", "columns": ["y", "z"]}},
    ),
    "tags: an empty cell of one": lambda: (
        {"y": [*["0", "1"] * 14, "1", ""], "z": ["1", "0"] * 15},
        {"y": {"kind": "tags", "columns": ["y", "z"]}},
    ),
    "most images are copies of one": lambda: ({"y": ANIMALS}, {}),
}
COPIES = "most images are copies of one"


def prepare(name: str, workplace: Any) -> None:
    columns, labels = MAKERS[name]()
    split = "part" if "part" in columns else None
    workplace.use_table(text_of(**columns), separator=",", split=split)
    workplace.params["data"]["group"] = "own" if "own" in columns else None
    if any(made and made["kind"] == "tags" for made in labels.values()):
        workplace.params["task"], workplace.params["compare"]["metric"] = {"kind": "tagging"}, "map"
        workplace.params["heads"]["y"] |= {"target": None}
    for label, made in labels.items():
        made = made or {"kind": "names", "column": label, "classes": None}
        workplace.params["data"]["labels"][label] = made
    for number in range(30):
        workplace.add_picture(f"cat/{number:02}.png", 100 if name == COPIES and number % 3 else 200 + number)


def test_labels(row: Any, workplace: Any, check_refused: Any) -> None:
    prepare(row.name, workplace)
    code, said = workplace.stage("download")
    before = workplace.left()
    if code == 0:
        code, more = workplace.stage("split")
        said += more
    if row.fate == "read":
        assert code == 0, said
        assert all(quote in said for quote in row.quotes)
        return
    assert row.fate == "refused"
    check_refused(row, code, said)
    assert workplace.left() == before, "the stage that refuses writes nothing"


def test_missing_labels_stay_missing(workplace: Any) -> None:
    prepare("NaN in one head", workplace)
    code, said = workplace.stage("download")
    assert code == 0, said
    assert workplace.samples()["z"].tolist() == ["c", "", "d", "", ""] * 6
    assert workplace.report()["unlabelled"] == {"y": 0, "z": 18}


def test_every_row_has_its_labels(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
