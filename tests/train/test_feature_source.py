from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import MapTap, Reading
from meltpoint.params.training import Embed
from meltpoint.parts import open_parts
from meltpoint.train import feature_source as module
from meltpoint.train.batches import Store
from meltpoint.train.embed import embed
from meltpoint.train.feature_source import (
    FeatureSource,
    LiveFeatures,
    MeanStd,
    StoredFeatures,
    join_statistics,
    open_source,
    part_at_standardise,
)
from meltpoint.train.probe import use_threads
from meltpoint.train.problem import Problem, build_problem

TAPS: dict[str, Reading] = {tap_key(tap): tap for tap in ("final", MapTap(at=-2))}


@pytest.fixture(scope="module")
def problem(scene: Any) -> Problem:
    return build_problem(scene.inputs.views, scene.recipe("finetune"))


@pytest.fixture(scope="module")
def pair(scene: Any, problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureSource, FeatureSource]:
    """The features of two taps, from files and from the backbone."""
    backbone: Backbone = build_backbone(scene.recipe().encoder, set(TAPS.values()), 32)
    with use_threads(1):
        folder = tmp_path_factory.mktemp("sources") / "features"
        features = embed(backbone, scene.inputs.views, Embed(batch=16, max_gb=1), folder)
    stored = open_source(problem, TAPS, features, backbone)
    live = open_source(problem, TAPS, replace(features, stored=False), backbone)
    assert isinstance(stored, StoredFeatures)
    assert isinstance(live, LiveFeatures)
    return stored, live


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys() == TAPS.keys()
    for key, values in one.items():
        assert values.dtype == two[key].dtype
        torch.testing.assert_close(values, two[key], rtol=1e-4, atol=1e-4)


def test_features_are_the_same_from_files_and_from_the_backbone(pair: tuple[FeatureSource, FeatureSource]) -> None:
    stored, live = pair
    rows = np.array([3, 71, 0, 3])
    assert_equal(stored.read_plain(rows), live.read_plain(rows))
    numbers, views = np.array([5, 0, 40, 5]), np.array([0, 1, 2, 2])
    assert_equal(stored.read_train(numbers, views), live.read_train(numbers, views))
    seen = live.read_train(np.array([5, 5]), np.array([0, 2]))
    assert all(not torch.equal(*values) for values in seen.values())


def test_statistics_are_the_same_from_files_and_from_the_backbone(
    pair: tuple[FeatureSource, FeatureSource], problem: Problem
) -> None:
    stored, live = pair
    for tap, before in (("final", nn.Sequential()), ("-2.map", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))):
        for one, two in zip(*(source.measure(tap, problem.train.rows, before) for source in pair), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert live.at_once == 1 < stored.at_once


def test_a_head_can_learn_from_what_the_backbone_gives(pair: tuple[FeatureSource, FeatureSource]) -> None:
    """It was computed without gradients, and is a tensor as any other for what comes after it."""
    values = pair[1].read_plain(np.arange(4))["final"]
    layer = nn.Linear(values.shape[1], 1)
    layer(values).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[0], values.sum(0))


def store(path: Path, values: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> Store:
    np.save(path, values)
    plain = open_parts(path)
    assert plain is not None
    return Store(plain, None, 0, np.arange(0), np.arange(0))


def measure(store: Store, rows: NDArray[np.int64], before: nn.Sequential | None = None) -> MeanStd:
    return StoredFeatures({"tap": store}).measure("tap", rows, before or nn.Sequential())


@pytest.mark.parametrize("size", [12, 100, 1_000_000])
def test_statistics_do_not_depend_on_the_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    values = np.random.default_rng(0).normal(1000, 0.01, (900, 3)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(900)[:801]
    mean, std = measure(store(tmp_path / "x.npy", values), rows)
    assert np.allclose(mean.numpy(), values[rows].astype(np.float64).mean(0))
    assert np.allclose(std.numpy(), values[rows].astype(np.float64).std(0), rtol=1e-4)


def test_layers_before_run_on_each_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    torch.manual_seed(0)
    values = np.random.default_rng(0).normal(1, 2, (50, 3, 4, 5)).astype(np.float32)
    before = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    mean, std = measure(store(tmp_path / "x.npy", values), np.arange(50), before)
    with torch.no_grad():
        expected = before(torch.from_numpy(values))
    torch.testing.assert_close(mean, expected.mean(0))
    torch.testing.assert_close(std, expected.std(0, correction=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_maps_have_mean_and_deviation_of_each_channel_over_images_and_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 500)
    values = np.random.default_rng(0).normal(100, 3, (31, 3, 4, 5)).astype(dtype)
    rows = np.arange(0, 31, 2)
    mean, std = measure(store(tmp_path / "x.npy", values), rows)
    assert (mean.dtype, mean.shape) == (torch.float32, (3,))
    assert np.allclose(mean.numpy(), values[rows].astype(np.float64).mean((0, 2, 3)))
    assert np.allclose(std.numpy(), values[rows].astype(np.float64).std((0, 2, 3)), rtol=1e-5)


def test_pieces_from_anywhere_are_joined() -> None:
    pieces = [torch.randn(count, 2, 3, 3) * 5 + 7 for count in (1, 4, 2)]
    together = torch.cat(pieces).double().transpose(0, 1).flatten(1)
    mean, std = join_statistics(pieces)
    torch.testing.assert_close(mean, together.mean(1).float())
    torch.testing.assert_close(std, together.std(1, correction=0).float())


def test_one_image_has_no_deviation(tmp_path: Path) -> None:
    mean, std = measure(store(tmp_path / "x.npy", np.ones((1, 2), np.float32)), np.arange(1))
    assert mean.tolist() == [1, 1]
    assert std.tolist() == [0, 0]


def test_a_head_is_parted_where_it_standardises() -> None:
    head = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), Standardise(2), nn.Linear(2, 1))
    before, layer = part_at_standardise(head)
    assert [type(one) for one in before] == [nn.Conv2d, nn.Flatten]
    assert layer is head[2]
    assert len(part_at_standardise(head[2:])[0]) == 0
