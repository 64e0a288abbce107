"""Predictions of masks as arrays: pixels and border pixels of each class, and what was taken for what."""

import numpy as np
import pandas as pd

from meltpoint.arrays import Floats, Ints
from meltpoint.metrics import ratio
from meltpoint.tables import BORDERS, PIXELS, border_column, confusion_column, pixel_column


def pixels_of(table: pd.DataFrame, head: str, classes: list[str]) -> Ints:
    """Pixels (3, N, C) of a head: tp, fp and fn of each image and class."""
    return np.stack([table[[pixel_column(head, one, name) for name in classes]].to_numpy(np.int64) for one in PIXELS])


def borders_of(table: pd.DataFrame, head: str, classes: list[str]) -> Ints:
    """Border pixels (4, N, C) of a head: said, said_near, true and true_near of each image and class."""
    return np.stack([table[[border_column(head, one, name) for name in classes]].to_numpy(np.int64) for one in BORDERS])


def confusion_of(table: pd.DataFrame, head: str, classes: list[str]) -> Ints:
    """Pairs of pixels (C, C) over all images, row the true class. The images are added up one by one."""
    total = np.zeros(len(classes) ** 2, np.int64)
    for cells in table[confusion_column(head)]:
        total += np.asarray(cells, np.int64)
    return total.reshape(len(classes), len(classes))


def score_images(predictions: pd.DataFrame, head: str, classes: list[str]) -> pd.DataFrame:
    """The mean IoU of each image of test, worst first: columns id, path, iou, pixels.

    It is over the classes that the image shows or was said to: here a false object counts, for people are to see it.
    """
    table = predictions[predictions["split"] == "test"]
    tp, fp, fn = pixels_of(table, head, classes)
    union = (tp + fp + fn).astype(np.float64)
    iou = ratio(ratio(tp.astype(np.float64), union).sum(1), (union > 0).sum(1).astype(np.float64))
    scored = table[["id", "path"]].assign(iou=iou, pixels=(tp + fn).sum(1))
    known: pd.DataFrame = scored[scored["pixels"] > 0]
    return known.sort_values(["iou", "id"], ignore_index=True)


def commonest_error(predictions: pd.DataFrame, head: str, classes: list[str]) -> dict[int, str]:
    """The pair of classes that most wrong pixels of each image of test are of, in words, by id."""
    table = predictions[predictions["split"] == "test"]
    errors: dict[int, str] = {}
    for number, cells in zip(table["id"], table[confusion_column(head)], strict=True):
        counts = np.array(cells, np.int64).reshape(len(classes), len(classes))
        total = max(1, int(counts.sum()))
        np.fill_diagonal(counts, 0)
        true, said = divmod(int(counts.argmax()), len(classes))
        share = counts[true, said] / total
        words = f"{classes[true]} read as {classes[said]}, {share:.1%} of the pixels"
        errors[int(number)] = words if share else "none"
    return errors


def score_borders(counts: Ints) -> Floats:
    """The boundary F-score (C,) of each class from counts (4, C) over all images; NaN of a class without a border.

    Precision and recall as Csurka et al., BMVC 2013, have them; counts are summed over the images before dividing.
    """
    said, said_near, true, true_near = counts.astype(np.float64)
    precision, recall = ratio(said_near, said), ratio(true_near, true)
    return np.where(said + true > 0, ratio(2 * precision * recall, precision + recall), np.nan)
