from collections.abc import Callable
from pathlib import Path

import pytest

from meltpoint.data.listing import Listing, SourceError
from meltpoint.data.sources.folder import read
from meltpoint.params.sources import FolderSource


def listed(root: Path) -> Listing:
    return read(FolderSource(kind="folder", path=str(root)), root / "scratch")


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        place = root / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")
    return root


def rows(listing: Listing) -> list[tuple[str, str, str]]:
    table = listing.files.assign(klass=listing.columns["class"]).fillna("-")
    return list(zip(table["path"], table["split"], table["klass"], strict=True))


def ignored(listing: Listing) -> dict[str, str]:
    return {aside.path: aside.reason for aside in listing.ignored}


def test_class_folders(tmp_path: Path) -> None:
    listing = listed(make(tmp_path, "dog/2.png", "cat/deeper/1.png", "cat/notes.txt"))
    assert rows(listing) == [("cat/deeper/1.png", "-", "cat"), ("cat/notes.txt", "-", "cat"), ("dog/2.png", "-", "dog")]
    assert listing.files["origin"].tolist()[0] == str(tmp_path / "cat/deeper/1.png")
    assert listing.ignored == []


def test_a_relative_path_starts_here(workplace: Path) -> None:
    make(workplace, "photos/cat/1.png")
    listing = read(FolderSource(kind="folder", path="photos"), workplace / "scratch")
    assert listing.title == "folder photos"
    assert listing.files["origin"].tolist() == [str(workplace / "photos/cat/1.png")]


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev"])
def test_split_folders_above_class_folders(tmp_path: Path, val: str) -> None:
    listing = listed(make(tmp_path, "train/cat/1.png", f"{val}/cat/2.png", "TEST/dog/3.png"))
    assert {split: klass for _, split, klass in rows(listing)} == {"train": "cat", "val": "cat", "test": "dog"}
    assert f"{val}/cat/2.png" in listing.files["path"].tolist()


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = listed(make(tmp_path, "train/1.png", "bus/2.png"))
    assert rows(listing) == [("bus/2.png", "-", "bus"), ("train/1.png", "-", "train")]


@pytest.mark.parametrize(
    "names", [("training_set", "test_set"), ("train2017", "val2017"), ("Train Images", "validation_data")]
)
def test_near_misses_of_split_names_are_understood(tmp_path: Path, names: tuple[str, str]) -> None:
    listing = listed(make(tmp_path, *(f"{name}/{one}/1.png" for name in names for one in ("cats", "dogs"))))
    assert [klass for _, _, klass in rows(listing)] == ["cats", "dogs"] * 2
    assert "train" in listing.files["split"].tolist()
    assert not listing.files["split"].isna().any()
    assert listing.class_warning is None


@pytest.mark.parametrize("others", [("trian", "tset"), ("fold1", "fold2", "fold3"), ("Hospital A", "Hospital B")])
def test_folders_of_equal_folders_are_doubted_as_classes(tmp_path: Path, others: tuple[str, ...]) -> None:
    make(tmp_path, f"{others[0]}/birds/1.png", *(f"{name}/{one}/1.png" for name in others for one in ("cats", "dogs")))
    doubt = listed(tmp_path).class_warning
    assert doubt is not None
    assert all(repr(name) in doubt for name in (*others, "birds", "cats", "dogs"))
    assert "train, val and test" in doubt


@pytest.mark.parametrize("stray", ["", "README.txt", "labels.csv", "notes"])
@pytest.mark.parametrize(
    "classes",
    [
        {"seg_train/seg_train": ("a", "b"), "seg_test/seg_test": ("a", "b")},
        {"seg_train/seg_train": ("a", "b"), "seg_test/seg_test": ("a", "b"), "seg_pred/seg_pred": ()},
        {"left/images/all": ("a", "b", "c"), "right/images/all": ("A", "b", "d")},
        {"seg_train": ("cats", "dogs", "cows"), "seg_test": ("cats", "dogs", "emu")},
        {"extra": ("cats", "dogs"), "cats": (), "dogs": ()},
        {"large": tuple("abcdefgh"), "small": ("a", "b"), "third": ("c", "d")},
    ],
)
def test_folders_of_mostly_equal_folders_are_doubted(
    tmp_path: Path, classes: dict[str, tuple[str, ...]], stray: str
) -> None:
    make(tmp_path, *(f"{folder}/{one}/1.png" for folder, inside in classes.items() for one in inside))
    make(tmp_path, *(f"{folder}/1.png" for folder, inside in classes.items() if not inside))
    make(tmp_path, *([f"{next(iter(classes))}/{stray}"] if stray else []))
    doubt = listed(tmp_path).class_warning
    assert doubt is not None
    assert "mostly equal names" in doubt


@pytest.mark.parametrize("names", [("seg_train", "seg_test"), ("cats_train", "cats-VAL", "dogs"), ("train", "test")])
def test_names_that_differ_in_their_word_for_a_split_are_doubted(tmp_path: Path, names: tuple[str, ...]) -> None:
    doubt = listed(make(tmp_path, *(f"{name}/1.png" for name in (*names, "other")))).class_warning
    assert doubt is not None
    assert "parts of one dataset" in doubt
    assert all(repr(name) in doubt for name in names)


@pytest.mark.parametrize(
    "inner", [("train", "test"), ("images", "Images"), ("seg_train", "seg_test"), ("training_set", "test_set")]
)
def test_splits_that_were_unpacked_into_a_folder_of_their_name_are_understood(
    tmp_path: Path, inner: tuple[str, str]
) -> None:
    make(tmp_path, "train/README.txt", "test/.DS_Store")
    splits = zip(("train", "test"), inner, strict=True)
    listing = listed(make(tmp_path, *(f"{a}/{b}/{one}/1.png" for a, b in splits for one in ("cats", "dogs"))))
    assert {(split, klass) for _, split, klass in rows(listing)} == {
        (split, klass) for split in ("train", "test") for klass in ("cats", "dogs")
    }
    assert listing.class_warning is None


def test_a_split_that_holds_itself_ends(tmp_path: Path) -> None:
    make(tmp_path, "train/", "test/cats/1.png", "test/dogs/1.png")
    (tmp_path / "train/train").symlink_to(tmp_path / "train")
    assert {split for _, split, _ in rows(listed(tmp_path))} == {"test"}


def test_each_split_may_lie_deeper_for_itself(tmp_path: Path) -> None:
    paths = [
        f"{split}/{one}/1.png" for split in ("train/train/Train", "val/images", "test") for one in ("cats", "dogs")
    ]
    listing = listed(make(tmp_path, *paths))
    assert {klass for _, _, klass in rows(listing)} == {"cats", "dogs"}
    assert listing.files["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}


def test_a_single_class_of_a_split_is_no_folder_around_classes(tmp_path: Path) -> None:
    listing = listed(make(tmp_path, "train/cats/2019/1.png", "train/cats/2020/1.png", "test/cats/2019/1.png"))
    assert {klass for _, _, klass in rows(listing)} == {"cats"}
    assert listing.class_warning is None


@pytest.mark.parametrize(
    "paths",
    [
        ("train_station/1.png", "bus_station/1.png", "test_tube/1.png"),
        ("cats/images/1.png", "dogs/images/1.png"),
        ("cats/a/1.png", "cats/b/1.png", "dogs/c/1.png", "dogs/d/1.png"),
        ("cats/2019/1.png", "cats/2020/1.png", "dogs/2019/1.png", "dogs/2020/1.png", "dogs/1.png"),
    ],
)
def test_classes_may_be_parted_into_folders(tmp_path: Path, paths: tuple[str, ...]) -> None:
    assert listed(make(tmp_path, *paths)).class_warning is None


@pytest.mark.parametrize("third", ["eval", "trainval", "extra"])
def test_a_folder_beside_splits_that_could_be_several_is_refused(tmp_path: Path, third: str) -> None:
    with pytest.raises(SourceError, match=rf"mixes split folders .*'{third}'.* rename those that are splits"):
        listed(make(tmp_path, "train/cat/1.png", "test/cat/2.png", f"{third}/cat/3.png"))


def test_whatever_is_left_aside_is_listed(tmp_path: Path) -> None:
    make(
        tmp_path, "README.md", ".git/config", "__MACOSX/._1.png", "cat/1.png", "cat/.DS_Store", "cat/Thumbs.db", "dog/"
    )
    assert ignored(listed(tmp_path)) == {
        "README.md": "in no class folder",
        ".git": "hidden or left by a desktop",
        "__MACOSX": "hidden or left by a desktop",
        "cat/.DS_Store": "hidden or left by a desktop",
        "cat/Thumbs.db": "hidden or left by a desktop",
        "dog": "a class folder without files",
    }


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "store/1.png", "data/dog/2.png")
    (tmp_path / "data/cat").symlink_to(tmp_path / "store")
    (tmp_path / "data/dog/again").symlink_to(tmp_path / "data/dog")
    (tmp_path / "data/dog/gone.png").symlink_to(tmp_path / "nothing")
    listing = listed(tmp_path / "data")
    assert listing.files["path"].tolist() == ["cat/1.png", "dog/2.png", "dog/gone.png"]
    assert ignored(listing) == {"dog/again": "a link to a folder above it"}


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        (["1.png"], "no class folders"),
        (["train/1.png", "test/2.png"], "no class folders in them"),
        (["train/cat/1.png", "extra/2.png"], r"mixes split folders \['train'\] with others: \['extra'\]"),
        (["val/cat/1.png", "dev/cat/2.png"], "one split twice"),
    ],
)
def test_a_layout_that_cannot_be_understood_is_told(tmp_path: Path, paths: list[str], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        listed(make(tmp_path, *paths))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="which is a file"):
        listed(make(tmp_path, "photos") / "photos")


def test_names_no_table_can_hold_are_unusable_not_lost(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "cat/back\\slash.png")
    (tmp_path / "cat" / "caf\udce9.png").write_bytes(b"x")
    listing = listed(tmp_path)
    assert listing.files["path"].tolist() == ["cat/1.png"]
    assert {aside.path for aside in listing.unusable} == {"cat/back\\slash.png", "cat/caf\\udce9.png"}


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "cat/1.png")
    refuse: Callable[[str], object] = lambda folder: (_ for _ in ()).throw(PermissionError())  # noqa: E731
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(SourceError, match="no permission"):
        listed(tmp_path)
