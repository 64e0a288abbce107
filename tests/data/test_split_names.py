import pytest

from meltpoint.data.split_names import official_split, split_and_rest, split_in


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"), ("training", "train"), ("training_set", "train"), ("TrainSet", "train"),
        ("train_images", "train"), ("train2017", "train"), ("images-train", "train"), ("Training Data", "train"),
        ("valid", "val"), ("VALIDATION", "val"), ("dev", "val"), ("validation_data", "val"), ("dev-set", "val"),
        (" test ", "test"), ("test_set", "test"), ("testing", "test"), ("Test.Images", "test"),
    ],
)  # fmt: skip
def test_usual_names_of_splits(name: str, split: str) -> None:
    assert official_split(name) == split


@pytest.mark.parametrize(
    "name",
    ["cat", "eval", "hold-out", "trainval", "training_shoes", "test tube", "trains", "trian", "test1", "data", "2017"],
)
def test_other_names_are_none(name: str) -> None:
    assert official_split(name) is None


@pytest.mark.parametrize(
    ("name", "parted"),
    [
        ("train", ("train", "")),
        ("Training Set", ("train", "")),
        ("seg_train", ("train", "seg")),
        ("segTest", ("test", "seg")),
        ("instances_train2017", ("train", "instances")),
        ("my cats-val.v2", ("val", "my cats v2")),
        ("trainer", None),
        ("contest", None),
        ("constrain_a", None),
        ("", None),
    ],
)
def test_a_word_of_a_name_may_be_a_split(name: str, parted: tuple[str, str] | None) -> None:
    assert split_and_rest(name) == parted
    assert split_in(name) == (parted[0] if parted else None)
