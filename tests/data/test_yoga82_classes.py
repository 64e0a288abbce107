from pathlib import Path

import pandas as pd
import pytest

from meltpoint.data.listing import SourceError
from meltpoint.data.yoga82_classes import Poses, name_ids, read_poses

CSV = 'folder,l6,l20,l82,english,level6\nBoat_Pose,5,19,2,Boat,Wheel\n"Cat, Cow",5,18,7,Cat,Wheel\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "classes.txt"
    path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_columns(tmp_path: Path, separator: str) -> None:
    text = CSV if separator == "," else CSV.replace('"Cat, Cow"', "Cat Cow").replace(",", separator)
    cow = "Cat, Cow" if separator == "," else "Cat Cow"
    poses, notes = read_poses(write(tmp_path, text))
    assert poses.names == {"l6": {5: "Wheel"}, "l20": {}, "l82": {2: "Boat_Pose", 7: cow}}
    assert poses.parents == {2: (5, 19), 7: (5, 18)}
    assert poses.folders == {"Boat_Pose": 2, cow: 7}
    assert notes == []


@pytest.mark.parametrize(
    "text",
    [
        "0 Boat Pose\n1 Cat Pose\n",
        "1,Cat Pose,貓式\n0,Boat Pose,船式\n",
        "0\tBoat Pose\r\n\r\n1\tCat Pose\r\n",
        "0: Boat Pose\n1: Cat Pose\n",
        "0. Boat Pose\n1. Cat Pose\n",
        "Boat Pose\nCat Pose\n",
    ],
)
def test_a_line_for_each_class(tmp_path: Path, text: str) -> None:
    poses, _ = read_poses(write(tmp_path, text))
    assert poses == Poses({"l6": {}, "l20": {}, "l82": {0: "Boat Pose", 1: "Cat Pose"}}, {}, {})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("foldr,l6,l20,l82\nA,0,0,0\n", r"lacks \['folder'\].*Did you mean 'foldr'"),
        ("folder,l6,l20,l82\nA,0,x,0\n", "Line 2 of classes.txt"),
        ("folder,l6,l20,l82\nA,0,0\n", "Line 2 of classes.txt"),
        ("folder,l6,l20,l82\nA,0,0,0\nB,0,0,0\n", "Line 3 .* has the class 0 or the folder 'B' a second time"),
        ("folder,l6,l20,l82,level6\nA,0,0,0,Up\nB,0,0,1,Down\n", "calls the id 0 'Down', and an earlier .* 'Up'"),
        ("0 Boat\nCat\n", "Line 2 of classes.txt is 'Cat', and others begin with an id"),
        ("0 Boat\n0 Cat\n", "gives an id or a name twice"),
        ("0 Boat\n1 Boat\n", "gives an id or a name twice"),
        (" \n", "is empty"),
    ],
)
def test_what_is_no_table_of_classes_is_told(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        read_poses(write(tmp_path, text))


def test_ids_without_a_name_sort_like_numbers() -> None:
    ids = pd.Series([10, 2, 2, 7])
    assert name_ids(ids, {7: "Wheel"}, "group").tolist() == ["group 10", "group 02", "group 02", "Wheel"]
    assert name_ids(ids, {}, "").tolist() == ["10", "02", "02", "07"]
