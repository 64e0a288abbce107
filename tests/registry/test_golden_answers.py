"""A version is held against what it said when it was registered."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from meltpoint.files import read_json, write_json
from meltpoint.images.views import open_views
from meltpoint.registry.golden_answers import PICTURES, AnswersError, check_golden_answers, write_golden_answers


@pytest.fixture
def version(house: Any) -> Path:
    """A model folder with its check beside it."""
    folder: Path = house.folder / "artifacts" / "model"
    shutil.copytree(house.folder / "models" / "frozen", folder)
    write_golden_answers(folder, open_views(house.views), folder.with_name("check"))
    return folder


def test_the_same_model_passes(version: Path) -> None:
    check = version.with_name("check")
    assert sorted(path.name for path in check.iterdir()) == [*(f"{n}.png" for n in range(PICTURES)), "expected.json"]
    said = read_json(check / "expected.json")
    assert len(said) == PICTURES
    assert set(said[0]) == {
        "shape.p.circle", "shape.p.square", "colour.p.blue", "colour.p.green", "colour.p.red",
    }  # fmt: skip
    check_golden_answers(version)


def test_other_weights_are_told(version: Path, house: Any) -> None:
    shutil.rmtree(version)
    shutil.copytree(house.folder / "models" / "finetune", version)
    with pytest.raises(AnswersError, match=r"does not answer as it did.*picture 0: .* was 0\.\d+ and is 0\.\d+"):
        check_golden_answers(version)


def test_a_rounding_is_allowed_and_no_more(version: Path) -> None:
    path = version.with_name("check") / "expected.json"
    said = read_json(path)
    said[3]["shape.p.circle"] += 5e-5
    write_json(path, said)
    check_golden_answers(version)
    said[3]["shape.p.circle"] += 1e-3
    write_json(path, said)
    with pytest.raises(
        AnswersError, match=r": picture 3: shape\.p\.circle was 0\.\d+ and is 0\.\d+\. Allowed is 0.0001"
    ):
        check_golden_answers(version)


def test_a_picture_that_cannot_be_read_is_a_difference(version: Path) -> None:
    (version.with_name("check") / "1.png").write_bytes(b"no picture")
    with pytest.raises(AnswersError, match="picture 1: "):
        check_golden_answers(version)


@pytest.mark.parametrize("content", [None, "{"])
def test_a_version_that_carries_no_answers_is_told(version: Path, content: str | None) -> None:
    path = version.with_name("check") / "expected.json"
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(AnswersError, match="cannot be checked.*older ones do not.*meltpoint sync"):
        check_golden_answers(version)


def test_pictures_are_those_of_the_views(version: Path, house: Any) -> None:
    views = open_views(house.views)
    with Image.open(version.with_name("check") / "0.png") as image:
        assert image.size == (views.size, views.size)
