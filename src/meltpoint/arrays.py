"""The types of arrays that functions take and give, one name for each."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Pixels = NDArray[np.uint8]  # (H, W, 3) red, green, blue, or a stack of such images
Pictures = Pixels | Iterable[Pixels]  # a stack of images, or one after the other, each of its own size
Mask = NDArray[np.uint8]  # (H, W) class ids, or a stack of such masks
Probabilities = dict[str, NDArray[np.float32]]  # by head, (N, K), of dense ones (N, K, S, S)
Forward = Callable[[Pixels], Probabilities]  # of images (N, S, S, 3)
AnySize = Callable[[Pictures], Probabilities]
