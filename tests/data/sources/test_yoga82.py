from pathlib import Path

import pytest

from meltpoint.data.listing import ListCoverage, Skipped, SourceError
from meltpoint.data.sources.yoga82 import read
from meltpoint.params.sources import Yoga82Source

CLASSES = "folder,l6,l20,l82,level6\nBoat,1,8,0,Sitting\nBow,1,9,1,Sitting\nTree's (I),0,10,2,Standing\n"
TRAIN = "Boat/1.jpg,1,8,0\nBoat/2.jpg,1,8,0\nBow/1.jpg,1,9,1\n\nTree's (I)/1.jpg,0,10,2\n"
TEST = "Boat/3.jpg,1,8,0\nBow/2.jpg,1,9,1\n"
HERE = ("Boat/1.jpg", "Boat/3.jpg", "Tree's (I)/1.jpg")


def source(**changes: object) -> Yoga82Source:
    given = {"train": "train.txt", "test": "test.txt", "classes": "classes.csv", "images": "images"}
    return Yoga82Source.model_validate({"kind": "yoga82", **given, **changes})


@pytest.fixture(autouse=True)
def place(workplace: Path) -> Path:
    for name, text in (("classes.csv", CLASSES), ("train.txt", TRAIN), ("test.txt", TEST)):
        (workplace / name).write_text(text, encoding="utf-8")
    for path in HERE:
        (workplace / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (workplace / "images" / path).write_bytes(b"image")
    return workplace


def test_lines_with_an_image_are_listed_and_the_others_counted(place: Path) -> None:
    (place / "images/Boat/9.jpg").touch()
    (place / "images/Boat/.hidden").touch()
    listing = read(source(), place / "work")
    assert listing.files["path"].tolist() == ["Boat/1.jpg", "Tree's (I)/1.jpg", "Boat/3.jpg"]
    assert listing.files["split"].tolist() == ["train", "train", "test"]
    assert listing.files["origin"][0] == str(place / "images/Boat/1.jpg")
    assert listing.coverage == {"Boat": ListCoverage(3, 2), "Bow": ListCoverage(2, 0), "Tree's (I)": ListCoverage(1, 1)}
    assert listing.ignored == [Skipped("Boat/9.jpg", "in neither list")]
    assert listing.unusable == []
    assert listing.title == "yoga82 train.txt and test.txt"


def test_classes_are_called_as_the_table_says(place: Path) -> None:
    columns = read(source(), place / "work").columns
    assert columns["l82"].tolist() == ["Boat", "Tree's (I)", "Boat"]
    assert columns["l6"].tolist() == ["Sitting", "Standing", "Sitting"]
    assert columns["l20"].tolist() == ["group 08", "group 10", "group 08"]


def test_a_list_of_names_is_enough(place: Path) -> None:
    (place / "pose.txt").write_text("0 Boat Pose\n1 Bow Pose\n2 Tree Pose\n")
    columns = read(source(classes="pose.txt"), place / "work").columns
    assert columns["l82"].tolist() == ["Boat Pose", "Tree Pose", "Boat Pose"]
    assert columns["l6"].tolist() == ["gesture 1", "gesture 0", "gesture 1"]


def test_without_a_table_ids_are_the_names(place: Path) -> None:
    listing = read(source(classes=None), place / "work")
    assert listing.columns.to_numpy().tolist() == [["1", "08", "0"], ["0", "10", "2"], ["1", "08", "0"]]
    assert listing.coverage["1"] == ListCoverage(2, 0)


@pytest.mark.parametrize(
    ("file", "text", "match"),
    [
        ("train.txt", "Boat/1.jpg,1,8\n", "Line 1 of train.txt is 'Boat/1.jpg,1,8'"),
        ("train.txt", "Boat/1.jpg 1 8 0\n", "Line 1 of train.txt"),
        ("test.txt", "path,l6,l20,l82\n", "Line 1 of test.txt .*data.source.test"),
        ("train.txt", "\n../../secret.jpg,1,8,0\n", "Line 2 of train.txt.*leaves its folder"),
        ("train.txt", "/secret.jpg,1,8,0\n", "is absolute"),
        ("train.txt", "", "train.txt is empty. Correct data.source.train"),
        ("train.txt", "Boat/1.jpg,1,8,0\nBoat/2.jpg,1,9,0\n", r"form no tree.*l82 0 is under l20 \[8, 9\]"),
        ("test.txt", "Bow/2.jpg,0,9,1\n", r"form no tree.*l20 9 is under l6 \[0, 1\]"),
        ("test.txt", "Bow/2.jpg,1,9,5\n", "have the class 5, which it does not name"),
        ("classes.csv", CLASSES.replace("1,8,0", "1,7,0"), r"\(1, 8\) in the lists, and \(1, 7\) in the table"),
        (
            "classes.csv",
            CLASSES.replace("Boat", "X").replace("Bow", "Boat"),
            "images in 'Boat', and in .* class 1",
        ),
    ],
)
def test_lists_that_cannot_be_meant_are_told(place: Path, file: str, text: str, match: str) -> None:
    (place / file).write_text(text)
    with pytest.raises(SourceError, match=match):
        read(source(), place / "work")


def test_no_image_at_all_says_where_it_was_looked_for(place: Path) -> None:
    (place / "empty").mkdir()
    with pytest.raises(SourceError, match=r"None of the 6 lines has an image.*empty/Boat/1.jpg.*fetch-urls"):
        read(source(images="empty"), place / "work")


@pytest.mark.parametrize("key", ["train", "test", "classes", "images"])
def test_what_is_not_there_is_named(place: Path, key: str) -> None:
    with pytest.raises(SourceError, match=f"'nothing'.*data.source.{key}"):
        read(source(**{key: "nothing"}), place / "work")
