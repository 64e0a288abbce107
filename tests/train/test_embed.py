from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from meltpoint import parts
from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import GridTap, MapTap, RandomWeights, Reading
from meltpoint.params.training import Embed
from meltpoint.parts import open_parts, write_parts
from meltpoint.predict.work import load_engine
from meltpoint.train import embed as module
from meltpoint.train.embed import embed
from meltpoint.train.features import FeaturesError, open_features

SIZE, COUNT = 32, 3
MAP, GRID = MapTap(at=-2), GridTap(at=(1, -1))
SPLITS = ["train", "val", "train", "test", "train"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny nets are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def store(folder: Path, count: int = COUNT, fingerprint: str = "views", size: int = SIZE) -> Views:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    shapes = {"plain": (len(SPLITS),), "augmented": (SPLITS.count("train"), count)}
    for name, shape in shapes.items():
        np.save(folder / f"{name}.npy", random.integers(0, 256, (*shape, size, size, 3), dtype=np.uint8))
    samples = pd.DataFrame({"id": range(len(SPLITS)), "split": SPLITS})
    plain, augmented = (open_parts(folder / f"{name}.npy") for name in shapes)
    fields = {"folder": folder, "samples": samples, "size": size, "count": count, "fingerprint": fingerprint}
    return cast(Views, SimpleNamespace(**fields, plain=plain, augmented=augmented if count else None))


def build(*taps: Reading, **fields: Any) -> Backbone:
    params = BackboneParams(name="test_efficientnet", **({"weights": RandomWeights(kind="random")} | fields))
    return build_backbone(params, set(taps or ("final", -2)), SIZE)


def build_mapped() -> Backbone:
    return build(MAP, -1)


def build_grid() -> Backbone:
    return build(GRID)


def live(backbone: Backbone, images: Any) -> dict[str, torch.Tensor]:
    """What a training that does not cache computes: the backbone as it is, all images at once."""
    with torch.no_grad():
        features: dict[str, torch.Tensor] = backbone.train()(backbone.prepare(torch.from_numpy(np.array(images))))
    return features


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_cached_features_are_the_live_ones(tmp_path: Path, batch: int) -> None:
    views, backbone = store(tmp_path / "views"), build()
    features = embed(backbone, views, Embed(batch=batch, max_gb=1), tmp_path / "features")
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
    features = embed(backbone, views, Embed(batch=2, max_gb=1), tmp_path / "features")
    assert views.augmented is not None
    expected = live(backbone, views.plain)["-2.map"], live(backbone, views.augmented[1])["-2.map"]
    plain, augmented = features.plain(MAP), features.augmented(MAP)
    assert augmented is not None
    assert (plain.shape, plain.dtype, augmented.shape) == ((5, 48, 2, 2), np.float32, (3, COUNT, 48, 2, 2))
    np.testing.assert_allclose(plain, expected[0], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(augmented[1], expected[1], atol=1e-5, rtol=1e-5)
    assert open_features(tmp_path / "features").specs == backbone.specs
    assert "48 x 2 x 2 numbers from tap -2.map" in features.sentence


def test_grids_are_stored_as_float16(tmp_path: Path) -> None:
    views, backbone = store(tmp_path / "views"), build_grid()
    features = embed(backbone, views, Embed(batch=2, max_gb=1), tmp_path / "features")
    assert views.augmented is not None
    expected = live(backbone, views.plain)["grid.1.-1"], live(backbone, views.augmented[1])["grid.1.-1"]
    plain, augmented = features.plain(GRID), features.augmented(GRID)
    assert augmented is not None
    shape = backbone.specs["grid.1.-1"].shape
    assert (plain.shape, plain.dtype) == ((5, *shape), np.float16)
    assert (augmented.shape, augmented.dtype) == ((3, COUNT, *shape), np.float16)
    for given, wanted in ((plain, expected[0]), (augmented[1], expected[1])):
        np.testing.assert_allclose(np.asarray(given, np.float32), wanted, atol=1e-3 * float(wanted.abs().max()))
    assert open_features(tmp_path / "features").specs == backbone.specs


def test_cached_grids_are_the_live_ones_of_every_family_at_any_size(family: Any, tmp_path: Path) -> None:
    params, tap = (
        BackboneParams(name=family.name, args=family.args, weights=RandomWeights(kind="random"), mean=None, std=None),
        GridTap(at=(-2, -1)),
    )
    size = family.size + 3
    backbone, views = build_backbone(params, {tap}, size), store(tmp_path / "views", 0, size=size)
    features = embed(backbone, views, Embed(batch=4, max_gb=1), tmp_path / "features")
    with torch.no_grad():  # in eval mode: some families drop paths in training
        expected = backbone(backbone.prepare(torch.from_numpy(np.array(views.plain))))["grid.-2.-1"]
    found = np.asarray(features.plain(tap), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-3 * max(1.0, float(expected.abs().max())))


def grid_bytes(backbone: Backbone) -> int:
    return (5 + 3 * COUNT) * 2 * int(np.prod(backbone.specs["grid.1.-1"].shape))


def test_what_is_too_large_is_described_and_not_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views, backbone = store(tmp_path / "views"), build_grid()
    size, prints = grid_bytes(backbone), []
    for max_gb, stored in ((size / 1e9, True), (size / 1e9 * 0.999, False)):
        features = embed(backbone, views, Embed(batch=2, max_gb=max_gb), tmp_path / "features")
        told = capsys.readouterr().out
        assert features.stored == stored
        assert f"{size:,} bytes of features ({size / 1e6:,.1f} MB of tap grid.1.-1)" in told
        assert ("writing nothing" in told) == (not stored)
        assert ("not stored" in features.sentence) == (not stored)
        assert (features.specs, features.images, features.views) == (backbone.specs, 5, COUNT)
        prints.append(features.fingerprint)
    assert prints[0] != prints[1]
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["features.json"]
    for ask in (features.plain, features.augmented):
        with pytest.raises(FeaturesError, match="larger than embed.max_gb"):
            ask(GRID)


def test_no_backbone_runs_for_what_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backbone, "prepare", lambda *_: pytest.fail("it ran"))
    embed(build_grid(), store(tmp_path / "views"), Embed(batch=2, max_gb=1e-9), tmp_path / "features")


def test_a_number_too_large_for_float16_is_refused(tmp_path: Path) -> None:
    backbone = build_grid()
    real = backbone.net.conv_stem.register_forward_hook(lambda module, inputs, output: output * 1e9)  # type: ignore[union-attr, operator]
    with pytest.raises(FeaturesError, match=r"at tap grid\.1\.-1, and those of grids are float16, 65,504"):
        embed(backbone, store(tmp_path / "views"), Embed(batch=2, max_gb=1), tmp_path / "features")
    real.remove()


def test_how_much_it_is_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = (5 + 3 * COUNT) * 4 * (48 * 2 * 2 + 64)
    embed(build_mapped(), store(tmp_path / "views"), Embed(batch=8, max_gb=1), tmp_path / "features")
    assert f"writing {size:,} bytes of features" in capsys.readouterr().out
    assert sum(path.stat().st_size for path in (tmp_path / "features").glob("*.npy")) == size + 4 * 128


def test_the_fingerprint_knows_the_weights_that_heads_copy(tmp_path: Path) -> None:
    prints = []
    for change in (0.0, 1.0):
        backbone = build_mapped()
        with torch.no_grad():
            backbone.convolutions["-2.map"][0].weight.add_(change)
        prints.append(embed(backbone, store(tmp_path / "v", 0), Embed(batch=8, max_gb=1), tmp_path / "f").fingerprint)
    assert prints[0] != prints[1]


def test_what_is_written_is_opened_again(tmp_path: Path) -> None:
    features = embed(build(), store(tmp_path / "views"), Embed(batch=4, max_gb=1), tmp_path / "features")
    again = open_features(tmp_path / "features")
    assert again == features
    assert again.specs == build().specs
    assert (again.images, again.training, again.views) == (5, 3, COUNT)
    assert "5 images and 3 augmented views of 3 training images" in again.sentence
    assert "256 numbers from tap final" in again.sentence


def test_without_stored_augmentation_there_is_none(tmp_path: Path) -> None:
    features = embed(build(), store(tmp_path / "views", count=0), Embed(batch=4, max_gb=1), tmp_path / "features")
    assert features.augmented("final") is None
    assert "augmented" not in features.sentence
    assert not list((tmp_path / "features").glob("*augmented*"))


def test_the_same_again_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        embed(build(), store(tmp_path / "views"), Embed(batch=2, max_gb=1), tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def moved(backbone: Backbone) -> Backbone:
    """The same backbone with other weights."""
    with torch.no_grad():
        next(backbone.parameters()).add_(0.5)
    return backbone


def test_the_fingerprint_knows_views_weights_taps_and_normalisation(tmp_path: Path) -> None:
    def fingerprint(backbone: Backbone, views: str = "views") -> str:
        return embed(backbone, store(tmp_path / "v", 0, views), Embed(batch=8, max_gb=1), tmp_path / "f").fingerprint

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
    features = embed(build(), store(tmp_path / "views"), Embed(batch=4, max_gb=1), tmp_path / "features")
    with pytest.raises(FeaturesError, match=r"no features of tap -1; it has \['-2', 'final'\]"):
        features.plain(-1)


def test_features_that_are_no_numbers_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    views = store(tmp_path / "views")
    before = embed(build(), views, Embed(batch=4, max_gb=1), tmp_path / "features")
    broken = build()
    next(iter(broken.parameters())).data.fill_(float("nan"))
    with pytest.raises(FeaturesError, match="NaN or infinity"):
        embed(broken, views, Embed(batch=4, max_gb=1), tmp_path / "features")
    assert open_features(tmp_path / "features") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features", "views"]


def test_no_more_than_a_batch_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = module.read_batches

    def note(*asked: Any) -> Iterator[torch.Tensor]:
        for images in real(*asked):
            read.append(len(images))
            yield images

    monkeypatch.setattr(module, "read_batches", note)
    embed(build(), store(tmp_path / "views"), Embed(batch=2, max_gb=1), tmp_path / "features")
    assert read == [2, 2, 1, 2, 2, 2, 2, 1]


def test_views_and_features_in_many_files_are_those_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, backbone = store(tmp_path / "views"), build(MAP, -1)
    one = embed(backbone, whole, Embed(batch=2, max_gb=1), tmp_path / "one")
    monkeypatch.setattr(parts, "PART_BYTES", 7_000)  # two views of 3 kB, or the maps of two images
    (tmp_path / "cut").mkdir()
    for name, own in (("plain", whole.plain), ("augmented", whole.augmented)):
        assert own is not None
        with write_parts(tmp_path / "cut" / f"{name}.npy", own.shape, "|u1") as writer:
            writer.write(own[:].tobytes())
    cut = {name: open_parts(tmp_path / "cut" / f"{name}.npy") for name in ("plain", "augmented")}
    views = cast(Views, SimpleNamespace(**{**vars(whole), **cut}))
    many = embed(backbone, views, Embed(batch=2, max_gb=1), tmp_path / "many")
    assert many.fingerprint == one.fingerprint
    assert [len(array.files) for array in (views.plain, many.augmented(MAP)) if array] == [3, 2]
    for tap in (MAP, -1):
        for asked in ("plain", "augmented"):
            assert getattr(many, asked)(tap)[:].tobytes() == getattr(one, asked)(tap)[:].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_gives_the_bits_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    torch.set_num_threads(threads)
    views, backbone = store(tmp_path / "views", 31), build(MAP, "final")
    here = embed(backbone, views, Embed(batch=3, max_gb=1), tmp_path / "here")
    monkeypatch.setattr(module, "PIECE", 7)
    monkeypatch.setattr(parts, "PART_BYTES", 20_000)
    monkeypatch.setattr(module, "load_engine", lambda _: Backwards())
    there = embed(backbone, views, Embed(batch=3, max_gb=1, engine="ray"), tmp_path / "there")
    assert there.fingerprint == here.fingerprint
    for tap in (MAP, "final"):
        for asked in ("plain", "augmented"):
            assert getattr(there, asked)(tap)[:].tobytes() == getattr(here, asked)(tap)[:].tobytes()


class Backwards:
    """The engine `local`, which gives the last piece first: a cluster may give them in any order."""

    def run(self, work: Any, pieces: Any, where: Any, tell: Any) -> Any:
        yield from reversed(list(load_engine("local").run(work, pieces, where, tell)))
