from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.params.model import MapTap, Reading
from meltpoint.params.training import Embed
from meltpoint.train.embed import embed
from meltpoint.train.probe import use_threads
from meltpoint.train.problem import Problem, build_problem
from meltpoint.train.recipe import read_recipe
from meltpoint.train.sources import Live, Source, Stored, open_source

TAPS: dict[str, Reading] = {tap_key(tap): tap for tap in ("final", MapTap(at=-2))}


@pytest.fixture(scope="module")
def problem(scene: Any) -> Problem:
    return build_problem(scene.inputs.views, read_recipe("finetune", scene.params()))


@pytest.fixture(scope="module")
def pair(scene: Any, problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Source]:
    """The features of two taps, from files and from the backbone."""
    backbone: Backbone = build_backbone(scene.params().backbone, set(TAPS.values()), 32)
    with use_threads(1):
        folder = tmp_path_factory.mktemp("sources") / "features"
        features = embed(backbone, scene.inputs.views, Embed(batch=16, max_gb=1), folder)
    stored = open_source(problem, TAPS, features, backbone)
    live = open_source(problem, TAPS, replace(features, stored=False), backbone)
    assert isinstance(stored, Stored)
    assert isinstance(live, Live)
    return stored, live


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys() == TAPS.keys()
    for key, values in one.items():
        assert values.dtype == two[key].dtype
        torch.testing.assert_close(values, two[key], rtol=1e-4, atol=1e-4)


def test_features_are_the_same_from_files_and_from_the_backbone(pair: tuple[Source, Source]) -> None:
    stored, live = pair
    rows = np.array([3, 71, 0, 3])
    assert_equal(stored.read_plain(rows), live.read_plain(rows))
    numbers, views = np.array([5, 0, 40, 5]), np.array([0, 1, 2, 2])
    assert_equal(stored.read_train(numbers, views), live.read_train(numbers, views))
    seen = live.read_train(np.array([5, 5]), np.array([0, 2]))
    assert all(not torch.equal(*values) for values in seen.values())


def test_moments_are_the_same_from_files_and_from_the_backbone(pair: tuple[Source, Source], problem: Problem) -> None:
    stored, live = pair
    for tap, before in (("final", nn.Sequential()), ("-2.map", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))):
        for one, two in zip(*(source.measure(tap, problem.train.rows, before) for source in pair), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert live.at_once == 1 < stored.at_once


def test_a_head_can_learn_from_what_the_backbone_gives(pair: tuple[Source, Source]) -> None:
    """It was computed without gradients, and is a tensor as any other for what comes after it."""
    values = pair[1].read_plain(np.arange(4))["final"]
    layer = nn.Linear(values.shape[1], 1)
    layer(values).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[0], values.sum(0))
