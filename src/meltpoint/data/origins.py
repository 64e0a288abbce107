"""Where the bytes of a picture lie: in a file of its own, or in a piece of a file that holds many.

A table says it in one word: the path, and for a piece NUL, its first byte, NUL, its length. No path holds a NUL.
"""

from dataclasses import dataclass
from pathlib import Path

NUL = "\0"


@dataclass(frozen=True)
class Origin:
    """A file, or `length` bytes of one from byte `start` on."""

    path: Path
    start: int = 0
    length: int | None = None

    @property
    def is_piece(self) -> bool:
        """Whether the file holds more than this."""
        return self.length is not None

    @property
    def size(self) -> int:
        """Bytes.

        Raises:
            OSError: there is no such file.
        """
        return self.path.stat().st_size if self.length is None else self.length

    def read(self) -> bytes:
        """The bytes.

        Raises:
            OSError: they cannot be read, or the file is shorter than it was.
        """
        if self.length is None:
            return self.path.read_bytes()
        with self.path.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.length)
        if len(content) < self.length:
            raise OSError(f"{self.path.name} has become shorter")
        return content


def piece(path: Path, start: int, length: int) -> str:
    """The word for a piece of a file."""
    return f"{path}{NUL}{start}{NUL}{length}"


def parse_origin(word: str) -> Origin:
    """What a word stands for."""
    path, *numbers = word.split(NUL)
    return Origin(Path(path), *map(int, numbers))
