"""Every file in model/heads keeps the promise of a head, whoever wrote it."""

import typing
from pathlib import Path

import pytest
import torch
from torch import nn

import meltpoint.model.heads
from meltpoint.model.backbones import FeatureSpec
from meltpoint.model.model import build_heads
from meltpoint.model.standardise import Standardise
from meltpoint.params import model as params
from meltpoint.params.model import Head

KINDS = sorted(file.stem for file in Path(meltpoint.model.heads.__file__).parent.glob("[!_]*.py"))
SECTIONS = {
    typing.get_args(section.model_fields["kind"].annotation)[0]: section
    for section in vars(params).values()
    if isinstance(section, type) and issubclass(section, params.Section) and "tap" in section.model_fields
}
EXAMPLES = {  # a value for each key that any kind of head has; extend it with the keys of yours
    "label": "thing",
    "tap": "final",
    "weight": 1.0,
    "class_weights": "none",
    "main": True,
    "hidden": 8,
    "dropout": 0.25,
}
SPEC = FeatureSpec(channels=6, stride=32, grid=None)


def example(kind: str) -> Head:
    section = SECTIONS[kind]
    head = section(kind=kind, **{key: EXAMPLES[key] for key in section.model_fields if key != "kind"})
    assert isinstance(head, typing.get_args(typing.get_args(Head)[0]))
    return head


def build(kind: str, n_outputs: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return build_heads({"one": example(kind)}, {"final": SPEC}, {"one": n_outputs})["one"]


def test_each_kind_in_params_has_a_file_and_each_file_a_kind() -> None:
    assert sorted(SECTIONS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_shapes(kind: str, n_outputs: int) -> None:
    assert build(kind, n_outputs)(torch.randn(5, SPEC.channels)).shape == (5, n_outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_begins_by_standardising(kind: str) -> None:
    head = build(kind).eval()
    first = next(module for module in head.modules() if not list(module.children()))
    assert isinstance(first, Standardise)
    features = torch.randn(7, SPEC.channels)
    expected = head(features)
    first.fit(torch.full((SPEC.channels,), 3.0), torch.full((SPEC.channels,), 2.0))
    torch.testing.assert_close(head(features * 2 + 3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    head = build(kind)
    head(torch.randn(64, SPEC.channels)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_images_do_not_touch_each_other(kind: str) -> None:
    head, features = build(kind).eval(), torch.randn(5, SPEC.channels)
    torch.testing.assert_close(torch.cat([head(row[None]) for row in features]), head(features))


@pytest.mark.parametrize("kind", KINDS)
def test_many_copies_can_be_run_at_once(kind: str) -> None:
    copies = [build(kind).eval() for _ in range(3)]
    for number, copy in enumerate(copies):
        for parameter in copy.parameters():
            parameter.data += number
    stacked = torch.func.stack_module_state(typing.cast(list[nn.Module], copies))
    features = torch.randn(4, SPEC.channels)
    together = torch.vmap(lambda state: torch.func.functional_call(copies[0], state, (features,)))(stacked)
    torch.testing.assert_close(together, torch.stack([copy(features) for copy in copies]))
