"""What a process does with memory that is free again.

It imports nothing of this package, as the script that serves a model runs it by itself.
"""

import ctypes
import sys

TRIM, MAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of glibc's <malloc.h>
KEPT, LARGE = 64 * 2**20, 32 * 2**20  # bytes


def keep_freed_memory() -> None:
    """Keep what images and tensors leave for those that come next, for the rest of this process.

    By itself glibc hands it back to Linux, and gets it again page by page, each cleared before: a sixth of the time
    that decoding and a small network take. Kept are up to 64 MiB in each of glibc's arenas (mallopt(3)); an array of
    more than 32 MiB goes back as ever. With another C library nothing changes.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(TRIM, KEPT)
        mallopt(MAP, LARGE)
