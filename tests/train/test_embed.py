from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import MapTap, RandomWeights
from meltpoint.params.training import Embed
from meltpoint.train import embed as module
from meltpoint.train.embed import FeaturesError, embed, open_features

SIZE, COUNT = 32, 3
MAP = MapTap(at=-2)
SPLITS = ["train", "val", "train", "test", "train"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny nets are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def store(folder: Path, count: int = COUNT, fingerprint: str = "views") -> Views:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    shapes = {"plain": (len(SPLITS),), "augmented": (SPLITS.count("train"), count)}
    for name, shape in shapes.items():
        np.save(folder / f"{name}.npy", random.integers(0, 256, (*shape, SIZE, SIZE, 3), dtype=np.uint8))
    samples = pd.DataFrame({"id": range(len(SPLITS)), "split": SPLITS})
    plain, augmented = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes)
    fields = {"samples": samples, "size": SIZE, "count": count, "fingerprint": fingerprint, "plain": plain}
    return cast(Views, SimpleNamespace(**fields, augmented=augmented if count else None))


def build(**fields: Any) -> Backbone:
    given: dict[str, Any] = {"args": {}, "weights": RandomWeights(kind="random"), "mean": None, "std": None}
    return build_backbone(BackboneParams(name="test_efficientnet", **(given | fields)), {"final", -2}, SIZE)


def build_mapped() -> Backbone:
    params = BackboneParams(
        name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=None, std=None
    )
    return build_backbone(params, {MAP, -1}, SIZE)


def live(backbone: Backbone, images: np.ndarray[Any, Any]) -> dict[str, torch.Tensor]:
    """What a training that does not cache computes: the backbone as it is, all images at once."""
    with torch.no_grad():
        features: dict[str, torch.Tensor] = backbone.train()(backbone.prepare(torch.from_numpy(np.array(images))))
    return features


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_cached_features_are_the_live_ones(tmp_path: Path, batch: int) -> None:
    views, backbone = store(tmp_path / "views"), build()
    features = embed(backbone, views, Embed(batch=batch), tmp_path / "features")
    expected = live(backbone, views.plain)
    for tap in ("final", -2):
        plain, augmented = features.plain(tap), features.augmented(tap)
        assert plain.dtype == np.float32
        np.testing.assert_allclose(plain, expected[str(tap)], atol=1e-5, rtol=1e-5)
        assert augmented is not None
        assert augmented.shape == (3, COUNT, plain.shape[1])
        assert views.augmented is not None
        for row in range(3):
            np.testing.assert_allclose(
                augmented[row], live(backbone, views.augmented[row])[str(tap)], atol=1e-5, rtol=1e-5
            )


def test_maps_are_stored_as_they_are(tmp_path: Path) -> None:
    views, backbone = store(tmp_path / "views"), build_mapped()
    features = embed(backbone, views, Embed(batch=2), tmp_path / "features")
    assert views.augmented is not None
    expected = live(backbone, views.plain)["-2.map"], live(backbone, views.augmented[1])["-2.map"]
    plain, augmented = features.plain(MAP), features.augmented(MAP)
    assert augmented is not None
    assert (plain.shape, plain.dtype, augmented.shape) == ((5, 48, 2, 2), np.float32, (3, COUNT, 48, 2, 2))
    np.testing.assert_allclose(plain, expected[0], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(augmented[1], expected[1], atol=1e-5, rtol=1e-5)
    assert open_features(tmp_path / "features").specs == backbone.specs
    assert "48 x 2 x 2 numbers from tap -2.map" in features.sentence


def test_much_is_announced_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = 5 + 3 * COUNT
    size = images * 4 * (48 * 2 * 2 + 64)
    for large, told in ((size, False), (size - 1, True)):
        monkeypatch.setattr(module, "LARGE", large)
        embed(build_mapped(), store(tmp_path / "views"), Embed(batch=8), tmp_path / "features")
        assert (f"writing {size:,} bytes of features" in capsys.readouterr().out) == told


def test_the_fingerprint_knows_the_weights_that_heads_copy(tmp_path: Path) -> None:
    prints = []
    for change in (0.0, 1.0):
        backbone = build_mapped()
        with torch.no_grad():
            backbone.convolutions["-2.map"][0].weight.add_(change)
        prints.append(embed(backbone, store(tmp_path / "v", 0), Embed(batch=8), tmp_path / "f").fingerprint)
    assert prints[0] != prints[1]


def test_what_is_written_is_opened_again(tmp_path: Path) -> None:
    features = embed(build(), store(tmp_path / "views"), Embed(batch=4), tmp_path / "features")
    again = open_features(tmp_path / "features")
    assert again == features
    assert again.specs == build().specs
    assert (again.images, again.training, again.views) == (5, 3, COUNT)
    assert "5 images and 3 augmented views of 3 training images" in again.sentence
    assert "256 numbers from tap final" in again.sentence


def test_without_stored_augmentation_there_is_none(tmp_path: Path) -> None:
    features = embed(build(), store(tmp_path / "views", count=0), Embed(batch=4), tmp_path / "features")
    assert features.augmented("final") is None
    assert "augmented" not in features.sentence
    assert not list((tmp_path / "features").glob("*augmented*"))


def test_the_same_again_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        embed(build(), store(tmp_path / "views"), Embed(batch=2), tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def moved(backbone: Backbone) -> Backbone:
    """The same backbone with other weights."""
    with torch.no_grad():
        next(backbone.parameters()).add_(0.5)
    return backbone


def test_the_fingerprint_knows_views_weights_taps_and_normalisation(tmp_path: Path) -> None:
    def fingerprint(backbone: Backbone, views: str = "views") -> str:
        return embed(backbone, store(tmp_path / "v", 0, views), Embed(batch=8), tmp_path / "f").fingerprint

    one = fingerprint(build())
    assert one == fingerprint(build())
    others = [
        fingerprint(build(), "other views"),
        fingerprint(moved(build())),
        fingerprint(build(mean=[0.1, 0.2, 0.3])),
        fingerprint(build(args={"drop_rate": 0.1})),
    ]
    assert len({one, *others}) == 5


def test_no_features_is_told(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="dvc repro embed"):
        open_features(tmp_path)


def test_an_unknown_tap_names_the_known_ones(tmp_path: Path) -> None:
    features = embed(build(), store(tmp_path / "views"), Embed(batch=4), tmp_path / "features")
    with pytest.raises(FeaturesError, match=r"no features of tap -1; it has \['-2', 'final'\]"):
        features.plain(-1)


def test_features_that_are_no_numbers_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    views = store(tmp_path / "views")
    before = embed(build(), views, Embed(batch=4), tmp_path / "features")
    broken = build()
    next(iter(broken.parameters())).data.fill_(float("nan"))
    with pytest.raises(FeaturesError, match="NaN or infinity"):
        embed(broken, views, Embed(batch=4), tmp_path / "features")
    assert open_features(tmp_path / "features") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features", "views"]


def test_no_more_than_a_batch_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = module._read_batches

    def note(array: np.ndarray[Any, Any], batch: int) -> Iterator[torch.Tensor]:
        for images in real(array, batch):
            read.append(len(images))
            yield images

    monkeypatch.setattr(module, "_read_batches", note)
    embed(build(), store(tmp_path / "views"), Embed(batch=2), tmp_path / "features")
    assert read == [2, 2, 1, 2, 2, 2, 2, 1]
