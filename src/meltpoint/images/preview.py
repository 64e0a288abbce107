"""Shows what augmentation does: training images as they are, and as training sees them."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.images.augment import Transform
from meltpoint.images.sheet import draw_sheet
from meltpoint.images.views import Views, view_seed

ROWS, COLUMNS, LABELS = 6, 8, 3  # at most: training images, views of each, classes named


def draw_augmented(views: Views, transform: Transform, seed: int, path: Path) -> None:
    """Draw some training images of different classes: each as it is, then as training sees it."""
    labels, shown = list(views.classes), min(views.count, COLUMNS) or COLUMNS
    training = views.rows("train")
    images, captions = [], []
    for place in _varied(views.samples.iloc[training], labels):
        sample, plain = views.samples.iloc[training[place]], np.asarray(views.plain[training[place]])
        named = [str(sample[label]) for label in labels if pd.notna(sample[label])]
        images.append(plain)
        captions.append("\n".join(["as it is", *named[:LABELS]]))
        for number in range(shown):
            stored = None if views.augmented is None else np.asarray(views.augmented[place, number])
            images.append(transform(plain, view_seed(seed, int(sample["id"]), number)) if stored is None else stored)
            captions.append(f"view {number + 1}")
    kept = f"{views.count} stored views of each training image" if views.count else "new views in each epoch"
    draw_sheet(images, captions, 1 + shown, "Augmentation", path, f"What training sees: {kept}")


def _varied(samples: pd.DataFrame, labels: list[str]) -> NDArray[np.int64]:
    """Positions of a few rows: one of each combination of classes, the frequent ones first, then second ones."""
    keys = [samples[label].fillna("").to_numpy() for label in labels]
    groups = samples.reset_index(drop=True).groupby(keys)["id"]
    order = np.lexsort((-groups.transform("size").to_numpy(), groups.cumcount().to_numpy()))
    return order[:ROWS].astype(np.int64)
