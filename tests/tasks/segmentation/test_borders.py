"""Border pixels: counted as the definition says, whatever the masks; void is nobody's border."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from meltpoint.arrays import Mask
from meltpoint.tables import IGNORED
from meltpoint.tasks.segmentation.borders import TOLERANCE, count_borders


def square(size: int, top: int, left: int, side: int) -> Mask:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def slow(said: Mask, true: Mask, n_classes: int) -> NDArray[np.int64]:
    """The definition, pixel by pixel."""
    reach = max(1.0, TOLERANCE * float(np.hypot(*true.shape)))
    counts = np.zeros((4, n_classes), np.int64)
    for code in range(n_classes):
        lines = [border(mask == code) for mask in (said, true)]
        for row, (mine, other) in enumerate((lines, lines[::-1])):
            counts[2 * row, code] = len(mine)
            near = [any(np.hypot(y - v, x - u) <= reach for v, u in other) for y, x in mine]
            counts[2 * row + 1, code] = sum(near)
    return counts


def border(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    height, width = inside.shape
    found = []
    for y, x in zip(*np.nonzero(inside), strict=True):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(0 <= v < height and 0 <= u < width and not inside[v, u] for v, u in around):
            found.append((int(y), int(x)))
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 14), st.integers(3, 14), st.integers(0, 10_000))
def test_counts_are_those_of_the_definition(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, true = (rng.integers(0, 3, (height, width)).astype(np.uint8) for _ in range(2))
    assert (count_borders(said, true, 4) == slow(said, true, 4)).all()


def test_a_wide_tolerance_is_a_disc() -> None:
    """At 300 pixels a border may be off by 3.18: by (3, 1), and not by (3, 2)."""
    true = np.zeros((300, 300), np.uint8)
    true[100, 100] = 1
    for step, met in (((3, 1), 1), ((3, 2), 0), ((0, 3), 1), ((4, 0), 0)):
        said = np.zeros_like(true)
        said[100 + step[0], 100 + step[1]] = 1
        assert count_borders(said, true, 2)[:, 1].tolist() == [1, met, 1, met]


def test_a_square_has_the_borders_one_can_count() -> None:
    mask = square(32, 8, 8, 10)
    assert count_borders(mask, mask, 2).tolist() == [[40, 36]] * 4


def test_the_edge_of_the_picture_is_no_border() -> None:
    assert count_borders(np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), 2).sum() == 0


def test_said_and_true_change_places() -> None:
    one, other = square(40, 5, 5, 20), square(40, 7, 6, 18)
    there, back = count_borders(one, other, 2), count_borders(other, one, 2)
    assert (there[:2] == back[2:]).all()
    assert (there[2:] == back[:2]).all()


def test_a_line_of_void_around_an_object_is_closed() -> None:
    """As in PASCAL VOC: the border lies somewhere in the line, and an answer with it there is met everywhere."""
    said, true = square(200, 60, 60, 80), square(200, 60, 60, 80)
    true[58:142, 58:142][square(84, 4, 4, 76) == 0] = IGNORED
    counts = count_borders(said, true, 2)
    assert (counts[2] > 250).all()
    assert (counts[0] == counts[1]).all()
    assert (counts[2] == counts[3]).all()


def test_nobody_knows_a_border_with_a_region_of_void() -> None:
    true, said = square(100, 20, 20, 30), square(100, 20, 20, 30)
    true[60:] = IGNORED
    plain = count_borders(said, true, 2)
    assert (plain == count_borders(said, square(100, 20, 20, 30), 2)).all(), "the edge of the void is no border"
    said[62:90, 10:70] = 1
    assert (count_borders(said, true, 2) == plain).all(), "nor is what is said within it"


def test_all_void_counts_nothing() -> None:
    assert count_borders(square(20, 5, 5, 5), np.full((20, 20), IGNORED, np.uint8), 2).sum() == 0


def test_an_answer_of_another_size_is_a_slip() -> None:
    with pytest.raises(AssertionError, match="size of the truth"):
        count_borders(np.zeros((3, 3), np.uint8), np.zeros((4, 3), np.uint8), 2)
