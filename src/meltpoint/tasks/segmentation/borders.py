"""How well the borders of regions are met: counts of border pixels, of which a boundary F-score is arithmetic."""

import cv2
import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Mask
from meltpoint.tables import IGNORED

TOLERANCE = 0.0075  # of the diagonal: how far off a border may lie and still be met


def count_borders(said: Mask, true: Mask, n_classes: int) -> NDArray[np.int64]:
    """Count border pixels of masks uint8 (H, W): (4, C) rows said, said_near, true, true_near.

    `said` are pixels of a class in the answer with a neighbour of another class, `said_near` those of them that lie no
    further than the tolerance from the class's true border; and the other way round. Csurka et al., What is a good
    evaluation measure for semantic segmentation?, BMVC 2013. The edge of the picture is no border.
    Lines of void pixels (255 in `true`), as many masks have around objects, are closed from both sides first; what is
    void then has no known border, and nothing within the tolerance of it is counted.
    """
    assert said.shape == true.shape, "an answer has the size of the truth"
    reach = max(1.0, TOLERANCE * float(np.hypot(*true.shape)))
    closed, known = _close(true, reach)
    near = _disc(reach)
    counts = np.zeros((4, n_classes), np.int64)
    for code in np.union1d(np.unique(said), np.unique(closed)):
        if code >= n_classes:
            continue
        mine, its = _border(said == code, np.zeros_like(known)), _border(closed == code, closed == IGNORED)
        by_mine, by_its = _grow(mine, near), _grow(its, near)
        for row, pixels in enumerate((mine, mine & by_its, its, its & by_mine)):
            counts[row, code] = np.count_nonzero(pixels & known)
    return counts


def _close(true: Mask, reach: float) -> tuple[Mask, Flags]:
    """Void pixels within `reach` of a class take the nearest one; and what lies farther than `reach` from the rest."""
    void = true == IGNORED
    if not void.any() or void.all():
        return true, ~void
    distance, nearest = cv2.distanceTransformWithLabels(
        void.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    class_of = np.full(int(nearest.max()) + 1, IGNORED, np.uint8)
    class_of[nearest[~void]] = true[~void]
    closed = np.where(void & (distance <= reach), class_of[nearest], true).astype(np.uint8)
    # what is left is void less a rim as wide as `reach`: twice as far is that rim, and as much beyond it
    return closed, ~_grow(closed == IGNORED, _disc(2 * reach))


def _border(mask: Flags, void: Flags) -> Flags:
    """Pixels (H, W) of a mask with one of four neighbours outside of it that is not void."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(mask & (cv2.erode((mask | void).astype(np.uint8), cross) == 0))


def _grow(pixels: Flags, kernel: Mask) -> Flags:
    return np.asarray(cv2.dilate(pixels.astype(np.uint8), kernel) > 0)


def _disc(radius: float) -> Mask:
    """The pixels no farther than `radius` from the middle one."""
    steps = np.arange(-int(radius), int(radius) + 1)
    return np.asarray(np.hypot(steps[:, None], steps) <= radius, dtype=np.uint8)
