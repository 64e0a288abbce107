"""Class folders of every sort, brought in by the stage `download`: which are classes, which are splits."""

import shutil
from typing import Any

SECTION = "Folders"

# Folders below the source, and what is expected of those that are read: classes and splits.
MAKERS: dict[str, tuple[list[str], set[str], set[str]]] = {
    "class folders called nan, null, NA and none": (["nan", "null", "NA", "none"], {"nan", "null", "NA", "none"}, {""}),
    "folders called training_set and test_set above the classes": (
        ["training_set/cat", "training_set/dog", "test_set/cat", "test_set/dog"],
        {"cat", "dog"},
        {"train", "test"},
    ),
    "folders of folds or places above the classes": (
        ["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"],
        set(),
        set(),
    ),
    "splits of another name, each in a folder of its own name again": (
        ["seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat", "seg_test/seg_test/dog"],
        set(),
        set(),
    ),
    "splits of another name that share most classes, and a file beside those": (
        ["left/cat", "left/dog", "left/emu", "right/cat", "right/dog", "right/fox"],
        set(),
        set(),
    ),
    "class folders that differ in a word for a split": (["cats_train", "cats_test"], set(), set()),
    "train and test, each in a folder of its own name again": (
        ["train/train/cat", "train/train/dog", "test/test/cat", "test/test/dog"],
        {"cat", "dog"},
        {"train", "test"},
    ),
    "a folder that may be val or test beside a split": (["train/cat", "train/dog", "eval/cat"], set(), set()),
    "class folders of one name, composed and decomposed": (["caf\xe9", "cafe\u0301"], set(), set()),
    "class folders that differ in a blank at the end": (["cat", "cat "], set(), set()),
    "class folders that differ in a zero-width blank": (["cat", "cat\u200b"], set(), set()),
    "class folders that differ in a letter of another script": (["cat", "c\u0430t"], set(), set()),
    "class folders that differ in the kind of a dash": (["T-shirt", "T\u2011shirt"], set(), set()),
    "class folders that differ in a letter that is drawn as nothing": (["cat", "cat\u3164"], set(), set()),
    "class folders that differ in capitals alone": (["cat", "Cat"], set(), set()),
}


def test_folders(row: Any, workplace: Any, check_refused: Any) -> None:
    folders, classes, splits = MAKERS[row.name]
    shutil.rmtree(workplace.photos)
    for number in range(3 * len(folders)):
        workplace.add_picture(f"{folders[number % len(folders)]}/{number}.png", number)
    if "a file beside those" in row.name:
        (workplace.photos / folders[0]).with_name("README.txt").write_text("no picture")
    code, said = workplace.stage("download")
    if row.fate == "refused":
        check_refused(row, code, said)
        assert not workplace.left()
        return
    assert code == 0, said
    samples = workplace.samples()
    assert len(samples) == 3 * len(folders)
    assert set(samples["y"]) == classes
    assert set(samples["split"]) == splits


def test_every_row_has_its_folders(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
