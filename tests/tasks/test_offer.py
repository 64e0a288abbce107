"""What exports answer beside the winner, image by image."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from meltpoint.images.views import Views
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.offer import _look

PLAIN = np.arange(7 * 4 * 4 * 3, dtype=np.uint8).reshape(7, 4, 4, 3)


def answerer(shift: int, gone: int = 0) -> Answerer:
    """It answers by a corner's colour, and `gone` images of each batch get none."""

    def probabilities(images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"y": np.eye(5)[(images[gone:, 0, 0, 0] + shift) % 5]}

    made = SimpleNamespace(
        fit_batch=lambda batch: batch, predictor=SimpleNamespace(resizes=False), probabilities=probabilities,
        decide=lambda found: {"y": found["y"].argmax(1)},
    )  # fmt: skip
    return cast(Answerer, made)


def views(gone: int = 0) -> Views:
    plain = SimpleNamespace(read=lambda rows: PLAIN[rows][gone:])
    return cast(Views, SimpleNamespace(plain=plain, read_file=None))


def test_each_image_is_compared_with_the_winners_answer() -> None:
    shares, apart = _look(
        {"own": answerer(0), "same": answerer(5), "other": answerer(1)}, views(), np.arange(7), "y", 3
    )
    assert [one.tolist() for one in shares.values()] == [[1.0] * 7, [1.0] * 7, [0.0] * 7]
    assert apart == {"own": 0.0, "same": 0.0, "other": 1.0}


@pytest.mark.parametrize(
    ("lacking", "answerers"), [(1, [answerer(0), answerer(0)]), (0, [answerer(0), answerer(0, gone=2)])]
)
def test_an_image_without_an_answer_is_no_answer_of_chance(lacking: int, answerers: list[Answerer]) -> None:
    with pytest.raises(AssertionError, match="than were asked for"):
        _look(dict(zip("ab", answerers, strict=True)), views(lacking), np.arange(7), "y", 7)
