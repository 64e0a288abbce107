from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.labels import LabelError, build_labels, check_class_counts, count_classes, written_missing
from meltpoint.params.data import EqualsLabel, Label, MaskLabel, NamesLabel, ThresholdLabel, ValuesLabel

THIRDS = {"sound": 0.0, "third": 1 / 3, "rather": 2 / 3, "broken": 1.0}
ALIKE = [
    "cafe\u0301",
    "caf\xe9",
    "cat",
    "cat\u200b",
]  # no person can tell them apart, and where they are listed they are meant


def rows(**columns: list[str]) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.Index([f"i{n}.png" for n in range(length)]), dtype="string")


def names(classes: list[str] | None = None) -> NamesLabel:
    return NamesLabel(kind="names", column="c", classes=classes)


def values(classes: dict[str, float]) -> ValuesLabel:
    return ValuesLabel(kind="values", column="c", classes=classes)


def threshold(at_least: float) -> ThresholdLabel:
    return ThresholdLabel(kind="threshold", column="c", at_least=at_least, classes=["no", "yes"])


def equals(label: str, *is_in: str) -> EqualsLabel:
    return EqualsLabel(kind="equals", label=label, is_in=list(is_in), classes=["no", "yes"])


def built(cells: list[str], label: Label) -> tuple[list[str], list[str]]:
    labels, classes = build_labels(rows(c=cells), {"y": label})
    assert labels["y"].dtype == "string"
    return labels["y"].fillna("?").tolist(), classes["y"]


@pytest.mark.parametrize(
    ("cells", "label", "expected", "classes"),
    [
        (["b", "a", "", "b"], names(), ["b", "a", "?", "b"], ["a", "b"]),
        (["b", "a", "nan"], names(["b", "a"]), ["b", "a", "?"], ["b", "a"]),
        (["none", "NA", "x"], names(), ["none", "NA", "x"], ["NA", "none", "x"]),
        (["0", "0.333333333", "0.6666667", "1.0", "NA"], values(THIRDS), [*THIRDS, "?"], list(THIRDS)),
        (["sound", "1", "rather", "none"], values(THIRDS), ["sound", "broken", "rather", "?"], list(THIRDS)),
        (["1", "0", "2"], values({"1": 0, "2": 1}), ["2", "1", "2"], ["1", "2"]),
        (["none", "1"], values({"none": 0, "some": 1}), ["none", "some"], ["none", "some"]),
        (["Cat", "cat"], names(["Cat", "cat"]), ["Cat", "cat"], ["Cat", "cat"]),
        (ALIKE, names(ALIKE), ALIKE, ALIKE),
        (
            ["0.5", "0.4999", "1e3", "-2", "None", ""],
            threshold(0.5),
            ["yes", "no", "yes", "no", "?", "?"],
            ["no", "yes"],
        ),
    ],
)
def test_rules(cells: list[str], label: Label, expected: list[str], classes: list[str]) -> None:
    assert built(cells, label) == (expected, classes)


@pytest.mark.parametrize(
    ("cells", "label", "parts"),
    [
        (
            ["mono", "polly", "polly"],
            names(["mono", "poly"]),
            ["'polly' in 2 row(s), first i1.png", "Did you mean 'poly'"],
        ),
        (["0", "0.5"], values(THIRDS), ["'0.5' in 1 row(s)", "sound", "0.6666"]),
        (["0", "brocken"], values(THIRDS), ["'brocken' in 1 row(s)", "or their names", "Did you mean 'broken'"]),
        (["0", "0,5"], threshold(0.5), ["'0,5' in 1 row(s)", "point for decimals"]),
        ([str(n) for n in range(2, 12)], values(THIRDS), ["and 5 more"]),
        (["Cat", "cat", "dog"], names(), ["'Cat' and 'cat'", "no person can tell apart", "capitals"]),
        (["big cat", "big\xa0cat"], names(), ["'big cat' and 'big\\xa0cat'"]),
        (["cafe\u0301", "tea"], names(["caf\xe9", "tea"]), ["look alike, and differ: 'cafe\\u0301' and 'caf\\xe9'"]),
        (["a"], names(["a", "a"]), ["empty or repeated"]),
        (["0"], values({"a": 0.5, "b": 0.5000000001}), ["one number"]),
    ],
)
def test_what_cannot_be_a_label_is_named(cells: list[str], label: Label, parts: list[str]) -> None:
    with pytest.raises(LabelError) as caught:
        built(cells, label)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("T-shirt", "T\u2212shirt"),
        ("T\u2010shirt", "T\u2014shirt"),
        ("child's", "child\u2019s"),
        ("child\u02bcs", "child\u2032s"),
        ('17"', "17\u2033"),
        ("cat", "\u2800cat"),
        ("red cat", "red\uffa0cat"),
        ("cat", "c\U000e0101at"),
    ],
)
def test_dashes_quotes_and_letters_that_look_blank_tell_no_classes_apart(one: str, other: str) -> None:
    with pytest.raises(LabelError, match="no person can tell apart"):
        built([one, other, "dog"], names())


def test_signs_that_differ_to_a_person_tell_classes_apart() -> None:
    told = ["T shirt", "T-shirt", "T_shirt", "Tshirt", "child", 'child"', "child's", "cat", "ca t"]
    assert built(told, names())[1] == sorted(told)


@pytest.mark.parametrize("word", ["nan", "NaN", "<NA>"])
def test_words_for_missing_are_missing_in_tables_alone(word: str) -> None:
    label = {"y": names()}
    cells = rows(c=[word, "roti", "puri", "puri"])
    assert build_labels(cells, label)[1] == {"y": ["puri", "roti"]}
    assert build_labels(cells, label, ["c"])[1] == {"y": sorted([word, "puri", "roti"])}
    assert build_labels(cells, {"y": names([word, "roti", "puri"])})[0]["y"].tolist() == [word, "roti", "puri", "puri"]


def test_words_for_missing_are_counted() -> None:
    cells = rows(c=["nan", "a", "b", "", "NaN"])
    (note,) = written_missing(cells, {"y": names()}, [])
    assert note.startswith("2 rows of 'c' hold a word for a missing cell, and have no 'y': {'NaN': 1, 'nan': 1}")
    assert written_missing(cells, {"y": names()}, ["c"]) == []
    assert written_missing(cells, {"y": names(["nan", "NaN", "a", "b"])}, []) == []


def test_a_missing_column_names_the_nearest() -> None:
    label = NamesLabel(kind="names", column="wafre", classes=None)
    with pytest.raises(LabelError, match=r"'wafre'.*Did you mean 'wafer'"):
        build_labels(rows(wafer=["a"], probability=["1"]), {"y": label})


def test_rows_of_one_path_keep_their_own_labels() -> None:
    table = rows(c=["a", "b"]).set_axis(["same.png", "same.png"], axis="index")
    labels, _ = build_labels(table, {"y": names()})
    assert labels["y"].tolist() == ["a", "b"]


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.floats(allow_nan=False, allow_infinity=False))
def test_a_threshold_parts_numbers_exactly(numbers: list[float], at_least: float) -> None:
    cells, _ = built([repr(number) for number in numbers], threshold(at_least))
    assert cells == ["yes" if number >= at_least else "no" for number in numbers]


def test_counts_name_every_class() -> None:
    samples = pd.DataFrame({"y": pd.array(["a", "a", None], dtype="string")})
    assert count_classes(samples, {"y": ["a", "b"]}) == {"y": {"a": 2, "b": 0}}


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ({"a": 3}, "two classes"),
        ({}, "two classes"),
        ({"a": 3, "b": 0}, "two classes"),
        ({"a": 1, "b": 2, "c": 0}, "'c'"),
    ],
)
def test_labels_that_teach_nothing_are_refused(counts: dict[str, int], match: str) -> None:
    with pytest.raises(LabelError, match=match):
        check_class_counts({"good": {"a": 1, "b": 1}, "y": counts})


@pytest.mark.parametrize("first", ["screen", "kind"])
def test_a_label_made_of_another_before_or_after_it(first: str) -> None:
    labels: dict[str, Label] = {"screen": equals("kind", "photo", "film"), "kind": names(["text", "photo", "film"])}
    ordered = {name: labels[name] for name in sorted(labels, key=lambda name: name != first)}
    table, classes = build_labels(rows(c=["photo", "text", "", "film"]), ordered)
    assert table["screen"].fillna("?").tolist() == ["yes", "no", "?", "yes"]
    assert table["screen"].dtype == "string"
    assert list(table.columns) == list(classes) == list(ordered)
    assert classes["screen"] == ["no", "yes"]


def test_a_label_made_of_one_that_is_made_of_another() -> None:
    labels: dict[str, Label] = {"z": equals("y", "no"), "y": equals("x", "a"), "x": names()}
    table, _ = build_labels(rows(c=["a", "b", ""]), labels)
    assert table["z"].fillna("?").tolist() == ["no", "yes", "?"]


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ({"y": equals("kinds", "a"), "kind": names()}, ["data.labels.y.label is 'kinds'", "Did you mean 'kind'"]),
        (
            {"y": equals("kind", "fotos"), "kind": names()},
            ["data.labels.y.is_in names 'fotos'", "Did you mean 'photos'"],
        ),
        ({"y": equals("y", "no")}, ["circle: 'y', made of 'y'"]),
        ({"x": names(), "y": equals("z", "no"), "z": equals("y", "no")}, ["circle: 'y', made of 'z', made of 'y'"]),
        ({"kind": names(), "split": equals("kind", "photos")}, ["called 'split'"]),
    ],
)
def test_a_label_made_of_another_wrongly_is_told(labels: dict[str, Label], parts: list[str]) -> None:
    with pytest.raises(LabelError) as caught:
        build_labels(rows(c=["photos", "text"]), labels)
    assert all(part in str(caught.value) for part in parts), caught.value


def mask(pixels: str = "ids", void: list[Any] | None = None, **classes: Any) -> MaskLabel:
    named = {name: {"id": id_, "colour": colour} for name, (id_, colour) in classes.items()}
    return MaskLabel.model_validate(
        {"kind": "mask", "column": "c", "pixels": pixels, "classes": named, "void": void or []}
    )


def test_a_label_of_masks_holds_their_paths_and_its_classes_in_order() -> None:
    label = mask(void=[255], sky=(3, "#000000"), road=(0, "#ffffff"))
    assert built(["/a.png", "/b.png"], label) == (["/a.png", "/b.png"], ["sky", "road"])


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (mask(a=(None, "#000000"), b=(1, "#000001")), "reads masks of ids, and gives none to 'a'"),
        (mask(void=["#000000"], a=(0, "#000000"), b=(1, "#000001")), "none to void '#000000'"),
        (mask("colours", [255], a=(0, "#000000"), b=(1, "#000001")), "masks of colours, and gives none to void 255"),
        (mask(a=(1, "#000000"), b=(1, "#000001")), r"gives \['1'\] to several"),
        (mask(void=[1], a=(1, "#000000"), b=(2, "#000001")), r"gives \['1'\] to several"),
        (mask("colours", a=(1, "#0000aa"), b=(2, "#0000AA")), r"gives \['#0000aa'\] to several"),
        (mask(**{"a|b": (1, "#000000"), "c": (2, "#000001")}), r"\['a\|b'\]; names .* hold no '\|'"),
    ],
)
def test_classes_of_pixels_that_cannot_be_told_apart_are_refused(label: MaskLabel, match: str) -> None:
    with pytest.raises(LabelError, match=match):
        built(["/a.png"], label)


def test_classes_of_ids_may_share_a_colour() -> None:
    assert built(["/a.png"], mask(a=(0, "#000000"), b=(1, "#000000")))[1] == ["a", "b"]


def test_counts_of_masks_are_of_images_that_show_a_class() -> None:
    samples = pd.DataFrame({"y": ["a|b", "b", None], "y.mask": ["1", "2", "3"]}, dtype="string")
    assert count_classes(samples, {"y": ["a", "b", "c"]}) == {"y": {"a": 1, "b": 2, "c": 0}}
