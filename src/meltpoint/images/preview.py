"""Shows what augmentation does: training images as they are, and as training sees them."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.images.augment import Augmentation
from meltpoint.images.contact_sheet import draw_sheet
from meltpoint.images.mask_files import paint_classes
from meltpoint.images.views import MaskedView, Views, augment, view_seed
from meltpoint.tables import PRESENT

ROWS, COLUMNS, LABELS = 6, 8, 3  # at most: training images, views of each, classes named
STRENGTH = 0.5  # of the colours of classes over an image


def draw_augmented(views: Views, transform: Augmentation, seed: int, path: Path) -> None:
    """Draw some training images of different classes: each as it is, then as training sees it; masks lie over them."""
    labels, shown = list(views.classes), min(views.count, COLUMNS) or COLUMNS
    training = views.rows("train")
    images, captions = [], []
    for place in _varied(views.samples.iloc[training], labels, views.masks is None):
        row, masks, stored = training[place], views.masks, views.augmented_masks
        sample = views.samples.iloc[row]
        plain: MaskedView = np.asarray(views.plain[row]), None if masks is None else np.asarray(masks[row])
        named = [str(sample[label]).replace(PRESENT, ", ") for label in labels if pd.notna(sample[label])]
        pairs = [plain]
        captions.append("\n".join(["as it is", *named[:LABELS]]))
        for number in range(shown):
            captions.append(f"view {number + 1}")
            if views.augmented is None:
                pairs.append(augment(transform, plain, view_seed(seed, int(sample["id"]), number)))
            else:
                pairs.append((views.augmented[place, number], None if stored is None else stored[place, number]))
        for view, mask in pairs:  # a view under the colours of its mask, if it has one
            palette = next(iter(views.palettes.values()), [])
            images.append(view if mask is None else paint_classes(view, mask, palette, STRENGTH))
    kept = f"{views.count} stored views of each training image" if views.count else "new views in each epoch"
    draw_sheet(images, captions, 1 + shown, "Augmentation", path, f"What training sees: {kept}")


def _varied(samples: pd.DataFrame, labels: list[str], by_class: bool) -> NDArray[np.int64]:
    """Positions of a few rows: one of each combination of classes, the frequent ones first, then second ones.

    Not `by_class`, they are spread evenly: hardly two masks show the same classes, and neighbours come from one film.
    """
    if not by_class:
        return np.unique(np.linspace(0, len(samples) - 1, min(ROWS, len(samples))).astype(np.int64))
    keys = [samples[label].fillna("").to_numpy() for label in labels]
    groups = samples.reset_index(drop=True).groupby(keys)["id"]
    order = np.lexsort((-groups.transform("size").to_numpy(), groups.cumcount().to_numpy()))
    return order[:ROWS].astype(np.int64)
