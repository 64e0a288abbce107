"""Tags from one cell or from a column each, and how they part into train, val and test."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from meltpoint.data.labels import LabelError, build_labels, count_classes
from meltpoint.data.strata import combine_labels
from meltpoint.data.tag_labels import TagError
from meltpoint.params.data import Label


def build(cells: dict[str, list[str]], **label: Any) -> tuple[list[Any], list[str]]:
    rows = pd.DataFrame(cells, dtype="string")
    rows.index = pd.Index([f"{number}.png" for number in range(len(rows))])
    parsed: Any = TypeAdapter(Label).validate_python({"kind": "tags", **label})
    built, classes = build_labels(rows, {"shown": parsed})
    return [None if pd.isna(cell) else cell for cell in built["shown"]], classes["shown"]


def test_names_in_a_cell() -> None:
    cells, names = build({"t": ["dog; beach", "", "nan", "none", "dog"]}, column="t", separator=";", none="none")
    assert (cells, names) == (["|beach|dog|", None, None, "|", "|dog|"], ["beach", "dog"])
    assert build({"t": ["dog", "", "cat"]}, column="t", separator=";", none="")[0] == ["|dog|", "|", "|cat|"]
    assert build({"t": ["b,a"]}, column="t", separator=",", classes=["b", "a"])[0] == ["|b|a|"]


def test_a_column_for_each_tag() -> None:
    cells, names = build({"sea": ["1", "0", "", "1.0"], "dog": ["0", "0", "", ""]}, columns=["sea", "dog"])
    assert (cells, names) == (["|sea|", "|", None, "|sea|?dog|"], ["sea", "dog"])


@pytest.mark.parametrize(
    ("cells", "label", "said"),
    [
        ({"t": ["dog;dog"]}, {"column": "t", "separator": ";"}, "names 'dog' several times"),
        ({"t": ["a|b;c"]}, {"column": "t", "separator": ";"}, r"'a\|b'.*hold '\|'"),
        ({"t": ["?a;c"]}, {"column": "t", "separator": ";"}, r"begin with '\?'"),
        ({"t": ["dgo"]}, {"column": "t", "separator": ";", "classes": ["dog", "cat"]}, "Did you mean 'dog'"),
        ({"t": ["Dog;dog"]}, {"column": "t", "separator": ";"}, "no person can tell apart"),
        ({"sea": ["1", "yes"], "dog": ["1", "0"]}, {"columns": ["sea", "dog"]}, r"'sea' holds .*'yes'.*1\.png"),
        ({"sea": ["1"]}, {"columns": ["see"]}, "has no such column"),
        ({"sea": ["1"]}, {"columns": ["sea", "sea"]}, "'sea'.* is empty or repeated"),
    ],
)
def test_what_is_no_list_of_tags_is_refused(cells: dict[str, list[str]], label: dict[str, Any], said: str) -> None:
    with pytest.raises((TagError, LabelError), match=said):
        build(cells, **label)


@pytest.mark.parametrize("label", [{}, {"column": "t"}, {"column": "t", "separator": ";", "columns": ["a"]}])
def test_a_label_of_tags_has_one_form(label: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="separator|either"):
        TypeAdapter(Label).validate_python({"kind": "tags", **label})


def test_each_tag_is_a_stratum_of_its_own() -> None:
    samples = pd.DataFrame({"shown": ["|sea|", "|sea|dog|", "|", None]}, dtype="string")
    assert count_classes(samples, {"shown": ["sea", "dog"]}) == {"shown": {"sea": 2, "dog": 1}}
    codes, _ = combine_labels(samples, {"shown": ["sea", "dog"]})
    np.testing.assert_array_equal(codes, [[0, -1], [0, 0], [-1, -1], [-1, -1]])
