"""Pictures are opened without trust in what stands before their pixels: parts without number, values that overlap.

Pillow reads all of that before it knows a size. What is refused here would take minutes, or gigabytes, from a file of
a few megabytes.
"""

import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Literal, cast

import numpy as np
from PIL import Image

from meltpoint.images.formats import PARTS, RefusedError, readable

PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IDAT", b"fdAT", b"fcTL")  # the parts of a PNG that hold its pixels, or announce those of a frame
PACKED = (b"iCCP", b"zTXt", b"iTXt")  # of these each unpacks to a megabyte
CHUNK = 1_000_000  # bytes
FEW = 100  # packed parts of a PNG, and parts of EXIF in a JPEG, each of which moves those before it
PART = 500  # bytes that a part of a PNG has on average, or more
AGAIN, HEADER = 4, 1_000_000  # how often the bytes of a file may be read, and so many more
EXIF, APP1 = b"Exif\0\0", b"\xe1"  # what begins EXIF, and the marker of its parts in a JPEG
RAW_EXIF = "Raw profile type exif"  # how ImageMagick puts it into a PNG
TAG = [("name", "u2"), ("kind", "u2"), ("count", "u4"), ("place", "u4")]
VALUE = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8], np.int64)  # bytes, by kind (TIFF 6.0)


@contextmanager
def open_picture(file: IO[bytes], sums: bool = False) -> Iterator[Image.Image]:
    """A picture whose header has been read, and nothing more; `sums`: each part of a PNG was compared with its CRC.

    Raises:
        RefusedError: its header has more parts, or more in them, than any program writes; or a sum is wrong.
        Exception: of nearly any built-in kind, where the file is damaged.
    """
    if file.read(len(PNG)) == PNG:
        _check_png(file, sums)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    watched = _Watched(file, AGAIN * size + HEADER)
    with Image.open(cast(IO[bytes], watched), formats=readable()) as image:
        watched.most = None
        yield image


class _Watched:
    """A file that is refused where it is read too often, or too much of it; `most` bytes, or None: as it likes."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.most: int | None = most
        self._file, self._count, self._read = file, 0, 0
        self._marker, self._exif = b"", list[bytes]()

    def read(self, size: int = -1) -> bytes:
        """As a file does."""
        content = self._file.read(size)
        if self.most is not None:
            self._count, self._read = self._count + 1, self._read + len(content)
            if self._count > PARTS or self._read > self.most:
                read = f"{PARTS:,} parts" if self._count > PARTS else f"{AGAIN} times its bytes"
                raise RefusedError("too many parts", f"more than {read} were read, and its pixels not reached")
            self._look(content)
        return content

    def _look(self, content: bytes) -> None:
        """Pillow joins what a JPEG has of EXIF, and may read it, before it has opened the picture."""
        if self._marker == APP1 and content.startswith(EXIF):
            self._exif.append(content.removeprefix(EXIF))
            if len(self._exif) > FEW:
                raise RefusedError("too many parts", f"more than {FEW} of EXIF; a camera writes one")
            check_exif({"exif": b"".join(self._exif)})
        self._marker = content if len(content) == 1 else self._marker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def check_exif(known: Mapping[str | tuple[int, int], Any]) -> None:
    """Refuse a picture, by what is `known` of it (Pillow's `info`), if its EXIF is more than its bytes.

    Each value of EXIF may lie anywhere in it, so that a thousand may be the same megabytes.

    Raises:
        RefusedError: its values, one by one, have more than AGAIN times its bytes.
    """
    content = known.get("exif")
    if content is None and isinstance(raw := known.get(RAW_EXIF), str):
        content = bytes.fromhex("".join(raw.split("\n")[3:]))
    if not isinstance(content, bytes):
        return
    content = content.removeprefix(EXIF)
    order: Literal["<", ">"] = "<" if content.startswith(b"II") else ">"
    if len(content) < 10:
        return
    start = int(np.frombuffer(content, f"{order}u4", 1, 4)[0])
    if start + 2 > len(content):
        return
    count = int(np.frombuffer(content, f"{order}u2", 1, start)[0])
    count = min(count, (len(content) - start - 2) // 12)
    tags = np.frombuffer(content, np.dtype(TAG).newbyteorder(order), count, start + 2)
    sizes = VALUE[np.where(tags["kind"] < len(VALUE), tags["kind"], 0)] * tags["count"]
    inside = np.minimum(sizes, np.maximum(len(content) - tags["place"].astype(np.int64), 0))
    if int(inside.sum()) > AGAIN * len(content) + HEADER:
        raise RefusedError("too many parts", f"the {count:,} values of its EXIF are more than {AGAIN} times its bytes")


def _check_png(file: IO[bytes], sums: bool) -> None:
    """Refuse a PNG of more parts than any program writes; `file` is behind its signature.

    With `sums` its parts are compared with their CRC (ISO/IEC 15948, 5.3): Pillow leaves those of the pixels unread.
    """
    parts = other = packed = passed = 0
    name = b""
    while name != b"IEND" and len(start := file.read(8)) == 8:
        length, name = int.from_bytes(start[:4]), start[4:]
        parts, passed = parts + 1, passed + length
        other += name not in PIXELS
        packed += name in PACKED
        if other > PARTS or packed > FEW or parts > PARTS + passed // PART:
            raise RefusedError("too many parts", f"{parts:,} and more, of which {other:,} hold no pixels")
        if not sums:
            file.seek(length + 4, io.SEEK_CUR)
        elif _crc(file, name, length) != int.from_bytes(_whole(file, name, 4)):
            raise RefusedError("damaged", f"the checksum of its part {name!r} is wrong")
    if sums and name != b"IEND":
        raise RefusedError("truncated", "its end is missing")


def _crc(file: IO[bytes], name: bytes, length: int) -> int:
    """That of a part, of which `length` bytes follow in `file`."""
    found = zlib.crc32(name)
    for left in range(length, 0, -CHUNK):
        found = zlib.crc32(_whole(file, name, min(left, CHUNK)), found)
    return found


def _whole(file: IO[bytes], name: bytes, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise RefusedError("truncated", f"it ends in its part {name!r}")
    return content
