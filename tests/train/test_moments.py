from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from meltpoint.model.standardise import Standardise
from meltpoint.train import moments as module
from meltpoint.train.batches import Store
from meltpoint.train.moments import join_moments, measure_moments, part_at_standardise


def store(path: Path, values: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> Store:
    np.save(path, values)
    return Store(path, None, 0, np.arange(0))


@pytest.mark.parametrize("size", [12, 100, 1_000_000])
def test_moments_do_not_depend_on_the_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    values = np.random.default_rng(0).normal(1000, 0.01, (900, 3)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(900)[:801]
    mean, std = measure_moments(store(tmp_path / "x.npy", values), rows, nn.Sequential())
    assert np.allclose(mean.numpy(), values[rows].astype(np.float64).mean(0))
    assert np.allclose(std.numpy(), values[rows].astype(np.float64).std(0), rtol=1e-4)


def test_layers_before_run_on_each_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    torch.manual_seed(0)
    values = np.random.default_rng(0).normal(1, 2, (50, 3, 4, 5)).astype(np.float32)
    before = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    mean, std = measure_moments(store(tmp_path / "x.npy", values), np.arange(50), before)
    with torch.no_grad():
        expected = before(torch.from_numpy(values))
    torch.testing.assert_close(mean, expected.mean(0))
    torch.testing.assert_close(std, expected.std(0, correction=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_maps_have_moments_of_each_channel_over_images_and_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 500)
    values = np.random.default_rng(0).normal(100, 3, (31, 3, 4, 5)).astype(dtype)
    rows = np.arange(0, 31, 2)
    mean, std = measure_moments(store(tmp_path / "x.npy", values), rows, nn.Sequential())
    assert (mean.dtype, mean.shape) == (torch.float32, (3,))
    assert np.allclose(mean.numpy(), values[rows].astype(np.float64).mean((0, 2, 3)))
    assert np.allclose(std.numpy(), values[rows].astype(np.float64).std((0, 2, 3)), rtol=1e-5)


def test_pieces_from_anywhere_are_joined() -> None:
    pieces = [torch.randn(count, 2, 3, 3) * 5 + 7 for count in (1, 4, 2)]
    together = torch.cat(pieces).double().transpose(0, 1).flatten(1)
    mean, std = join_moments(pieces)
    torch.testing.assert_close(mean, together.mean(1).float())
    torch.testing.assert_close(std, together.std(1, correction=0).float())


def test_one_image_has_no_deviation(tmp_path: Path) -> None:
    mean, std = measure_moments(store(tmp_path / "x.npy", np.ones((1, 2), np.float32)), np.arange(1), nn.Sequential())
    assert mean.tolist() == [1, 1]
    assert std.tolist() == [0, 0]


def test_a_head_is_parted_where_it_standardises() -> None:
    head = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), Standardise(2), nn.Linear(2, 1))
    before, layer = part_at_standardise(head)
    assert [type(one) for one in before] == [nn.Conv2d, nn.Flatten]
    assert layer is head[2]
    assert len(part_at_standardise(head[2:])[0]) == 0
