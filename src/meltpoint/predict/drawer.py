"""Puts drawings and masks of answers into folders that mirror where their pictures are."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.predict.fonts import Fonts
from meltpoint.predict.inputs import is_address
from meltpoint.predict.records import Answer, DisplayPart

SIDE = 1280  # pixels: of the picture, at most
LONGEST = 200  # bytes of a file name
WEB = "_web"  # the folder for pictures of addresses


class PlaceError(UserError, RuntimeError):
    """A place that cannot be written."""


@dataclass(frozen=True, eq=False)
class Drawer:
    """Where things go: drawings below `into`, masks below `masks`, None: nowhere. `fonts` are of `fonts.SIZES`."""

    display: DisplayPart
    featured: str
    fonts: tuple[Fonts, ...]
    root: Path
    into: Path | None
    masks: Path | None

    def keep(self, seen: tuple[Answer, Pixels | None]) -> Answer:
        """Write what is wanted of a picture, and give its answer back.

        Raises:
            PlaceError: a file cannot be written.
        """
        answer, shown = seen
        if answer.source is None or answer.error is not None:
            return answer
        try:
            if self.into is not None and shown is not None:
                write_drawing(self.draw(shown, answer), place_of(answer.source, self.root, self.into))
            if self.masks is not None:
                masks = self.display.masks(answer)
                for head, content in masks.items():  # of several, each has a folder
                    folder = self.masks / head if len(masks) > 1 else self.masks
                    with whole_file(place_of(answer.source, self.root, folder, ".png")) as temporary:
                        temporary.write_bytes(content)
        except OSError as error:
            raise PlaceError(
                f"The results for {answer.source} cannot be written: {error}. Choose other folders for --draw and "
                "--masks."
            ) from error
        return answer

    def draw(self, shown: Pixels, answer: Answer, steady: bool = False) -> Image.Image:
        """The picture uint8 (H, W, 3) with its answer; `steady` as frames of a video need it (see `DisplayPart`)."""
        return self.display.draw(shown, answer, self.featured, self.fonts, steady)


def write_drawing(drawing: Image.Image, path: Path) -> None:
    """Write it as JPEG with full colour resolution, which letters need."""
    with whole_file(path) as temporary:
        drawing.save(temporary, "JPEG", quality=92, subsampling=0)


def common_root(given: Sequence[str]) -> Path:
    """The folder that all folders and files given are below of; addresses are elsewhere."""
    paths = [Path(os.path.abspath(path)) for path in given if not is_address(path)]  # noqa: PTH100 - keeps links
    return Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths])) if paths else Path.cwd()


def place_of(source: str, root: Path, into: Path, suffix: str = ".jpg") -> Path:
    """Where the drawing of a source goes: `into` mirrors what is below `root`; each name gets `suffix` added.

    So drawings of two sources never meet: a.png and a.jpg become a.png.jpg and a.jpg.jpg.
    """
    if is_address(source):
        digest, parts = hashlib.sha256(source.encode()).hexdigest()[:12], urlsplit(source)
        return into / WEB / (parts.hostname or "nowhere") / f"{digest}-{_short(Path(parts.path).name)}{suffix}"
    relative = Path(os.path.abspath(source)).relative_to(root)  # noqa: PTH100
    return into / relative.with_name(f"{_short(relative.name)}{suffix}")


def _short(name: str) -> str:
    """A name that is not too long for a file once a suffix is added; one cut short stays different from others."""
    if len(os.fsencode(name)) <= LONGEST:
        return name
    return f"{name[: LONGEST // 4]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
