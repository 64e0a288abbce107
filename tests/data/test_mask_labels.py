"""Masks are read from every usual layout, become ids below data/raw, and are counted pixel by pixel."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.data.download import Dataset, download_dataset
from meltpoint.data.image_check import DatasetError, Inspect
from meltpoint.data.listing import SourceError
from meltpoint.data.mask_labels import VoidError
from meltpoint.images import decode
from meltpoint.images.mask_files import decode_ids, normalise
from meltpoint.params.data import Data
from meltpoint.shards import open_shards
from meltpoint.tables import IGNORED, check_samples, mask_column, read_samples, write_samples

pytestmark = pytest.mark.usefixtures("workplace")

RAW, REPORT = Path("data/raw"), Path("reports/data.json")
COLOURS = {"sky": "#808080", "road": "#804080", "car": "#400080"}
RGB = np.array([[0x80, 0x80, 0x80], [0x80, 0x40, 0x80], [0x40, 0x00, 0x80], [0, 0, 0]], dtype=np.uint8)
SHAPE = (4, 6)
MANY = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}


def truth(name: str) -> np.ndarray:
    """Class ids of an image: sky and road, car in some, a row of none in others."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[2:] = 1
    mask[3, : ord(name[-1]) % 4] = 2
    mask[0] = IGNORED if name[-1] in "bd" else 0
    return mask


def draw_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SHAPE[::-1], (len(path.stem), 1, 2)).save(path)


def draw_ids(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(truth(path.stem.removesuffix("_L")))
    image.putpalette([*RGB[:3].ravel().tolist(), *[0] * 756, 224, 224, 192])
    image.save(path)


def draw_colours(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RGB[np.minimum(truth(path.stem.removesuffix("_L")), 3)]).save(path)


def data(source: dict[str, Any], pixels: str = "ids", max_bad: int = 0) -> Data:
    classes = {name: {"id": number, "colour": colour} for number, (name, colour) in enumerate(COLOURS.items())}
    void = [IGNORED] if pixels == "ids" else ["#000000"]
    label = {"kind": "mask", "column": "mask", "pixels": pixels, "classes": classes, "void": void}
    given = {"source": {"kind": "masks", "path": "set", "lists": None, "mask_name": "{stem}.png", **source}}
    rest = {"names": {}, "group": None, "max_bad": max_bad, "max_megapixels": 1}
    return Data.model_validate(given | {"labels": {"scene": label}} | rest)


def voc() -> Data:
    for name in [one for names in MANY.values() for one in names]:
        draw_image(Path("set/JPEGImages", f"2007_{name}.jpg"))
        draw_ids(Path("set/SegmentationClass", f"2007_{name}.png"))
    draw_image(Path("set/JPEGImages/2008_unlabelled.jpg"))
    lists = Path("set/ImageSets/Segmentation")
    lists.mkdir(parents=True)
    for split, names in MANY.items():
        (lists / f"{split}.txt").write_text("".join(f"2007_{name}\n" for name in names))
    paths = {split: f"ImageSets/Segmentation/{split}.txt" for split in MANY}
    return data({"images": {"all": "JPEGImages"}, "masks": {"all": "SegmentationClass"}, "lists": paths})


def folders(images: dict[str, str], masks: dict[str, str], inside: str, pixels: str = "ids") -> Data:
    """A folder of images and one of masks for each split; `inside` is the path of a file, with its name as {}."""
    ids = pixels == "ids"
    for split in images:
        for name in MANY[split]:
            draw_image(Path("set", images[split], inside.format(f"{name}.png")))
            mask = Path("set", masks[split], inside.format(f"{name}.png" if ids else f"{name}_L.png"))
            (draw_ids if ids else draw_colours)(mask)
    source = {"images": images, "masks": masks}
    return data(source if ids else {**source, "mask_name": "{stem}_L.png"}, pixels)


def four_folders() -> Data:
    images, masks = ({"train": f"train_{kind}", "val": f"valid_{kind}"} for kind in ("images", "labels"))
    return folders(images, masks, "{}")


def camvid() -> Data:
    return folders(
        {split: split for split in MANY}, {split: f"{split}_labels" for split in MANY}, "0001TP_{}", "colours"
    )


def segnet() -> Data:
    return folders({split: split for split in MANY}, {split: f"{split}annot" for split in MANY}, "{}")


def cities() -> Data:
    images, masks = ({split: f"{kind}/{split}" for split in MANY} for kind in ("images", "masks"))
    return folders(images, masks, "town/{}", "colours")


def one_folder() -> Data:
    for name in [one for names in MANY.values() for one in names]:
        draw_image(Path(f"set/{name}.png"))
        draw_colours(Path(f"set/{name}_L.png"))
    return data({"images": {"all": "."}, "masks": {"all": "."}, "mask_name": "{stem}_L.png"}, "colours")


def nested() -> Data:
    for name in [one for names in MANY.values() for one in names]:
        draw_image(Path(f"set/{name}.png"))
        draw_ids(Path(f"set/masks/{name}.png"))
    return data({"images": {"all": "."}, "masks": {"all": "masks"}})


def collected(given: Data, inspect: Inspect) -> Dataset:
    return download_dataset(given, RAW, REPORT, inspect, normalise)


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        (voc, MANY),
        (four_folders, {"train": MANY["train"], "val": MANY["val"]}),
        (camvid, MANY),
        (segnet, MANY),
        (cities, MANY),
        (one_folder, None),
        (nested, None),
    ],
)
def test_every_layout_gives_images_with_their_own_masks(
    layout: Callable[[], Data], splits: dict[str, list[str]] | None, inspect: Inspect
) -> None:
    found = collected(layout(), inspect)
    samples = found.samples
    by_name = {Path(path).stem[-1]: split for path, split in zip(samples["path"], samples["split"], strict=True)}
    expected = {name: split for split, names in (splits or MANY).items() for name in names}
    assert set(by_name) == set(expected)
    assert splits is None or by_name == expected
    assert splits is not None or samples["split"].isna().all()
    for path, mask in zip(samples["path"], samples[mask_column("scene")], strict=True):
        assert mask == f"masks/{Path(path).with_suffix('.png')}"
        np.testing.assert_array_equal(decode_ids(open_shards(RAW).read(mask)), truth(Path(path).stem))
    assert found.report["unusable"] == []
    assert found.report["notes"] == []


def test_cells_name_what_masks_show_and_the_report_counts_pixels(inspect: Inspect) -> None:
    found = collected(segnet(), inspect)
    cells = dict(zip(found.samples["path"].map(lambda path: Path(path).stem), found.samples["scene"], strict=True))
    assert cells == {
        "a": "sky|road|car",
        "b": "sky|road|car",
        "c": "sky|road|car",
        "d": "sky|road",
        "e": "sky|road|car",
    }
    masks = [truth(name) for name in "abcde"]
    counts = {name: int(sum((mask == id_).sum() for mask in masks)) for id_, name in enumerate(COLOURS)}
    ignored = int(sum((mask == IGNORED).sum() for mask in masks))
    assert json.loads(REPORT.read_text())["pixels"] == {"scene": {**counts, "(ignored)": ignored}}
    assert found.report["labels"] == {"scene": {"sky": 5, "road": 5, "car": 4}}
    assert found.palettes == {"scene": list(COLOURS.values())}
    assert found.classes == {"scene": list(COLOURS)}
    write_samples(found.samples, Path("samples.csv"))
    read = read_samples(Path("samples.csv"), found.classes)
    assert read.equals(check_samples(found.samples, found.classes))


def test_a_mask_of_nothing_but_void_is_an_image_without_a_class(inspect: Inspect) -> None:
    given = segnet()
    Image.fromarray(np.full(SHAPE, IGNORED, dtype=np.uint8)).save("set/trainannot/b.png")
    found = collected(given, inspect)
    assert found.samples["scene"].isna().tolist() == [path.endswith("b.png") for path in found.samples["path"]]
    assert found.report["unlabelled"] == {"scene": 1}


@pytest.mark.parametrize("holds", [(0, 255), (1, 255), (255, 255)])
def test_void_that_is_most_likely_a_class_is_told(holds: tuple[int, int], inspect: Inspect) -> None:
    given = segnet()
    for path in Path("set").glob("*annot/*.png"):
        Image.fromarray(np.resize(np.array(holds, dtype=np.uint8), SHAPE)).save(path)
    with pytest.raises(VoidError, match=r"hold no pixel of .*'car'.* pixels of void \[255\].* as its `id`.*scene.void"):
        collected(given, inspect)
    assert not RAW.exists()


def test_void_beside_two_classes_is_void(inspect: Inspect) -> None:
    given = segnet()
    for path in Path("set").glob("*annot/*.png"):
        Image.fromarray(np.resize(np.array([0, 1, 2, 255], dtype=np.uint8), SHAPE)).save(path)
    assert collected(given, inspect).report["pixels"]["scene"]["(ignored)"] == 30


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_images_that_are_turned_and_have_masks_are_counted(
    orientation: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given, exif = segnet(), Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        square = Image.new("RGB", (5, 5), (1, 2, ord(name)))
        square.save(f"set/train/{name}.png", exif=exif)
        Image.fromarray(np.eye(5, dtype=np.uint8)).save(f"set/trainannot/{name}.png")
    found = download_dataset(given, RAW, REPORT, decode.inspect, normalise)
    assert found.report["turned"] == {"images": 2, "with_masks": 2}
    assert "2 images with masks are turned or mirrored by their EXIF" in capsys.readouterr().out
    np.testing.assert_array_equal(decode_ids(open_shards(RAW).read("masks/train/a.png")), np.eye(5))


def test_a_mask_of_an_image_as_it_was_before_it_was_turned_is_refused() -> None:
    given, exif = segnet(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SHAPE[::-1]).save("set/train/a.png", exif=exif)  # upright 4x6, and its mask is 6x4
    with pytest.raises(DatasetError, match=r"train/a.png: mask a.png: it has 6x4 pixels and its image 4x6"):
        download_dataset(given, RAW, REPORT, decode.inspect, normalise)


def test_images_and_masks_that_stand_alone_are_counted_and_named(inspect: Inspect) -> None:
    given = segnet().model_copy(update={"max_bad": 2})
    for name in ("x", "y"):
        draw_image(Path(f"set/train/{name}.png"))
    draw_ids(Path("set/valannot/z.png"))
    found = collected(given, inspect)
    assert found.report["unusable"] == [{"path": f"train/{name}.png", "reason": "no mask"} for name in ("x", "y")]
    assert found.report["ignored"] == [{"path": "valannot/z.png", "reason": "a mask without an image"}]
    assert found.report["notes"] == [
        "2 images have no mask: ['train/x.png', 'train/y.png']",
        "1 masks have no image: ['valannot/z.png']",
    ]
    assert len(found.samples) == 5
    with pytest.raises(DatasetError, match=r"2 of 7 images .* allows 1:\n  train/x.png: no mask"):
        collected(given.model_copy(update={"max_bad": 1}), inspect)


def test_pairs_go_by_name_and_not_by_place(inspect: Inspect) -> None:
    given = segnet().model_copy(update={"max_bad": 1})
    Path("set/trainannot/a.png").unlink()
    draw_ids(Path("set/trainannot/z.png"))  # as many as before: sorted lists would pair every one wrongly
    found = collected(given, inspect)
    for path, mask in zip(found.samples["path"], found.samples["scene.mask"], strict=True):
        np.testing.assert_array_equal(decode_ids(open_shards(RAW).read(mask)), truth(Path(path).stem))


UNKNOWN = "mask a.png: the unknown id 9 on 24 pixels; give it to a class as its `id`, or list it in `void`"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda mask: Image.fromarray(np.full(SHAPE, 9, dtype=np.uint8)), UNKNOWN),
        (lambda mask: mask.resize((12, 8)), "mask a.png: it has 12x8 pixels and its image 6x4"),
        (lambda mask: mask.convert("RGB"), "mask a.png: no ids in it"),
    ],
)
def test_a_mask_that_cannot_be_used_is_told_with_its_image(
    spoil: Callable[[Image.Image], Image.Image], reason: str, inspect: Inspect
) -> None:
    given, path = segnet(), Path("set/trainannot/a.png")
    with Image.open(path) as mask:
        spoiled = spoil(mask)
    spoiled.save(path)
    with pytest.raises(DatasetError, match=f"train/a.png: {reason}"):
        collected(given, inspect)
    assert not RAW.exists()
    found = collected(given.model_copy(update={"max_bad": 1}), inspect)
    assert found.report["unusable"] == [{"path": "train/a.png", "reason": reason}]
    assert not (RAW / "train/a.png").exists()
    assert not (RAW / "masks/train/a.png").exists()


def test_an_image_where_a_mask_goes_is_refused(inspect: Inspect) -> None:
    draw_image(Path("set/a.png"))
    draw_image(Path("set/masks/a.png"))
    draw_ids(Path("set/ids/a.png"))
    draw_ids(Path("set/ids/masks/a.png"))
    with pytest.raises(DatasetError, match="masks|one name"):
        collected(data({"images": {"all": "."}, "masks": {"all": "ids"}}), inspect)


@pytest.mark.parametrize(
    "line", ["2007_a", " 2007_a ", "2007_a.jpg", "2007_a 1", "/VOC/JPEGImages/2007_a.jpg /x/2007_a.png"]
)
def test_a_line_of_a_list_names_an_image_in_any_usual_way(line: str, inspect: Inspect) -> None:
    given = voc()
    Path("set/ImageSets/Segmentation/train.txt").write_text(f"{line}\n\n2007_b\n2007_b\n")
    found = collected(given, inspect)
    train = found.samples[found.samples["split"] == "train"]
    assert train["path"].tolist() == ["JPEGImages/2007_a.jpg", "JPEGImages/2007_b.jpg"]
    assert {aside["path"]: aside["reason"] for aside in found.report["ignored"]} == {
        "JPEGImages/2007_c.jpg": "in no list",
        "JPEGImages/2008_unlabelled.jpg": "in no list",
    }


def test_a_name_that_no_image_has_is_unusable_and_one_of_two_lists_refused(inspect: Inspect) -> None:
    given = voc()
    with Path("set/ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("2007_q\n")
    with pytest.raises(DatasetError, match="2007_q: in the list of val, and no such image"):
        collected(given, inspect)
    with Path("set/ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("2007_a\n")
    with pytest.raises(SourceError, match="'2007_a' is in the lists of train and val"):
        collected(given, inspect)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"images": {"all": "train", "val": "val"}}, "`all` goes with no other"),
        ({"masks": {"train": "trainannot"}}, r"images names \['test', 'train', 'val'\], and masks \['train'\]"),
        ({"lists": {"train": "train.txt"}}, "there are lists, and images names"),
        ({"masks": {"all": "trainanot"}}, "Did you mean 'trainannot'.*data.source.masks.all"),
        (
            {"mask_name": "{stem}_mask.png"},
            "None of the 5 images of 'set' has a mask; 'a.png' needs the mask .*a_mask.png",
        ),
    ],
)
def test_folders_that_do_not_fit_are_told(change: dict[str, Any], match: str, inspect: Inspect) -> None:
    given = segnet()
    source = {**given.source.model_dump(), **change}
    with pytest.raises(SourceError, match=match):
        collected(data(source), inspect)


def test_two_images_of_one_mask_are_refused(inspect: Inspect) -> None:
    given = segnet()
    draw_image(Path("set/train/a.jpg"))
    with pytest.raises(SourceError, match=r"2 images share .*'train/a.jpg', 'train/a.png'"):
        collected(given, inspect)


def test_one_folder_of_masks_serves_all_splits(inspect: Inspect) -> None:
    source = segnet().source.model_dump()
    for path in sorted(Path("set").glob("*annot/*.png")):
        draw_ids(Path("set/annot") / path.name)
    found = collected(data({**source, "masks": {"all": "annot"}}), inspect)
    assert len(found.samples) == 5
    assert found.report["ignored"] == []


def test_a_mask_that_is_drawn_otherwise_changes_its_shard_and_not_the_table(inspect: Inspect) -> None:
    def stored() -> list[bytes]:
        return [shard.read_bytes() for shard in sorted(RAW.iterdir())]

    asked = four_folders()
    before, shards = collected(asked, inspect), stored()
    drawn = Path("set/train_labels/a.png")
    Image.fromarray(np.flip(truth("a"), axis=1)).save(drawn)
    assert collected(asked, inspect).samples.equals(before.samples)
    assert stored() != shards
    draw_ids(drawn)
    collected(asked, inspect)
    assert stored() == shards


@pytest.mark.parametrize("other", ["a.jpg", "masks/a.png"])
def test_a_path_that_would_belong_to_two_files_is_refused(other: str, inspect: Inspect) -> None:
    for path in ("a.png", other):
        draw_image(Path("set") / path)
    draw_ids(Path("drawn.png"))
    mask = Path("drawn.png").absolute()
    Path("labels.csv").write_text(f"path,mask\na.png,{mask}\n{other},{mask}\n")
    table = {"kind": "csv", "table": "labels.csv", "images": "set", "separator": None, "header": None, "path": "path"}
    asked = segnet()
    labels = {name: label.model_dump() for name, label in asked.labels.items()}
    given = {**asked.model_dump(), "source": {**table, "split": None}, "labels": labels}
    with pytest.raises(DatasetError, match=r"1 paths would belong to two files, first 'masks/a\.png'"):
        collected(Data.model_validate(given), inspect)
