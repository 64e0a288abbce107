"""params.yaml: complete, checked whole, every key used, every slip told with the nearest known name."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.params.base import Section
from meltpoint.params.checks import OVERLOOKED
from meltpoint.params.exports import Exports
from meltpoint.params.read import Params, ParamsError, parse_params, read_params
from meltpoint.params.yaml12 import load, written_at

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
def test_what_is_absent_is_off(section: type[Section]) -> None:
    optional = {name: field.default for name, field in section.model_fields.items() if not field.is_required()}
    off = (None, False, 0, "none", [], {})
    on = {name: value for name, value in optional.items() if value not in off}
    assert {name for name, value in on.items() if not isinstance(value, Section) or value.model_fields_set} == set()


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_no_key_is_one_that_dvc_overlooks(section: type[Section]) -> None:
    assert set(OVERLOOKED) & set(section.model_fields) == set()


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
    files_of_formats = set(Exports.model_fields)  # tests/contracts/test_exports.py runs them
    assert known - used - {"kind"} - files_of_formats == set(), "a knob that turns nothing"


def test_all_slips_are_told_at_once(raw: dict[str, Any]) -> None:
    del raw["seed"]
    raw["strategies"]["frozen"]["probe"]["lr"] = -1
    raw["split"]["ratios"]["val"] = 0.5
    with pytest.raises(ParamsError) as caught:
        parse_params(raw, "params.yaml")
    message = str(caught.value)
    assert "3 errors" in message
    assert "seed: missing" in message
    assert "greater than 0, and got -1" in message
    assert "train + val + test is 1.39" in message


RECALL = {"metric": "recall", "at_least": 0.9}
NAMES = {"package": None, "table": "x", "separator": None, "header": None, "key": "a", "languages": {"en": "b"}}
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
        ({"task.tree": {**TREE, "levels": ["wafer", "waver"]}}, r"task\.tree\.levels: 'waver' is not in heads"),
        ({"task.tree": {**TREE, "levels": ["wafer", "wafer"]}}, r"task\.tree\.levels: 'wafer' is there 2 times"),
        ({"task.tree": TREE, "heads.wafer.threshold": RECALL}, r"heads\.wafer\.threshold: the levels of a tree"),
        (
            {"task.tree": {**TREE, "parents": {"wafer": {}}}},
            r"task\.tree\.parents: needs the levels \['severity'\], and has \['wafer'",
        ),
        ({"data.labels.odd": equal("waver", "x")}, r"data\.labels\.odd\.label: 'waver' is not in data\.labels"),
        ({"data.labels.odd": equal("wafer", "x")}, r"data\.labels\.odd\.is_in: \['x'\] are none"),
        ({"data.labels.odd": equal("odd", "yes")}, r"data\.labels\.odd\.label: 'odd' is made of 'odd' itself"),
        ({"data.labels.odd": equal("even", "yes"), "data.labels.even": equal("odd", "no")}, "'even' is made of 'odd'"),
        ({"data.labels.size": equal("wafer", "poly")}, r"data\.labels\.size: DVC keeps the words size and nfiles for"),
        ({"data.names.waver": NAMES}, r"data\.names: 'waver' is not in data\.labels"),
        ({"data.source": {"kind": "foldr", "path": "x"}}, "'folder'"),
        ({"heads.wafer.main": True}, "exactly one has `main: true`"),
        ({"heads.wafer.label": "waver"}, r"heads\.wafer\.label: 'waver'"),
        ({"views.s128.sied": 64}, r"views\.s128\.sied: unknown key\. Did you mean 'side'\?"),
        ({"train.launcher": "elastic"}, r"train\.launcher: unknown key\. Known are .*nodes, .*rendezvous, restarts"),
        ({"export": {"onnx": {"half": True}}}, r"export\.onnx\.half: unknown key\. It is a key of export\.openvino\.$"),
        ({"heads.wafer.tap": {"depth": 3}}, r"wafer\.linear\.tap\.TokenTap\.depth: unknown key\. Known are at, pool"),
        ({"train.restarts": 2}, "`restarts` are those of several processes, and there is one"),
        ({"train.rendezvous": "gpu-1:29400"}, "`nodes` is not set"),
        ({"train.nodes": 2}, "`rendezvous` is missing: HOST:PORT"),
        ({"train.nodes": 2, "train.rendezvous": "gpu-1:99999"}, "'gpu-1:99999' is not HOST:PORT"),
        ({"task.half": True}, r"task\.half: unknown key\. Known are kind, tree\.$"),
        ({"sead": 7}, r"sead: unknown key\. Did you mean 'seed'\?"),
        ({"compare.seed": 7}, r"compare\.seed: unknown key\. It is a key of split\."),
        ({"data.labels.wafer.clases": ["a"]}, r"clases: unknown key\. Did you mean 'classes'\?"),
        ({"data.source.inside": {}}, r"package\.inside: unknown key\. It is a key of kind archive\."),
        ({"data.labels.wafer.at_least": 1}, r"at_least: unknown key\. It is a key of kind threshold\."),
        ({"encoders.lite0.weights.tag": "x"}, r"weights\.package\.tag: unknown key\. It is a key of kind hub\."),
        ({"heads.wafer.dropuot": 0.5}, r"heads\.wafer\.linear\.dropuot: unknown key\. Known are class_weights, "),
        ({"strategies.frozen.probe.epoch": 3}, r"probe\.epoch: unknown key\. Did you mean 'epochs'\?"),
        ({"heads.wafer.unknown": {"covrage": 1}}, r"covrage: unknown key\. Did you mean 'coverage'\?"),
        ({"compare.metric": "quadratic_kappa"}, r"compare\.metric: quadratic_kappa needs classes that are steps"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_an_error_is_told(raw: dict[str, Any], change: dict[str, Any], message: str) -> None:
    for path, value in change.items():
        *above, last = path.split(".")
        section = raw
        for key in above:
            section = section.setdefault(key, {})
        section[last] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(raw, "params.yaml")


def test_what_fits_together_is_accepted(raw: dict[str, Any]) -> None:
    raw["data"]["names"] = {"wafer": NAMES}
    raw["data"]["labels"] |= {"poly": equal("wafer", "poly"), "not_poly": equal("poly", "no")}
    raw["heads"]["defective"] |= {"threshold": RECALL, "where": {"label": "not_poly", "is_in": ["yes"]}}
    raw["heads"]["severity"] |= {"target": "ordinal", "class_weights": {"broken": 2.0}}
    raw["task"]["tree"] = {"levels": ["wafer", "severity"], "parents": {"severity": {"sound": "mono"}}}
    assert parse_params(raw, "params.yaml").task.tree is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not YAML"), ("- 1", "no mapping"), ("", "no mapping"), (None, "Put a preset in place: make preset")],
)
def test_a_broken_or_missing_file_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        read_params(tmp_path / "params.yaml")


@pytest.fixture
def read_edited(tmp_path: Path) -> Callable[[str, str], Params]:
    """read_edited(old, new): the default with a part of its text replaced."""

    def _read(old: str, new: str) -> Params:
        text = (ROOT / "presets" / "elpv.yaml").read_text()
        assert old in text
        (tmp_path / "params.yaml").write_text(text.replace(old, new))
        return read_params(tmp_path / "params.yaml")

    return _read


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[true, false]", r"classes\.0: this is text, and YAML reads true as true or false; quote it: 'true'"),
        ("[a, 3]", r"classes\.1: this is text, and YAML reads 3 as a number; quote it: '3'"),
        ("[a, null]", r"classes\.1: this is text, and YAML reads null as nothing; quote it: 'null'"),
        ("[2024-01-01, a]", r"classes\.0: .* reads 2024-01-01 as a date; quote it: '2024-01-01'"),
        ("[007, 010]", r"reads 007 as a number; quote it: '007'(.|\n)*reads 010 as a number; quote it: '010'"),
        ("[a, 1.10]", r"reads 1\.10 as a number; quote it: '1\.10'"),
        ("[0x10, a]", r"reads 0x10 as a number; quote it: '0x10'"),
        ("[1e3, a]", r"reads 1e3 as a number; quote it: '1e3'"),
        ("[1_000, a]", r"reads 1_000 as a number; quote it: '1_000'"),
        ("[~, a]", r"reads ~ as nothing; quote it: '~'"),
        ("[True, a]", r"reads True as true or false; quote it: 'True'"),
    ],
)
def test_a_class_that_yaml_takes_for_something_else(
    read_edited: Callable[[str, str], Params], classes: str, message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        read_edited("classes: [mono, poly]", f"classes: {classes}")


def test_a_class_as_key_is_told_as_it_is_written(read_edited: Callable[[str, str], Params]) -> None:
    with pytest.raises(ParamsError, match=r"reads 007 as a number; quote it: '007'"):
        read_edited("{label: wafer}", "{label: wafer, class_weights: {007: 1.0}}")


def test_the_text_of_a_scalar_is_found_by_its_path() -> None:
    text = "a: {kind: names, classes: [007, b]}\nb:\n  - 1_0\n  -\n0x10: {c: d}\n"
    assert written_at(text, ("a", "names", "classes", 0)) == "007", "a schema puts in the name of the kind"
    assert written_at(text, ("b", 0)) == "1_0"
    assert written_at(text, ("b", 1)) == "", "nothing is written there"
    assert written_at(text, ("16", "[key]")) == "0x10"
    assert written_at(text, ("a", "classes")) is None
    assert written_at("", ("a",)) is None


def test_without_the_text_nothing_is_guessed() -> None:
    raw = load((ROOT / "presets" / "elpv.yaml").read_text().replace("classes: [mono, poly]", "classes: [007, a]"))
    with pytest.raises(ParamsError, match=r"reads it as a number; quote it as you wrote it"):
        parse_params(raw, "these")


@pytest.mark.parametrize("classes", ["[no, yes]", "['no', 'yes']", "[off, on]", "[y, n]", "['1', '2']"])
def test_classes_that_are_called_yes_and_no(read_edited: Callable[[str, str], Params], classes: str) -> None:
    label = read_edited("classes: [mono, poly]", f"classes: {classes}").data.labels["wafer"]
    assert label.classes == [name.strip("' ") for name in classes.strip("[]").split(",")]


def test_numbers_with_an_exponent_are_numbers_everywhere(tmp_path: Path) -> None:
    text = (ROOT / "presets" / "elpv.yaml").read_text()
    text = text.replace(
        "name: tf_efficientnet_lite0",
        "name: tf_efficientnet_lite0\n    args: {drop_rate: 1e-1, drop_path_rate: .5e-1, pad_type: same}",
    )
    text = text.replace("calibration_bins: 15", "calibration_bins: 1.5E1").replace("official: true", "official: no")
    text = text.replace("brightness_limit: 0.15", "brightness_limit: 15e-2")
    (tmp_path / "params.yaml").write_text(text)
    params = read_params(tmp_path / "params.yaml")
    assert params.encoders["lite0"].args == {"drop_rate": 0.1, "drop_path_rate": 0.05, "pad_type": "same"}
    assert params.evaluate.calibration_bins == 15
    assert params.split.official is False
    assert params.views["s128"].transforms[1]["RandomBrightnessContrast"]["brightness_limit"] == 0.15


@pytest.mark.parametrize("word", ["yes", "No", "off"])
def test_a_yes_where_anything_is_taken_is_refused(raw: dict[str, Any], word: str) -> None:
    raw["encoders"]["lite0"]["args"] = {"act_first": word}
    raw["views"]["s128"]["transforms"][1]["RandomBrightnessContrast"]["brightness_by_max"] = word
    with pytest.raises(ParamsError, match=f"encoders.lite0.args.act_first: '{word}' is text in YAML 1.2") as caught:
        parse_params(raw, "params.yaml")
    assert "views.s128.1.RandomBrightnessContrast.brightness_by_max" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "decides"),
    [("checkpoint_path", "`weights` of the encoder"), ("pretrained_cfg", "`weights` of the encoder"),
     ("features_only", "the taps of heads"),
     ("num_classes", "heads"), ("img_size", "`side` of its views"), ("cache_dir", "the environment variable HF_HOME")],
)  # fmt: skip
def test_arguments_that_bypass_another_section_are_refused(raw: dict[str, Any], name: str, decides: str) -> None:
    raw["encoders"]["lite0"]["args"] = {name: "good.pth", "drop_rate": 0.1}
    with pytest.raises(ParamsError, match=rf"encoders\.lite0\.args\.{name}: that is for {decides} to decide") as caught:
        parse_params(raw, "params.yaml")
    assert "has 1 error" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("timm/convnext_tiny.fb_in22k", "convnext_tiny.fb_in22k"), ("hf-hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
     ("hf_hub:timm/resnet18", "resnet18"), ("HF-hub:timm/resnet18", "resnet18"), ("resnet18", "resnet18"),
     ("hf-hub:laion/x", "hf-hub:laion/x"), ("other/timm/x", "other/timm/x"), ("local-dir:timm/x", "local-dir:timm/x")],
)  # fmt: skip
def test_names_as_hubs_write_them(raw: dict[str, Any], name: str, plain: str) -> None:
    raw["encoders"]["lite0"]["name"] = name
    assert parse_params(raw, "params.yaml").encoders["lite0"].name == plain
