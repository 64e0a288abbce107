import torch

from meltpoint.model.standardise import Standardise


def test_gives_mean_zero_and_std_one() -> None:
    features = torch.randn(200, 5) * 7 + 3
    layer = Standardise(5)
    layer.fit(features.mean(0), features.std(0))
    result = layer(features)
    torch.testing.assert_close(result.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std(0), torch.ones(5))


def test_does_nothing_before_it_is_fitted() -> None:
    features = torch.randn(2, 5)
    torch.testing.assert_close(Standardise(5)(features), features)


def test_a_constant_feature_becomes_zero_not_nan() -> None:
    layer = Standardise(2)
    layer.fit(torch.tensor([4.0, 1.0]), torch.tensor([0.0, 2.0]))
    assert layer(torch.tensor([[4.0, 3.0]])).tolist() == [[0.0, 1.0]]


def test_its_moments_are_saved_and_never_trained() -> None:
    layer = Standardise(3)
    assert set(layer.state_dict()) == {"mean", "std"}
    assert not list(layer.parameters())


def test_maps_are_standardised_by_channel() -> None:
    maps = torch.randn(40, 3, 4, 5) * torch.tensor([1.0, 7.0, 0.1]).view(3, 1, 1) + 3
    layer = Standardise(3)
    layer.fit(maps.mean((0, 2, 3)), maps.std((0, 2, 3)))
    result = layer(maps)
    torch.testing.assert_close(result.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.std((0, 2, 3)), torch.ones(3))


def test_what_is_stored_as_float16_is_computed_with_as_float32() -> None:
    layer = Standardise(2)
    layer.fit(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    maps = torch.randn(2, 2, 3, 3).half()
    assert layer(maps).dtype == torch.float32
    torch.testing.assert_close(layer(maps), layer(maps.float()))
