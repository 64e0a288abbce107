"""Tables: what is the path, what are labels, tags, a tree, a split, a group; and what has to be written anew."""

import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from warm_process import nursery

from meltpoint.errors import UserError

Draw = Callable[..., Path]
Init = Callable[..., Any]
Survey = Callable[..., Any]
KINDS = ("cat", "dog", "emu")


def write(path: Path, header: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return path


@pytest.fixture
def photos(place: Path, draw: Draw) -> list[str]:
    """Names of 24 pictures in pets/photos/."""
    names = [f"{number:02d}.png" for number in range(24)]
    for name in names:
        draw(place / "pets" / "photos" / name)
    return names


@pytest.fixture
def survey(place: Path, photos: list[str], init: Init) -> Callable[..., Any]:
    """survey(header, row, words): `init` on a table whose row of each photo is `row` of its number and name."""

    def _survey(header: str, row: Callable[[int, str], str], *words: str) -> Any:
        write(place / "pets" / "list.csv", header, [row(number, name) for number, name in enumerate(photos)])
        return init("pets", *words)

    return _survey


def kind(number: int, name: str) -> str:
    return f"{name},{KINDS[number % 3]}"


def test_a_label_column(place: Path, survey: Survey) -> None:
    ran = survey("file,species,remark", lambda number, name: f"{kind(number, name)},a note on {name}")
    assert ran.raw["data"]["source"] == {
        "kind": "csv", "table": "pets/list.csv", "images": "pets/photos", "separator": None, "header": None,
        "path": "file", "split": None,
    }  # fmt: skip
    assert ran.raw["data"]["labels"] == {"species": {"kind": "names", "column": "species", "classes": None}}
    assert ran.params.main_head == "species"
    assert ran.params.register_.name == "list"
    assert "columns left aside: remark" in ran.out
    assert not (place / "data").exists()


def test_the_label_is_the_column_that_is_asked_for(survey: Survey, init: Init) -> None:
    ran = survey("file,species,Coat", lambda number, name: f"{kind(number, name)},{'ab'[number % 2]}")
    assert list(ran.raw["heads"]) == ["species", "coat"]
    assert list(init("pets/list.csv", "--label", "coat").raw["heads"]) == ["coat"]
    with pytest.raises(UserError, match="Did you mean 'species'"):
        init("pets/list.csv", "--label", "specie")


def test_splits_and_groups_are_columns(survey: Survey) -> None:
    split = ["train"] * 12 + ["Validation"] * 6 + ["test"] * 6
    ran = survey("file;label;subset;patient_id", lambda n, name: f"{name};{KINDS[n % 3]};{split[n]};p{n // 2}")
    assert ran.params.data.source.split == "subset"
    assert ran.params.data.group == "patient_id"
    assert ran.params.main_head == "label"
    assert "train 12, val 6, test 6" in ran.out


def test_no_line_of_names(survey: Survey) -> None:
    ran = survey("", lambda number, name: f"photos/{name}\t{KINDS[number % 3]}")
    assert ran.raw["data"]["source"]["header"] == ["column_1", "column_2"]
    assert ran.raw["data"]["source"]["images"] == "pets"
    assert ran.params.main_head == "column_2"
    assert "24 images" in ran.out


def test_a_tree(survey: Survey) -> None:
    fine = ["tabby", "siamese", "poodle", "beagle"]
    ran = survey("file,breed,kind", lambda n, name: f"{name},{fine[n % 4]},{'cat' if n % 4 < 2 else 'dog'}")
    assert ran.raw["task"].get("tree") == {"levels": ["kind", "breed"]}
    assert ran.params.main_head == "breed"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,kind_id,kind", lambda n, name: f"{name},{n % 3},{KINDS[n % 3]}"),
        ("file,weight,kind", lambda n, name: f"{name},{n % 4 + 0.5},{KINDS[n % 3]}"),
        ("note,file,kind", lambda n, name: f"{'x' * 300}{n},{name},{KINDS[n % 3]}"),
    ],
    ids=["id beside a name", "measurement", "too long for a path"],
)
def test_columns_that_are_no_labels(survey: Survey, header: str, row: Callable[[int, str], str]) -> None:
    ran = survey(header, row)
    assert list(ran.raw["heads"]) == ["kind"]
    assert ran.raw["data"]["source"]["path"] == "file"
    assert ran.raw["task"].get("tree") is None


def test_tags_in_a_cell(place: Path, survey: Survey) -> None:
    def row(n: int, name: str) -> str:
        return f"{name},{'|'.join([*['indoor'] * (n % 2), *['at night'] * (n % 3 == 0), *['red'] * (n == 1)])}"

    ran = survey("file,tags", row)
    table = pd.read_csv(place / "data" / "list-table.csv", dtype=str, keep_default_na=False)
    assert table["tags"][:4].tolist() == ["at night", "indoor", "", "at night|indoor"], "red is on one image alone"
    assert ran.raw["data"]["source"]["table"] == "data/list-table.csv"
    assert ran.raw["data"]["labels"]["tags"] == {
        "kind": "tags", "column": "tags", "separator": "|", "none": "", "classes": ["at night", "indoor"],
    }  # fmt: skip
    assert ran.raw["task"] == {"kind": "tagging"}
    assert ran.params.compare.metric == "micro_f1"
    assert ran.params.register_.floors == {"tags/micro_f1": 0.59}, "both for every image: 2 * 20 / (48 + 20)"
    assert ran.raw["heads"]["tags"]["tag_thresholds"] == {"metric": "f1"}
    assert "label tags: 2 tags" in ran.out
    assert "tags left aside, as fewer than 6 images have or lack them: red 1" in ran.out
    assert "8 images without a tag" in ran.out
    assert "images of each tag: tags: at night 8, indoor 12" in ran.path.read_text()


def test_tags_in_a_cell_are_read_where_they_are_if_each_is_on_enough_images(survey: Survey) -> None:
    ran = survey("file,seen", lambda n, name: f"{name},{';'.join([*['sea'] * (n % 2), *['sky'] * (n % 3 == 0)])}")
    assert ran.raw["data"]["source"]["table"] == "pets/list.csv"
    assert ran.raw["data"]["labels"] == {"seen": {"kind": "tags", "column": "seen", "separator": ";", "none": ""}}


def binary(on: Callable[[int, int], Any]) -> Callable[[int, str], str]:
    """A row with 1.0 in those of three columns that are on."""
    return lambda number, name: ",".join([name, *(str(float(bool(on(number, column)))) for column in range(3))])


@pytest.mark.parametrize("one_each", [True, False])
def test_a_column_for_each_class(survey: Survey, one_each: bool) -> None:
    ran = survey("image,MEL,NV,BCC", binary(lambda n, one: n % 3 == one or (not one_each and n % 2 == one == 0)))
    if one_each:
        assert ran.params.main_head == "list"
        assert "BCC 8, MEL 8, NV 8" in ran.out
    else:
        assert ran.raw["data"]["labels"] == {"list": {"kind": "tags", "columns": ["MEL", "NV", "BCC"]}}
        assert ran.raw["task"] == {"kind": "tagging"}
        assert "3 columns of 0 and 1 are the tags of one label" in ran.out


def test_columns_of_words_are_tags_of_a_table_of_ours(place: Path, survey: Survey) -> None:
    ran = survey("image,sea,sky,dog", lambda n, name: f"{name},{n % 2 == 0},{n % 3 == 0},{n % 4 == 0}")
    assert ran.raw["data"]["labels"]["list"]["classes"] == ["dog", "sea", "sky"]
    table = pd.read_csv(place / "data" / "list-table.csv", dtype=str, keep_default_na=False)
    assert table["list"][:3].tolist() == ["dog|sea|sky", "", "sea"]


@pytest.mark.parametrize("names", [("nan", "roti", "puri"), ("T-shirt", "T\u2011shirt", "puri")])
def test_columns_may_be_called_as_a_missing_cell_is_written_and_not_look_the_same(
    survey: Survey, names: tuple[str, ...]
) -> None:
    header, row = ",".join(["image", *names]), binary(lambda n, one: n % 3 == one)
    if "nan" not in names:
        with pytest.raises(UserError, match="no person can tell apart"):
            survey(header, row)
        return
    ran = survey(header, row)
    assert ran.params.data.labels[ran.params.main_head].classes == ["nan", "puri", "roti"]
    assert "nan 8, puri 8, roti 8" in ran.out


@pytest.mark.parametrize("some_whole", [True, False])
def test_names_without_suffix_get_one(place: Path, photos: list[str], survey: Survey, some_whole: bool) -> None:
    ran = survey("id,dx", lambda n, name: kind(n, name if some_whole and n % 6 == 0 else name[:-4]))
    assert pd.read_csv(place / "data" / "list-table.csv", dtype=str)["id"].tolist() == photos
    assert ".png is added" in ran.out
    assert (ran.params.main_head, ran.params.data.max_bad) == ("dx", 0)


def test_tables_of_splits_are_joined(place: Path, photos: list[str], init: Init) -> None:
    for name, part in (("train", photos[:15]), ("test", photos[15:])):
        write(place / "pets" / f"{name}.csv", "file,kind", [f"{one},{KINDS[n % 3]}" for n, one in enumerate(part)])
    ran = init("pets")
    assert "train 15, test 9; val is cut from train" in ran.out
    assert ran.params.data.source.split == "split"
    table = place / "data" / "pets-table.csv"
    assert len(pd.read_csv(table)) == 24
    table.write_text("corrected")
    init("pets")
    assert table.with_name("pets-table.csv.bak").read_text() == "corrected", "it is kept when another is written"


def test_parquet_becomes_a_table_of_text(place: Path, photos: list[str], init: Init) -> None:
    frame = pd.DataFrame({"file": photos, "kind": [KINDS[number % 3] for number in range(24)]})
    frame.to_parquet(place / "pets" / "list.parquet")
    assert init("pets/list.parquet").raw["data"]["source"]["table"] == "data/list-table.csv"


def test_missing_pictures_and_labels_are_counted(place: Path, photos: list[str], init: Init) -> None:
    rows = [f"{name},{KINDS[number % 3] if number else ''}" for number, name in enumerate([*photos, "gone.png"])]
    write(place / "pets" / "list.csv", "file,kind", rows)
    ran = init("pets")
    assert "gone.png (no such file)" in ran.out
    assert ran.params.data.max_bad == 1
    assert "1 row without a kind" in ran.out


def test_lists_of_splits_may_name_pictures_that_are_gone(place: Path, photos: list[str], init: Init) -> None:
    for split, part in (("train", photos[:16]), ("test", photos[16:])):
        gone = [f"gone{split}{number}.png" for number in range(30)]
        write(
            place / "pets" / f"pets_{split}.txt", "", [f"{one},{n % 2},{n % 4}" for n, one in enumerate([*part, *gone])]
        )
    ran = init("pets")
    assert ran.raw["task"].get("tree") == {"levels": ["column_2", "column_3"]}
    assert "pets_test.txt and pets_train.txt are joined" in ran.out
    assert "look here: 60 files of 84 cannot be used" in ran.out
    assert "max_bad to" not in ran.out


def test_a_table_without_labels_leaves_the_folders_to_say(place: Path, draw: Draw, init: Init) -> None:
    names = [draw(place / "pets" / kind / f"{number}.png") for kind in KINDS for number in range(4)]
    write(place / "pets" / "list.csv", "file,note", [f"{n.relative_to(place / 'pets')},note {n}" for n in names])
    assert init("pets").raw["data"]["source"]["kind"] == "folder"


def test_refusals_say_what_to_do(place: Path, photos: list[str], init: Init) -> None:
    write(place / "far.csv", "file,kind", [f"x/{name},cat" for name in photos])
    write(place / "web.csv", "url,kind", [f"https://example.org/{name},cat" for name in photos])
    write(place / "pets" / "bare.csv", "file,note", [f"{name},note {name}" for name in photos])
    with zipfile.ZipFile(place / "a.xlsx", "w") as sheet:
        sheet.writestr("xl/workbook.xml", "<workbook/>")
    for path, told in (
        ("far.csv", "none names images that are there. 'x/00.png' was looked for below"),
        ("web.csv", "meltpoint fetch-urls"),
        ("pets/bare.csv", "none of its columns is a label: note (24 different cells)"),
        ("a.xlsx", "Save it as CSV"),
    ):
        with pytest.raises(UserError) as error:
            init(path)
        assert told in " ".join(str(error.value).split())


@pytest.mark.parametrize("start", ["/home/ann/pets/", "D:\\\\pets\\\\", "old/"])
def test_the_end_of_a_path_that_is_there_is_named(place: Path, photos: list[str], init: Init, start: str) -> None:
    rows = [kind(number, f"{start}{name}") for number, name in enumerate(photos)]
    write(place / "pets" / "list.csv", "file,kind", rows)
    with pytest.raises(UserError, match="In pets/photos there is '00.png': take '.*' off the paths") as error:
        init("pets/list.csv")
    assert "max_bad" not in str(error.value)


@pytest.mark.parametrize("joined", [True, False])
def test_a_word_for_a_missing_cell_is_a_tag_where_it_stands_beside_others(survey: Survey, joined: bool) -> None:
    cells = ["nan"] * 3 + ["roti|puri", "nan|roti" if joined else "roti", "puri|rice", "rice", "puri"]
    ran = survey("file,tags", lambda n, name: f"{name},{cells[n % 8]}")
    assert ("nan 12" in ran.out) == joined, "three of eight images have it alone"
    assert ("9 rows without a tags" in ran.out) != joined


@pytest.mark.slow
def test_the_download_stage_reads_a_table_that_was_written(place: Path, survey: Survey) -> None:
    survey("id,tags", lambda n, name: f"{name[:-4]},{'|'.join([*['a'] * (n % 2), *['b'] * (n % 3 == 0)])}")
    script = Path(__file__).parents[2] / "stages" / "download.py"
    subprocess.run([str(nursery() / "python"), str(script)], cwd=place, check=True, timeout=300)
    samples = pd.read_csv(place / "data" / "samples.csv", dtype=str)
    assert samples["tags"][:4].tolist() == ["|b|", "|a|", "|", "|a|b|"]
