"""The store holds what decoding, resizing and augmenting give, and is there whole or not at all."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint import parts
from meltpoint.images.augment import Augmentation, build_transform
from meltpoint.images.decode import ImageError, decode
from meltpoint.images.mask_files import decode_ids, encode_ids, resize_mask
from meltpoint.images.resize import resize
from meltpoint.images.views import Views, ViewsError, open_views, view_seed, write_views
from meltpoint.parts import PartsError

if TYPE_CHECKING:
    from conftest import Gallery


@pytest.fixture
def transform(gallery: "Gallery") -> Augmentation:
    return build_transform([{"D4": {}}, {"RandomBrightnessContrast": {"p": 1.0}}], gallery.images)


PALETTES = {"scene": ["#808080", "#804080", "#400080"]}


def written(
    gallery: "Gallery",
    transform: Augmentation,
    folder: Path,
    count: int = 3,
    seed: int = 7,
    palettes: dict[str, list[str]] | None = None,
) -> Views:
    write_views(
        gallery.read, gallery.samples, gallery.classes, gallery.images, transform, count, seed, folder, palettes
    )
    return open_views(folder)


def test_the_store_holds_each_image_plain_and_each_training_image_augmented(
    gallery: "Gallery", transform: Augmentation, tmp_path: Path
) -> None:
    views = written(gallery, transform, tmp_path / "views")
    assert views.samples["id"].is_monotonic_increasing
    for row, sample in enumerate(views.samples.itertuples()):
        expected = resize(decode(gallery.raw / str(sample.path), 1), gallery.images)
        np.testing.assert_array_equal(views.plain[row], expected)
    training = views.rows("train")
    assert views.augmented is not None
    assert views.augmented.shape == (len(training), 3, 16, 16, 3)
    for place, row in enumerate(training):
        for number in range(3):
            seed = view_seed(7, int(views.samples["id"][row]), number)
            np.testing.assert_array_equal(views.augmented[place, number], transform(views.plain[row], seed))


def test_values_of_more_than_8_bits_are_on_one_scale(
    gallery: "Gallery", transform: Augmentation, tmp_path: Path
) -> None:
    for number, path in enumerate(gallery.samples["path"]):
        Image.fromarray(np.full((20, 20), 300 * (number + 1), dtype=np.uint16)).save(gallery.raw / path, "PNG")
    dark, bright = tmp_path / "dark", tmp_path / "bright"
    stores = []
    for folder, depths in ((dark, {}), (bright, {"integer": (0.0, 4095.0)})):
        facts = (gallery.classes, gallery.images, transform, 0, 7, folder, None, depths)
        write_views(gallery.read, gallery.samples, *facts)
        stores.append(open_views(folder))
    expected = {number: round(300 * (number + 1) * 255 / 4095) for number in range(len(gallery.samples))}
    order = {int(id_): number for number, id_ in enumerate(gallery.samples["id"])}
    for row, id_ in enumerate(stores[1].samples["id"]):
        assert set(stores[1].plain[row].ravel().tolist()) == {expected[order[int(id_)]]}
    assert stores[1].plain[:].max() > 10 * stores[0].plain[:].max()
    assert stores[1].depths["integer"] == [0, 4095]
    assert stores[0].fingerprint != stores[1].fingerprint


def test_each_view_has_its_mask(scenery: "Gallery", transform: Augmentation, tmp_path: Path) -> None:
    views = written(scenery, transform, tmp_path / "views", palettes=PALETTES)
    assert views.masks is not None
    assert views.augmented is not None
    assert views.augmented_masks is not None
    assert (views.masks.shape, views.masks.dtype) == ((12, 16, 16), np.uint8)
    assert (views.augmented_masks.shape, views.augmented_masks.dtype) == ((6, 3, 16, 16), np.uint8)
    assert views.palettes == PALETTES
    for row, path in enumerate(views.samples["scene.mask"]):
        np.testing.assert_array_equal(views.masks[row], resize_mask(decode_ids(scenery.read(path)), scenery.images))
    for place, row in enumerate(views.rows("train")):
        for number in range(3):
            seed = view_seed(7, int(views.samples["id"][row]), number)
            image, mask = transform.pair(views.plain[row], views.masks[row], seed)
            np.testing.assert_array_equal(views.augmented[place, number], image)
            np.testing.assert_array_equal(views.augmented_masks[place, number], mask)


def test_the_fingerprint_follows_the_masks(scenery: "Gallery", transform: Augmentation, tmp_path: Path) -> None:
    before = written(scenery, transform, tmp_path / "views", palettes=PALETTES).fingerprint
    assert written(scenery, transform, tmp_path / "views", palettes=PALETTES).fingerprint == before
    mask = decode_ids(scenery.read("masks/5.png"))
    (scenery.raw / "masks" / "5.png").write_bytes(encode_ids(2 - np.minimum(mask, 2), PALETTES["scene"]))
    assert written(scenery, transform, tmp_path / "views", palettes=PALETTES).fingerprint != before


def test_the_splits_part_the_rows(gallery: "Gallery", transform: Augmentation, tmp_path: Path) -> None:
    views = written(gallery, transform, tmp_path / "views")
    parts = [views.rows(split) for split in ("train", "val", "test")]
    assert sorted(np.concatenate(parts)) == list(range(12))
    assert [len(part) for part in parts] == [6, 3, 3]
    assert (views.classes, views.size, views.count) == (gallery.classes, 16, 3)
    assert "12 images at 16 px, 3 augmented views of each of 6 training images" in views.sentence


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("name", ["gallery", "scenery"])
def test_only_arrays_that_are_needed_are_stored(
    name: str, count: int, transform: Augmentation, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    views = written(request.getfixturevalue(name), transform, tmp_path / "views", count=count)
    arrays = {kind: getattr(views, kind) is not None for kind in ("augmented", "masks", "augmented_masks")}
    assert arrays == {
        "augmented": count > 0, "masks": name == "scenery", "augmented_masks": count > 0 and name == "scenery"
    }  # fmt: skip
    stored = {path.stem for path in (tmp_path / "views").glob("*.npy")}
    assert stored == {"plain", *(kind for kind, is_there in arrays.items() if is_there)}


def test_the_same_input_gives_the_same_bytes(gallery: "Gallery", transform: Augmentation, tmp_path: Path) -> None:
    shuffled = replace(gallery, samples=gallery.samples.sample(frac=1, random_state=1))
    written(gallery, transform, tmp_path / "one")
    written(shuffled, transform, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_fingerprint_follows_all_that_matters(gallery: "Gallery", transform: Augmentation, tmp_path: Path) -> None:
    def fingerprint(gallery: "Gallery", transform: Augmentation = transform, count: int = 2, seed: int = 7) -> str:
        return written(gallery, transform, tmp_path / "views", count, seed).fingerprint

    def changed(column: str, value: str) -> pd.DataFrame:
        return gallery.samples.assign(**{column: gallery.samples[column].where(gallery.samples["id"] != 100, value)})

    cubic = gallery.images.model_copy(update={"interpolation": "bicubic"})
    prints = [
        fingerprint(gallery),
        fingerprint(gallery, seed=8),
        fingerprint(gallery, count=1),
        fingerprint(gallery, build_transform([{"D4": {}}], gallery.images)),
        fingerprint(replace(gallery, images=cubic)),
        fingerprint(replace(gallery, samples=changed("kind", "dog"))),
        fingerprint(replace(gallery, samples=changed("split", "val"))),
        fingerprint(replace(gallery, samples=changed("sha256", "f" * 64))),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(gallery) == prints[0]


def test_a_broken_image_leaves_the_old_store_as_it_was(
    gallery: "Gallery", transform: Augmentation, tmp_path: Path
) -> None:
    before = written(gallery, transform, tmp_path / "views").fingerprint
    (gallery.raw / "5.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"5\.png"):
        written(gallery, transform, tmp_path / "views", count=1)
    assert open_views(tmp_path / "views").fingerprint == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "views"]


def test_a_store_that_is_not_there_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ViewsError, match="dvc repro augment"):
        open_views(tmp_path)


def test_seeds_differ_for_every_image_and_view() -> None:
    seeds = {view_seed(seed, image, view) for seed in range(3) for image in range(20) for view in range(20)}
    assert len(seeds) == 3 * 20 * 20
    assert max(seeds) < 2**63
    assert view_seed(7, 12, 0) != view_seed(7, 1, 20)


def test_views_in_many_files_are_those_in_one(
    scenery: "Gallery", transform: Augmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = written(scenery, transform, tmp_path / "one", palettes=PALETTES)
    monkeypatch.setattr(parts, "PART_BYTES", 3_000)
    many = written(scenery, transform, tmp_path / "many", palettes=PALETTES)
    counts = []
    for name in ("plain", "augmented", "masks", "augmented_masks"):
        assert getattr(many, name)[:].tobytes() == getattr(one, name)[:].tobytes()
        counts.append(len(getattr(many, name).files))
    assert counts == [4, 6, 2, 2]
    assert max(path.stat().st_size for path in (tmp_path / "many").glob("*.npy")) <= 3_000
    (tmp_path / "many" / "plain-00002-of-00004.npy").unlink()
    with pytest.raises(PartsError, match=r"plain-00002-of-00004.npy is missing.*dvc checkout"):
        open_views(tmp_path / "many")
