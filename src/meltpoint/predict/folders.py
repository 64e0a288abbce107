"""The pictures in a folder and below it, in an order that is always the same."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from meltpoint.images.formats import DICOM_SUFFIXES, has_dicom, readable

NO_SUFFIX, HIDDEN, UNREADABLE = "no suffix", "hidden", "unreadable folder"


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes of file names, as ".jpg", that stand for formats which can be read."""
    kinds = readable()
    pillow = {suffix for suffix, kind in Image.registered_extensions().items() if kind in kinds}
    return frozenset(pillow | (set(DICOM_SUFFIXES) if has_dicom() else set()))


def walk(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    """Files below `folder` whose suffix is a picture's, by name, a folder's own before those of its folders.

    Other files are counted in `ignored`, by suffix; those whose name starts with a dot as "hidden", and folders that
    cannot be read. Links to folders are not followed, nor hidden folders entered.
    """
    for place, folders, files in os.walk(folder, onerror=lambda _: ignored.update([UNREADABLE])):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million files is slow
            if name.startswith("."):
                ignored[HIDDEN] += 1
            elif suffix in picture_suffixes():
                yield Path(place, name)
            else:
                ignored[suffix or NO_SUFFIX] += 1


def say_ignored(ignored: Counter[str]) -> str:
    """What was skipped, in a few words: "3 other files (2 .txt, 1 hidden)"; empty if nothing was."""
    if not ignored:
        return ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in ignored.most_common(5))
    more = f" and {len(ignored) - 5} more kinds" if len(ignored) > 5 else ""
    count = ignored.total()
    return f"{count:,} other {'file' if count == 1 else 'files'} ({kinds}{more})"
