"""Class folders: the label is the folder's name, splits are kept where they can be, odd files are told."""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.errors import UserError
from meltpoint.images import formats
from meltpoint.images.formats import readable
from meltpoint.predict import folders

Draw = Callable[..., Path]
Fill = Callable[[Path, dict[str, int]], Path]
Init = Callable[..., Any]


def write_dicom(path: Path, seed: int) -> None:
    """One frame of 6 by 4 grey values."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 4, 6, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = np.random.default_rng(seed).integers(0, 256, 24, dtype=np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_class_folders(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "Pet Photos", {"cat": 6, "dog": 9})
    ran = init("Pet Photos")
    assert ran.raw["data"]["source"] == {"kind": "folder", "path": "Pet Photos"}
    assert ran.raw["data"]["labels"] == {"pet_photos": {"kind": "names", "column": "class", "classes": None}}
    assert ran.params.main_head == "pet_photos"
    assert ran.params.register_.name == "pet_photos"
    assert ran.params.register_.floors == {"pet_photos/accuracy": 0.6}
    assert "15 images" in ran.out
    assert "dog 9, cat 6" in ran.out
    assert "bring no splits" in ran.out
    text = ran.path.read_text()
    lines = text.splitlines()
    for key in ("split:", "views:", "encoders:", "heads:", "strategies:", "  source:", "  metric:"):
        at = next(number for number, line in enumerate(lines) if line.startswith(key))
        assert lines[at - 1].lstrip().startswith("# "), f"nothing explains {key}"
    assert "train@frozen" in text, "the estimate stands at the top"


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("training_set", "valid", "test_set"), ("Training", "validation_set", "Testing")],
)
def test_splits_are_kept(place: Path, fill: Fill, init: Init, train: str, val: str, test: str) -> None:
    for split, count in ((train, 5), (val, 2), (test, 3)):
        fill(place / "pets" / split, {"cat": count, "dog": count})
    ran = init("pets")
    assert ran.params.split.official
    assert "train 10, val 4, test 6" in ran.out
    assert list(ran.raw["data"]["labels"]) == ["pets"]


@pytest.mark.parametrize(("lacking", "note"), [((), "val is cut from train"), (("dog",), "'dog' of test")])
def test_a_missing_val_is_cut_from_train_and_a_split_that_lacks_a_class_is_not_kept(
    place: Path, fill: Fill, init: Init, lacking: tuple[str, ...], note: str
) -> None:
    fill(place / "pets" / "train", {"cat": 5, "dog": 5})
    fill(place / "pets" / "test", {name: 5 for name in ("cat", "dog") if name not in lacking})
    ran = init("pets")
    assert ran.params.split.official == (not lacking)
    assert note in ran.out


@pytest.mark.parametrize(
    ("folder", "words", "path", "label"),
    [
        ("download/flowers", ["download"], "download/flowers", "flowers"),
        ("flowers/images", ["flowers/images"], "flowers/images", "flowers"),
        ("x", ["x", "--label", "kind of flower"], "x", "kind_of_flower"),
    ],
)
def test_the_label_is_called_as_asked_for_or_as_the_folder_that_says_most(
    place: Path, fill: Fill, init: Init, folder: str, words: list[str], path: str, label: str
) -> None:
    fill(place / folder, {"rose": 4, "tulip": 4})
    ran = init(*words)
    assert (ran.raw["data"]["source"]["path"], ran.params.main_head) == (path, label)


def test_data_outside_are_named_by_their_whole_path(
    fill: Fill, init: Init, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = fill(tmp_path_factory.mktemp("far") / "pets", {"cat": 4, "dog": 4})
    assert init(outside).raw["data"]["source"]["path"] == str(outside)


def test_odd_files_are_told_and_tolerated_by_number(place: Path, fill: Fill, init: Init) -> None:
    root = fill(place / "pets", {"cat": 15, "dog": 15})
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "readme.md").write_text("hello")
    ran = init("pets")
    assert "cat/notes.txt (not an image)" in ran.out
    assert "readme.md (in no class folder)" in ran.out
    assert ran.params.data.max_bad == 1


def test_many_bad_files_are_not_tolerated(place: Path, fill: Fill, init: Init) -> None:
    root = fill(place / "pets", {"cat": 6, "dog": 6})
    for number in range(3):
        (root / "dog" / f"bad{number}.jpg").write_bytes(b"not a picture")
    ran = init("pets")
    assert ran.params.data.max_bad == 0
    assert "look here: 3 files of 15 cannot be used" in ran.out


def test_rare_classes_and_copies_with_two_labels_are_told(place: Path, fill: Fill, init: Init) -> None:
    root = fill(place / "pets", {"cat": 6, "dog": 6, "emu": 2})
    shutil.copy(root / "cat" / "0.png", root / "dog" / "copy.png")
    out = " ".join(init("pets").out.split())
    assert "look here: 1 class with fewer than 3 images: 'emu' (2)" in out
    assert "exact copies: 1, as cat/0.png and dog/copy.png" in out
    assert "1 picture of equal bytes with different labels" in out


def test_one_class_with_nearly_all_images_changes_the_metric(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "parts", {"good": 45, "broken": 5})
    ran = init("parts")
    assert ran.params.compare.metric == "balanced_accuracy"
    assert ran.raw["heads"]["parts"]["class_weights"] == "balanced"
    assert ran.raw["register"]["floors"] == {"parts/balanced_accuracy": 0.5}


@pytest.mark.parametrize("names", [("0", "1"), ("turn_left", "turn_right"), ("a", "b")])
def test_letters_and_sides_are_not_mirrored(place: Path, fill: Fill, init: Init, names: tuple[str, str]) -> None:
    fill(place / "signs", dict.fromkeys(names, 4))
    transforms = [next(iter(one)) for one in next(iter(init("signs").raw["views"].values()))["transforms"]]
    assert transforms == ["RandomResizedCrop", "RandomBrightnessContrast"]


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs the extra heif")
def test_class_folders_of_heic(place: Path, fill: Fill, init: Init) -> None:
    readable()
    for path in fill(place / "pets", {"cat": 5, "dog": 5}).rglob("*.png"):
        Image.open(path).save(path.with_suffix(".HEIC"), "HEIF")
        path.unlink()
    assert "all 64 x 48; HEIF" in init("pets").out


@pytest.mark.skipif(find_spec("pydicom") is None, reason="needs the extra dicom")
def test_class_folders_of_dicom(place: Path, init: Init) -> None:
    for number in range(10):
        write_dicom(place / "scans" / ("sick" if number % 2 else "well") / f"{number}.dcm", number)
    assert "all 6 x 4; DICOM, all grey" in init("scans").out


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\xff\x0a", "2 files: format not allowed: JPEG XL; djxl FILE PICTURE.png"),
        (b"\x89PNG\r\n\x1a\n", "2 files: pictures called .jxl: rename them by their format"),
    ],
)
def test_pictures_of_formats_that_are_not_read_are_named(place: Path, init: Init, start: bytes, told: str) -> None:
    for kind in ("cat", "dog"):
        (place / "pets" / kind).mkdir(parents=True)
        (place / "pets" / kind / "1.jxl").write_bytes(start + bytes(20))
    with pytest.raises(UserError, match="no pictures that are known. By their first bytes there are") as error:
        init("pets")
    assert told in str(error.value)


def test_a_format_of_an_extra_that_is_not_installed_names_it(
    place: Path, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("cat", "dog"):
        (place / "pets" / kind).mkdir(parents=True)
        (place / "pets" / kind / "1.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    for cached in (formats.readable, folders.picture_suffixes):
        cached.cache_clear()
    try:
        with pytest.raises(UserError, match="2 files: format not allowed: HEIC; install the extra: pip install pillow"):
            init("pets")
    finally:
        for cached in (formats.readable, folders.picture_suffixes):
            cached.cache_clear()


def test_a_path_that_is_no_text_is_refused(place: Path, init: Init) -> None:
    (place / "caf\udce9").mkdir()
    with pytest.raises(UserError, match=r"caf.*udce9' is not UTF-8.*Rename it"):
        init(place / "caf\udce9")


def test_what_no_class_says_is_refused_kindly(place: Path, draw: Draw, fill: Fill, init: Init) -> None:
    draw(place / "flat" / "a.png")
    (place / "empty").mkdir()
    (place / "words" / "cat").mkdir(parents=True)
    (place / "words" / "cat" / "a.txt").write_text("a")
    fill(place / "single", {"cat": 4})
    for path, told, mend in (
        ("flat", "holds 1 picture and nothing that says what they show", "Sort them into a folder for each class"),
        ("empty", "is an empty folder", "Allowed are"),
        ("words", "no pictures that are known", "Allowed are"),
        ("single", "one class alone, 'cat' with 4 images", "a folder for each"),
        ("flta", "There is no 'flta'. Did you mean 'flat'?", "Name a folder"),
        ("flat/a.png", "is a single picture", "Allowed are"),
    ):
        with pytest.raises(UserError) as error:
            init(path)
        message = " ".join(str(error.value).split())
        assert told in message
        assert mend in message
    assert not (place / "params.yaml").exists()


def test_the_command_wants_presets(tmp_path: Path, fill: Fill, init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "pets", {"cat": 4, "dog": 4})
    monkeypatch.chdir(tmp_path / "pets")
    with pytest.raises(UserError, match="Run this in Meltpoint's own folder"):
        init(".")
