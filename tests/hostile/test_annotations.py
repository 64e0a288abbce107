"""COCO's annotations that are broken or say what cannot be, through the stage `download`: refused by name, or read."""

import json
from collections.abc import Callable
from typing import Any

SECTION = "Annotations"
Content = dict[str, Any]


def content(**changes: Any) -> bytes:
    """Six images, of which four show a cat, a dog, or both."""
    images = [{"id": number, "file_name": f"{'cat' if number % 2 else 'dog'}/{number}.png"} for number in range(6)]
    shown = [(0, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
    made = {
        "images": images,
        "annotations": [{"image_id": image, "category_id": category} for image, category in shown],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    return json.dumps({key: value for key, value in {**made, **changes}.items() if value is not None}).encode()


def more(key: str, **entry: Any) -> bytes:
    return content(**{key: [*json.loads(content())[key], entry]})


MAKERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "annotations as COCO has them": lambda: {"all": content()},
    "no such file of annotations": dict,
    "annotations that are no JSON": lambda: {"all": b"{"},
    "annotations that are not UTF-8": lambda: {"all": content().replace(b"cat", b"c\xe4t")},
    "annotations nested 100,000 deep": lambda: {"all": b"[" * 100_000},
    "a list in place of keys": lambda: {"all": b"[1, 2]"},
    "annotations without categories": lambda: {"all": content(categories=None)},
    "an image without a name": lambda: {"all": more("images", id=9)},
    "an annotation of an image that is not listed": lambda: {"all": more("annotations", image_id=77, category_id=1)},
    "an annotation of a category that is not listed": lambda: {"all": more("annotations", image_id=1, category_id=9)},
    "one id for two images": lambda: {"all": more("images", id=1, file_name="dog/4.png")},
    "one id for two categories": lambda: {"all": more("categories", id=1, name="cow")},
    "two categories of one name": lambda: {"all": more("categories", id=3, name="cat")},
    "two categories that look alike": lambda: {
        "all": content(categories=[{"id": 1, "name": "Dog"}, {"id": 2, "name": "dog"}])
    },
    "a category that holds the sign between tags": lambda: {"all": more("categories", id=3, name="a|b")},
    "an image whose name climbs": lambda: {"all": more("images", id=9, file_name="../params.yaml")},
    "an image that is not there": lambda: {"all": more("images", id=9, file_name="cat/gone.png")},
    "an image in the annotations of two splits": lambda: {"train": content(), "test": content()},
    "annotations of other splits than images": lambda: {"train": content(), "test": content(), "val": b""},
}


def test_annotations(row: Any, workplace: Any, check_refused: Any) -> None:
    files = MAKERS[row.name]()
    for part, text in files.items():
        (workplace.folder / f"{part}.json").write_bytes(text)
    parts = list(files) or ["all"]
    images = dict.fromkeys([part for part in parts if part != "val"], "photos")
    source = {"kind": "coco", "path": ".", "images": images, "annotations": {part: f"{part}.json" for part in parts}}
    label = {"kind": "tags", "column": "tags", "separator": "|", "none": ""}
    workplace.params["data"] |= {"source": source, "labels": {"y": label}, "max_bad": 1}
    workplace.params["task"], workplace.params["compare"]["metric"] = {"kind": "tagging"}, "map"
    workplace.params["heads"]["y"] |= {"target": None}
    code, said = workplace.stage("download")
    if row.fate == "refused":
        check_refused(row, code, said)
        assert not (workplace.folder / "data" / "samples.csv").exists()
        return
    assert code == 0, said
    told = said + json.dumps(workplace.report())
    assert all(quote in told for quote in row.quotes), told
    assert workplace.samples()["y"].tolist() == ["|dog|", "|cat|", "|", "|cat|", "|cat|dog|", "|"]


def test_every_row_is_a_case(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
