"""Which of today's test images a model has learnt from before: it is not examined on these."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.model.lessons import hash_group


def seen_by(trained_on: pd.DataFrame, today: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a model has seen each of today's test images, or one of its group, bool (T,), in the order of `today`.

    Args:
        trained_on: what `model.lessons.read_trained_on` gives of its folder: `sha256` and `group` of train and val.
        today: the whole table of samples of today, with `sha256`, `split` and `group`; T of its rows are in test.

    An image is seen if its bytes were in the model's train or val, if such an image is in its group today, wherever
    that one is now, or if its declared group was in train or val, though all images that it had then are gone.
    """
    known, learnt = set(trained_on["sha256"]), set(trained_on["group"].dropna())
    own = np.array([sha256 in known for sha256 in today["sha256"].to_numpy(dtype=object)], dtype=np.bool_)
    codes, names = pd.factorize(today["group"].to_numpy(dtype=object))  # -1 without a group
    beside = np.zeros(len(names) + 1, dtype=np.bool_)  # the last is of those without one
    beside[codes[own]] = True
    if learnt:
        beside[:-1] |= [hash_group(name) in learnt for name in names]
    beside[-1] = False
    answer: NDArray[np.bool_] = (own | beside[codes])[(today["split"] == "test").to_numpy(dtype=bool)]
    return answer
