"""The examples of docs/backbones.md are what params.yaml takes, and its table of families is what the tests run on."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.model.backbones import tap_key
from meltpoint.params.read import Params, parse_params

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
ROWS = dict(re.findall(r"^\| ([^|]+?) \| yes \| (.*)\|$", PAGE, flags=re.M))


def with_example(example: str) -> Params:
    """The default preset with the sections of an example, whose encoder all strategies take."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    raw |= yaml.safe_load(example)
    for strategy in raw["strategies"].values():
        strategy["encoder"] = next(iter(raw["encoders"]))
    return parse_params(raw, "docs/backbones.md")


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid_params(example: str) -> None:
    assert [tap_key(head.reads) for head in with_example(example).heads.values()]


def test_examples_show_every_kind_of_head_and_of_tap() -> None:
    heads = [head for example in EXAMPLES for head in with_example(example).heads.values()]
    assert {head.kind for head in heads} == {"linear", "mlp", "conv"}
    assert {"final", "-4.class+patches", "-1.map"} <= {tap_key(head.reads) for head in heads}


def test_the_table_of_families_is_what_is_tested(family: Any, request: pytest.FixtureRequest) -> None:
    words = {"convnextv2": "ConvNeXt V2", "efficientnet": "EfficientNet", "eva": "EVA-02", "vit": "ViT"}
    key = request.node.callspec.id
    name = words.get(key, key.replace("_registers", " with registers").replace("_", " "))
    row = next(text for names, text in ROWS.items() if name.lower() in names.lower().split(", "))
    pool, convolution = (cell.strip() for cell in row.split("|"))
    assert pool == (", ".join(family.tokens) or "no")
    assert convolution == ("yes" if family.convolution else "no")


def test_the_table_of_sizes_has_its_command() -> None:
    assert "<!-- table: python benchmarks/run.py backbones -->" in PAGE
    assert (ROOT / "benchmarks" / "backbones.py").exists()
