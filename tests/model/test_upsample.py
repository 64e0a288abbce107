import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meltpoint.model.upsample import Upsample, join_maps, resize_maps

SIDES = st.integers(1, 12)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)


def bilinear(maps: Tensor, rows: int, columns: int) -> Tensor:
    return F.interpolate(maps, (rows, columns), mode="bilinear", align_corners=False)


@settings(deadline=None, max_examples=50)
@given(given_rows=SIDES, given_columns=SIDES, rows=SIDES, columns=SIDES)
def test_it_is_torchs_bilinear_interpolation(given_rows: int, given_columns: int, rows: int, columns: int) -> None:
    maps = draw(2, 3, given_rows, given_columns)
    torch.testing.assert_close(resize_maps(maps, rows, columns), bilinear(maps, rows, columns))


def test_its_gradients_are_torchs() -> None:
    weights, gradients = torch.randn(2, 3, 11, 17), []
    for resize in (resize_maps, bilinear):
        maps = draw(2, 3, 4, 5)
        (resize(maps, 11, 17) * weights).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(maps.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("padded", "size"), [(14, 14), (14, 9), (28, 20)])
def test_what_was_padded_is_cut_off(padded: int, size: int) -> None:
    maps = draw(2, 3, 2, 2)
    expected = bilinear(maps, padded, padded)[..., :size, :size]
    torch.testing.assert_close(Upsample(padded, size)(maps), expected)


def test_each_pixel_of_a_flat_map_has_its_value() -> None:
    assert Upsample(14, 10)(torch.full((1, 1, 3, 3), 7.0)).unique().tolist() == [7.0]


def test_maps_are_joined_on_one_grid_in_their_order() -> None:
    fine, coarse = draw(2, 3, 8, 6), draw(2, 5, 4, 3)
    joined = join_maps([coarse, fine], (8, 6))
    torch.testing.assert_close(joined[:, 5:], fine)
    torch.testing.assert_close(joined[:, :5], bilinear(coarse, 8, 6))
