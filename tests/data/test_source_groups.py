"""Groups that a source declares: a column, or a part of each path."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from meltpoint.data.listing import SourceError
from meltpoint.data.source_groups import read_groups
from meltpoint.params.data import GroupPattern
from meltpoint.params.read import read_params

ROOT = Path(__file__).parents[2]
CAMVID = ["train/0006R0_f01110.png", "val/0016E5_07959.png", "test/0001TP_008550.png", "test/Seq05VD_f00060.png"]


def found(paths: list[str], pattern: str) -> list[str | None]:
    groups = read_groups(pd.DataFrame(index=range(len(paths))), paths, GroupPattern(pattern=pattern), [])
    return [None if pd.isna(group) else group for group in groups]


def test_camvid_goes_by_its_sequences() -> None:
    group = read_params(ROOT / "presets" / "camvid.yaml").data.group
    assert isinstance(group, GroupPattern)
    assert found(CAMVID, group.pattern) == ["0006R0", "0016E5", "0001TP", "Seq05VD"]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [("^[^/]+", ["p1", "p2", "p1"]), ("^(p.)/(.)", ["p1", "p2", "p1"]), ("[ab](?=.png)", ["a", "a", "b"])],
)
def test_what_a_pattern_finds_is_the_group(pattern: str, groups: list[str]) -> None:
    assert found(["p1/a.png", "p2/a.png", "p1/b.png"], pattern) == groups


def test_an_empty_find_is_no_group() -> None:
    assert found(["p1/a.png", "b.png"], "^p.|") == ["p1", None]
    assert found(["p1/a.png", "b.png"], "^(p.)?") == ["p1", None]


@pytest.mark.parametrize(("pattern", "count"), [("^q", "0 of 2"), ("^p", "1 of 2")])
def test_a_pattern_that_misses_paths_is_refused_with_them(pattern: str, count: str) -> None:
    with pytest.raises(
        SourceError, match=rf"data\.group\.pattern is '\^.', which is in {count} paths.*b\.png.*Correct"
    ):
        found(["p1/a.png", "b.png"], pattern)


@pytest.mark.parametrize("pattern", ["(", "[a", "*"])
def test_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="is no regular expression"):
        GroupPattern(pattern=pattern)
