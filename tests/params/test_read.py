"""params.yaml: complete, checked whole, every key used, every slip told with the nearest known name."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.params.base import Section
from meltpoint.params.checks import OVERLOOKED
from meltpoint.params.read import ParamsError, parse_params, read_params

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def sections(section: type[Section] = Section) -> Iterator[type[Section]]:
    for child in section.__subclasses__():
        if child.__module__.startswith("meltpoint.params."):  # other tests make sections of their own
            yield child
            yield from sections(child)


@pytest.fixture
def raw() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    return document


def test_the_default_is_the_elpv_preset() -> None:
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "presets" / "elpv.yaml").read_bytes()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid(path: Path) -> None:
    assert read_params(path).main_head


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_nothing_has_a_default(section: type[Section]) -> None:
    assert [name for name, field in section.model_fields.items() if not field.is_required()] == []


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_no_key_is_one_that_dvc_overlooks(section: type[Section]) -> None:
    assert set(OVERLOOKED) & set(section.model_fields) == set()


def test_names_that_dvc_overlooks_are_refused(raw: dict[str, Any]) -> None:
    raw["data"]["labels"]["size"] = raw["data"]["labels"]["wafer"]
    with pytest.raises(ParamsError, match=r"data\.labels\.size: DVC keeps the words size and nfiles for itself"):
        parse_params(raw, "params.yaml")


def test_what_dvc_overlooks_is_known() -> None:
    """Should it one day look at them, or away from others, `OVERLOOKED` is to be corrected."""
    from dvc.stage.cache import _get_cache_hash

    entry = {"cmd": "x", "params": {"params.yaml": {"images": {"side": 1, "size": 1, "nfiles": 1}}}}
    for key in ("side", *OVERLOOKED):
        other = {"cmd": "x", "params": {"params.yaml": {"images": {"side": 1, "size": 1, "nfiles": 1, key: 2}}}}
        assert (_get_cache_hash(entry) == _get_cache_hash(other)) == (key in OVERLOOKED)


def test_every_key_is_used() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("stages/*.py")]
    used = {
        node.attr for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
    }
    known = {name for section in sections() for name in section.model_fields}
    assert known - used - {"kind"} == set(), "a knob that turns nothing"


def test_an_unknown_key_names_the_nearest(raw: dict[str, Any]) -> None:
    raw["images"]["sied"] = 64
    with pytest.raises(ParamsError, match=r"images\.sied: unknown key\. Did you mean 'side'\?"):
        parse_params(raw, "params.yaml")


def test_all_slips_are_told_at_once(raw: dict[str, Any]) -> None:
    del raw["seed"]
    raw["strategies"]["frozen"]["probe"]["lr"] = -1
    raw["split"]["ratios"]["val"] = 0.5
    with pytest.raises(ParamsError) as caught:
        parse_params(raw, "params.yaml")
    message = str(caught.value)
    assert "3 slip(s)" in message
    assert "seed: missing" in message
    assert "greater than 0, and got -1" in message
    assert "train + val + test is 1.39" in message


def test_a_wrong_kind_lists_the_known(raw: dict[str, Any]) -> None:
    raw["data"]["source"] = {"kind": "foldr", "path": "x"}
    with pytest.raises(ParamsError, match="'folder'"):
        parse_params(raw, "params.yaml")


def test_exactly_one_main_head(raw: dict[str, Any]) -> None:
    raw["heads"]["wafer"]["main"] = True
    with pytest.raises(ParamsError, match="exactly one"):
        parse_params(raw, "params.yaml")


def test_a_head_needs_a_label(raw: dict[str, Any]) -> None:
    raw["heads"]["wafer"]["label"] = "waver"
    with pytest.raises(ParamsError, match=r"heads\.wafer\.label: 'waver'"):
        parse_params(raw, "params.yaml")


def test_slips_between_sections_are_told_at_once(raw: dict[str, Any]) -> None:
    raw["heads"]["wafer"]["label"] = "waver"
    raw["heads"]["severity"]["main"] = True
    with pytest.raises(ParamsError, match="2 slip") as caught:
        parse_params(raw, "params.yaml")
    assert str(caught.value).count("\n  - heads") == 2


RECALL = {"metric": "recall", "at_least": 0.9}
TREE = {"levels": ["wafer", "severity"], "parents": None}


def equal(label: str, *classes: str) -> dict[str, Any]:
    return {"kind": "equals", "label": label, "is_in": list(classes), "classes": ["no", "yes"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads.wafer.where": {"label": "waver", "is_in": ["x"]}}, r"heads\.wafer\.where\.label: 'waver' is not in"),
        (
            {"heads.wafer.where": {"label": "severity", "is_in": ["sound", "soft"]}},
            r"where\.is_in: \['soft'\] are none",
        ),
        ({"heads.wafer.class_weights": {"momo": 2.0}}, r"heads\.wafer\.class_weights: \['momo'\] are none of .*'mono'"),
        ({"heads.severity.threshold": RECALL}, r"heads\.severity\.threshold: it parts two classes, and 'severity' has"),
        ({"heads.wafer.threshold": RECALL, "heads.wafer.target": "ordinal"}, "threshold: .* target is ordinal"),
        ({"heads.wafer.target": "ordinal", "data.labels.wafer.classes": None}, "ordinal needs an order of classes"),
        ({"tree": {**TREE, "levels": ["wafer", "waver"]}}, r"tree\.levels: 'waver' is not in heads"),
        ({"tree": {**TREE, "levels": ["wafer", "wafer"]}}, r"tree\.levels: 'wafer' stands there 2 times"),
        ({"tree": TREE, "heads.wafer.threshold": RECALL}, r"heads\.wafer\.threshold: the levels of a tree"),
        (
            {"tree": {**TREE, "parents": {"wafer": {}}}},
            r"tree\.parents: needs the levels \['severity'\], and has \['wafer'",
        ),
        ({"data.labels.odd": equal("waver", "x")}, r"data\.labels\.odd\.label: 'waver' is not in data\.labels"),
        ({"data.labels.odd": equal("wafer", "x")}, r"data\.labels\.odd\.is_in: \['x'\] are none"),
        ({"data.labels.odd": equal("odd", "yes")}, r"data\.labels\.odd\.label: 'odd' is made of 'odd' itself"),
        ({"data.labels.odd": equal("even", "yes"), "data.labels.even": equal("odd", "no")}, "'even' is made of 'odd'"),
        ({"compare.metric": "quadratic_kappa"}, r"compare\.metric: quadratic_kappa needs classes that are steps"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_a_slip_between_sections_is_told(raw: dict[str, Any], change: dict[str, Any], message: str) -> None:
    for path, value in change.items():
        *above, last = path.split(".")
        section = raw
        for key in above:
            section = section[key]
        section[last] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(raw, "params.yaml")


def test_names_are_of_labels(raw: dict[str, Any]) -> None:
    table = {"package": None, "table": "x", "separator": None, "header": None, "key": "a", "languages": {"en": "b"}}
    raw["data"]["names"] = {"wafer": table}
    assert "wafer" in parse_params(raw, "params.yaml").data.names
    raw["data"]["names"] = {"waver": table}
    with pytest.raises(ParamsError, match=r"data\.names: 'waver' is not in data\.labels"):
        parse_params(raw, "params.yaml")


def test_what_fits_together_is_accepted(raw: dict[str, Any]) -> None:
    raw["data"]["labels"] |= {"poly": equal("wafer", "poly"), "not_poly": equal("poly", "no")}
    raw["heads"]["defective"] |= {"threshold": RECALL, "where": {"label": "not_poly", "is_in": ["yes"]}}
    raw["heads"]["severity"] |= {"target": "ordinal", "class_weights": {"broken": 2.0}}
    raw["tree"] = {"levels": ["wafer", "severity"], "parents": {"severity": {"sound": "mono"}}}
    assert parse_params(raw, "params.yaml").tree is not None


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- 1", "no mapping"), ("", "no mapping")])
def test_a_broken_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        read_params(tmp_path / "params.yaml")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="make preset"):
        read_params(tmp_path / "params.yaml")
