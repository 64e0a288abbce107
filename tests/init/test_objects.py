"""COCO and PASCAL VOC: objects become a label or tags in a table that the pipeline reads; masks stay as they are."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.errors import UserError

Draw = Callable[..., Path]
Init = Callable[..., Any]
CATEGORIES = [
    {"id": 1, "name": "cat", "supercategory": "animal"},
    {"id": 7, "name": "dog", "supercategory": "animal"},
    {"id": 9, "name": "car", "supercategory": "vehicle"},
]


def write_coco(file: Path, names: Sequence[str], objects: Sequence[Sequence[int]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": number, "file_name": name, "width": 64, "height": 48} for number, name in enumerate(names)]
    marks = [{"image_id": number, "category_id": one, "bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 1, 9, 9]]}
             for number, ids in enumerate(objects) for one in ids]  # fmt: skip
    content = {
        "images": images,
        "annotations": [{"id": n} | one for n, one in enumerate(marks)],
        "categories": CATEGORIES,
    }
    file.write_text(json.dumps(content))


def export(root: Path, draw: Draw, objects: Sequence[Sequence[int]]) -> None:
    """COCO's own folders: annotations/instances_train2017.json, train2017/, and the same for val."""
    for split, part in (("train", objects[: len(objects) // 2]), ("val", objects[len(objects) // 2 :])):
        names = [f"{split}{number:03d}.png" for number in range(len(part))]
        for name in names:
            draw(root / f"{split}2017" / name)
        write_coco(root / "annotations" / f"instances_{split}2017.json", names, part)
        write_coco(root / "annotations" / f"captions_{split}2017.json", names, [])


def test_several_categories_are_tags(place: Path, draw: Draw, init: Init) -> None:
    objects = [[1, 1, 7] if number % 2 else [9] for number in range(40)]
    objects[0] = []
    export(place / "street", draw, objects)
    ran = init("street")
    table = pd.read_csv(place / "data" / "street-table.csv", dtype=str, keep_default_na=False)
    assert list(table) == ["path", "split", "tags"]
    assert table["tags"].tolist() == ["", *["cat|dog" if number % 2 else "car" for number in range(1, 40)]]
    assert table["path"][0] == "train2017/train000.png"
    assert ran.raw["data"]["source"] == {
        "kind": "csv", "table": "data/street-table.csv", "images": "street", "separator": ",", "header": None,
        "path": "path", "split": "split",
    }  # fmt: skip
    assert ran.raw["data"]["labels"]["tags"]["classes"] == ["car", "cat", "dog"]
    assert ran.raw["task"] == {"kind": "tagging"}
    assert "train 20, val 20; test is cut from train" in ran.out
    assert "outlines of objects are not used" in ran.out


def test_one_category_for_each_image_is_a_label(place: Path, draw: Draw, init: Init) -> None:
    export(place / "street", draw, [[(1, 7, 9)[number % 3]] * 2 for number in range(36)])
    ran = init("street")
    assert ran.params.main_head == "street"
    assert ran.raw["task"].get("tree") == {"levels": ["supercategory", "street"]}
    assert ran.raw["data"]["labels"]["supercategory"]["classes"] == ["animal", "vehicle"]
    assert "car 12, cat 12, dog 12" in ran.out


def test_a_file_beside_its_images_is_named(place: Path, draw: Draw, init: Init) -> None:
    names = [f"{number}.png" for number in range(24)]
    for name in names:
        draw(place / "labels" / "pets" / "images" / name)
    write_coco(place / "labels" / "pets" / "result.json", names, [[(1, 7)[number % 2]] for number in range(24)])
    ran = init("labels/pets/result.json")
    assert ran.params.main_head == ran.params.register_.name == "pets"
    assert pd.read_csv(place / "data" / "pets-table.csv")["path"][3] == "images/3.png"


def test_a_folder_for_each_split_has_its_own_file(place: Path, draw: Draw, init: Init) -> None:
    for split, count in (("train", 12), ("valid", 6), ("test", 6)):
        names = [f"{split}{number}.png" for number in range(count)]
        for name in names:
            draw(place / "robo" / split / name)
        write_coco(place / "robo" / split / "_annotations.coco.json", names, [[(1, 9)[n % 2]] for n in range(count)])
    assert "train 12, val 6, test 6" in init("robo").out


def test_coco_without_its_images_is_refused(place: Path, init: Init) -> None:
    write_coco(place / "street" / "result.json", ["a.png", "b.png"], [[1], [7]])
    with pytest.raises(UserError, match="they are in no folder below street. Put the images beside the file"):
        init("street")
    (place / "other.json").write_text('{"images": 3}')
    with pytest.raises(UserError, match="has not the keys"):
        init("other.json")


def voc(root: Path, draw: Draw, count: int, objects: Callable[[int], list[str]]) -> None:
    for number in range(count):
        draw(root / "JPEGImages" / f"{number}.jpg")
        file = root / "Annotations" / f"{number}.xml"
        file.parent.mkdir(exist_ok=True)
        inside = "".join(f"<object><name>{name}</name></object>" for name in objects(number))
        file.write_text(f"<annotation><filename>{number}.jpg</filename>{inside}</annotation>")


def test_objects_of_voc_are_tags(place: Path, draw: Draw, init: Init) -> None:
    root = place / "VOCdevkit" / "VOC2007"
    voc(root, draw, 36, lambda number: ["cat", "cat", "dog"] if number % 2 else ["dog"] if number % 3 else [])
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(map(str, range(20))))
    (root / "ImageSets" / "Main" / "val.txt").write_text("\n".join(map(str, range(20, 36))))
    ran = init("VOCdevkit")
    table = pd.read_csv(place / "data" / "voc2007-table.csv", dtype=str).set_index("path")
    assert table.loc["JPEGImages/1.jpg", "tags"] == "cat|dog"
    assert table.loc["JPEGImages/2.jpg", ["tags", "split"]].tolist() == ["dog", "train"]
    assert ran.raw["data"]["source"]["images"] == "VOCdevkit/VOC2007"
    assert "train 20, val 16; test is cut from train" in ran.out


def test_masks_of_voc_are_read_with_their_lists(place: Path, draw: Draw, init: Init) -> None:
    root = place / "VOC2012"
    voc(root, draw, 8, lambda _: ["cat"])
    (root / "SegmentationClass").mkdir()
    for number in range(6):
        pixels = np.zeros((48, 64), dtype=np.uint8)
        pixels[:20], pixels[20], pixels[40:] = 8, 255, 15
        Image.fromarray(pixels).save(root / "SegmentationClass" / f"{number}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 8))):
        (lists / f"{split}.txt").write_text("\n".join(map(str, names)))
    ran = init("VOC2012")
    source = ran.raw["data"]["source"]
    assert source["images"] == {"all": "JPEGImages"}
    assert source["lists"] == {
        "train": "ImageSets/Segmentation/train.txt", "val": "ImageSets/Segmentation/val.txt",
    }  # fmt: skip
    label = ran.raw["data"]["labels"]["voc2012"]
    assert {name: one["id"] for name, one in label["classes"].items()} == {"background": 0, "cat": 8, "person": 15}
    assert label["classes"]["person"]["colour"] == "#c08080"
    assert label["void"] == [255]
    assert "test.txt lists 2 images, none of which has a mask" in ran.out
    assert "Annotations/ is there too" in ran.out
    with pytest.raises(UserError, match="holds tags|two classes|no label|is a label"):
        init("VOC2012/Annotations")


def test_xml_files_beside_images(place: Path, draw: Draw, init: Init) -> None:
    voc(place / "pets", draw, 24, lambda number: ["cat" if number % 2 else "dog"])
    for file in (place / "pets" / "Annotations").iterdir():
        file.rename(place / "pets" / "JPEGImages" / file.name)
    (place / "pets" / "JPEGImages" / "7.jpg").unlink()
    ran = init("pets/JPEGImages")
    assert ran.params.main_head == "pets"
    assert "look here: 1 XML file without an image: 7.xml" in ran.out


def test_a_category_may_be_called_as_a_table_writes_a_missing_cell(place: Path, draw: Draw, init: Init) -> None:
    voc(place / "pets", draw, 18, lambda number: [("nan", "roti", "puri")[number % 3]])
    ran = init("pets", "--label", "kind of food")
    assert ran.params.main_head == "kind_of_food"
    assert ran.params.data.labels["kind_of_food"].classes == ["nan", "puri", "roti"]
    assert "nan 6, puri 6, roti 6" in ran.out


def test_one_of_several_categories_can_be_asked_for(place: Path, draw: Draw, init: Init) -> None:
    voc(place / "pets", draw, 24, lambda number: ["cat", "dog"] if number % 2 else ["dog"] if number % 3 else ["emu"])
    assert list(init("pets", "--label", "Cat").raw["heads"]) == ["cat"]
    with pytest.raises(
        UserError, match=r"'catt', and images have several.*\['cat', 'dog', 'emu'\]\. Did you mean 'cat'"
    ):
        init("pets", "--label", "catt")


@pytest.mark.parametrize(
    ("names", "cake", "message"),
    [
        (("cat", "cat", "cat"), False, "one category alone, 'cat'. A label needs two classes"),
        (("caf\u00e9", "cafe\u0301", "tea"), False, r"no person can tell apart: 'caf.+' and 'caf.+'\. They are"),
        (("caf\u00e9", "cafe\u0301", "tea"), True, r"no person can tell apart: 'caf.+' and 'caf.+'\. They are"),
    ],
)
def test_one_category_alone_and_categories_that_look_the_same_are_refused(
    place: Path, draw: Draw, init: Init, names: tuple[str, ...], cake: bool, message: str
) -> None:
    voc(place / "menu", draw, 36, lambda number: [names[number % 3], *(["cake"] * (cake and number % 2))])
    with pytest.raises(UserError, match=message):
        init("menu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content, _: content.update(annotations=[1]), None),
        (lambda content, top: content["images"][0].update(file_name=str(top / "elsewhere" / "0.png")), "not below"),
    ],
)
def test_odd_coco_files_are_told(
    place: Path, draw: Draw, init: Init, change: Callable[[dict[str, Any], Path], None], told: str | None
) -> None:
    export(place / "street", draw, [[1], [7]] * 12)
    for file in (place / "street" / "annotations").glob("instances_*.json"):
        content = json.loads(file.read_text())
        change(content, place)
        file.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        init("street")
    assert told is None or told in str(error.value)


def test_a_folder_of_masks_without_masks_is_told(place: Path, draw: Draw, init: Init) -> None:
    draw(place / "voc" / "JPEGImages" / "0.png")
    (place / "voc" / "SegmentationClass").mkdir()
    (place / "voc" / "SegmentationClass" / "0.mat").write_bytes(b"MATLAB")
    with pytest.raises(UserError, match="holds no masks that are known"):
        init("voc")
