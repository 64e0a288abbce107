"""Every file in model/heads keeps the promise of a head, whoever wrote it."""

import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import meltpoint.model.heads
from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.model.model import build_heads
from meltpoint.model.standardise import Standardise
from meltpoint.params import heads as params
from meltpoint.params.heads import Head
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import GridTap, RandomWeights

KINDS = sorted(file.stem for file in Path(meltpoint.model.heads.__file__).parent.glob("[!_]*.py"))
SECTIONS = {
    typing.get_args(section.model_fields["kind"].annotation)[0]: section
    for section in vars(params).values()
    if isinstance(section, type) and issubclass(section, params.Section) and "class_weights" in section.model_fields
    if "kind" in section.model_fields
}
LEARNT = [kind for kind in KINDS if SECTIONS[kind].made_by is None]  # by gradient descent, whoever asks for them
SIZE = 64  # of images
EXAMPLES = {  # a value for each key that any kind of head has; extend it with the keys of yours
    "label": "thing",
    "tap": -1,
    "taps": (1, -1),
    "weight": 1.0,
    "class_weights": "none",
    "target": "nominal",
    "where": None,
    "threshold": None,
    "unknown": None,
    "loss": None,
    "tag_thresholds": None,
    "main": True,
    "hidden": 8,
    "dropout": 0.25,
    "dice": 0.5,
    "vectors": 9,
    "half": False,
    "known": 7,
    "examples": 6,
    "layers": 2,
    "attention_heads": 2,
    "queries": None,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def example(kind: str) -> Head:
    section = SECTIONS[kind]
    head = section(kind=kind, **{key: EXAMPLES[key] for key in section.model_fields if key != "kind"})
    assert isinstance(head, typing.get_args(typing.get_args(Head)[0]))
    return head


@cache
def backbone(kind: str) -> Backbone:
    weights = RandomWeights(kind="random")
    params = BackboneParams(name="test_efficientnet", args={}, weights=weights, mean=None, std=None)
    return build_backbone(params, {example(kind).reads}, SIZE)


def build(kind: str, n_outputs: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return build_heads({"one": example(kind)}, backbone(kind), {"one": n_outputs})["one"]


def draw(kind: str, count: int) -> torch.Tensor:
    """Features as the tap that the head reads gives them."""
    return torch.randn(count, *backbone(kind).specs[tap_key(example(kind).reads)].shape)


def expected_shape(kind: str, count: int, n_outputs: int) -> tuple[int, ...]:
    """A number for each image, or for each of its pixels."""
    pixels = (SIZE, SIZE) if isinstance(example(kind).reads, GridTap) else ()
    return (count, n_outputs, *pixels)


def test_each_kind_in_params_has_a_file_and_each_file_a_kind() -> None:
    assert sorted(SECTIONS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_shapes(kind: str, n_outputs: int) -> None:
    assert build(kind, n_outputs)(draw(kind, 5)).shape == expected_shape(kind, 5, n_outputs)


@pytest.mark.parametrize("kind", LEARNT)
def test_one_layer_standardises_vectors_or_maps_and_nothing_after_it_sees_their_scale(kind: str) -> None:
    head = build(kind).eval()
    assert isinstance(head, nn.Sequential)
    places = [place for place, layer in enumerate(head) if isinstance(layer, Standardise)]
    assert len(places) == 1
    layer = head[places[0]]
    given = head[: places[0]](draw(kind, 7))
    assert given.shape[:2] == (7, *layer.mean.shape)
    expected = head[places[0] :](given)
    layer.fit(torch.full_like(layer.mean, 3.0), torch.full_like(layer.std, 2.0))
    torch.testing.assert_close(head[places[0] :](given * 2 + 3), expected)


@pytest.mark.parametrize("kind", LEARNT)
def test_only_that_layer_has_constants(kind: str) -> None:
    head = build(kind)
    constants = {id(buffer) for layer in head.modules() if isinstance(layer, Standardise) for buffer in layer.buffers()}
    assert {id(buffer) for buffer in head.buffers()} == constants


@pytest.mark.parametrize("kind", LEARNT)
def test_every_parameter_learns(kind: str) -> None:
    head = build(kind)
    head(draw(kind, 64)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_images_do_not_touch_each_other(kind: str) -> None:
    head, features = build(kind).eval(), draw(kind, 5)
    torch.testing.assert_close(torch.cat([head(row[None]) for row in features]), head(features))


@pytest.mark.parametrize("kind", LEARNT)
def test_two_heads_share_no_weights(kind: str) -> None:
    first, second = build(kind), build(kind)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.fill_(7)
    assert not any((parameter == 7).all() for parameter in second.parameters())


@pytest.mark.parametrize("kind", LEARNT)
def test_many_copies_can_be_run_at_once(kind: str) -> None:
    copies = [build(kind).eval() for _ in range(3)]
    for number, copy in enumerate(copies):
        for parameter in copy.parameters():
            parameter.data += number / 10
    stacked = torch.func.stack_module_state(typing.cast(list[nn.Module], copies))
    features = draw(kind, 4)
    together = torch.vmap(lambda state: torch.func.functional_call(copies[0], state, (features,)))(stacked)
    torch.testing.assert_close(together, torch.stack([copy(features) for copy in copies]), rtol=1e-4, atol=1e-4)
