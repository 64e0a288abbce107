"""Stored views in batches, in the order of rows asked for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from meltpoint.images.decode import Pixels
from meltpoint.progress import track

if TYPE_CHECKING:  # the store of views brings in what augments them, which a served model does without
    from meltpoint.images.views import Views


def read_views(views: "Views", rows: NDArray[np.int64], batch: int) -> Iterator[Pixels]:
    """Plain views (n, S, S, 3) in the order of `rows`; mapped anew each time, or pages seen would count as memory."""
    file = cast("np.memmap[Any, Any]", views.plain).filename
    assert file is not None
    with track(range(0), "predict", total=len(rows)) as bar:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield np.load(file, mmap_mode="r")[some]
            bar.update(len(some))
