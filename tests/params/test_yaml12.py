"""params.yaml is read as DVC reads it: numbers, yes and no, and what is written is read back the same by both."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import load_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.params.yaml12 import QuickLoader, dump, load

ROOT = Path(__file__).parents[2]
LINES = """
1 -1 +1 0 007 017 0o17 -0o17 0x1F 0b101 1_000 1_000.5 10_0e1 1:30 1:30:00 190:20:30.15
1e-1 1E3 1e3 1.5e3 1.e-3 .5 .5e-3 -.5 -1e-05 1e+5 +1.0E-2 1. .inf -.inf .NaN .Inf
true True TRUE false False FALSE tRue yes Yes NO no on Off y n Y N
null ~ Null nUll none None NaN inf 1e 1e- e1 0x 0o8 09 08.5 1.2.3 -- . .. 2024-01-01 1_ 12e03 0.1e-1 infinity
"""
SCALARS = LINES.split()


def same(one: Any, other: Any) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or (type(one), one) == (type(other), other)


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("form", ["value: {}\n", "value: [{}]\n", "{}: 1\n"])
def test_a_scalar_is_what_dvc_takes_it_for(scalar: str, form: str) -> None:
    text = form.format(scalar)
    found, quick, wanted = load(text), load(text, QuickLoader), parse_yaml(text, "params.yaml")
    for one in (found, quick):
        if "[" in form or form.startswith("value"):
            one, other = (value[0] if isinstance(value, list) else value for value in (one["value"], wanted["value"]))
        else:
            (one,), (other,) = one, wanted
        assert same(one, other), (scalar, one, other)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [("1e-1", 0.1), ("1E3", 1000.0), (".5e-3", 0.0005), ("0o17", 15), ("1_000", 1000), ("no", "no"), ("1:30", "1:30")],
)
def test_what_people_write(scalar: str, value: Any) -> None:
    assert same(load(f"value: {scalar}")["value"], value)


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_what_dvc_takes_it_for(path: Path) -> None:
    assert load(path.read_text(encoding="utf-8")) == load_yaml(str(path))


VALUES = st.one_of(st.sampled_from(SCALARS), st.booleans(), st.integers(), st.floats(allow_nan=False), st.none())


@given(st.dictionaries(st.sampled_from(SCALARS), st.lists(VALUES), max_size=5), st.booleans())
def test_what_is_written_is_read_back_by_both(value: Any, flow: bool) -> None:
    text = dump(value, default_flow_style=flow)
    assert load(text) == value
    assert parse_yaml(text, "params.yaml") == value


@pytest.mark.parametrize("text", ["0x_", "a: 1\na: 2", "!!python/name:os.system"])
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load(text)
