"""Small pictures, and a decoder of five lines that stands in for the real one."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from meltpoint.bit_depth import Inspected
from meltpoint.errors import UserError

Draw = Callable[..., Path]


class UndecodableError(UserError, ValueError):
    reason = "not an image"


def decode_size(source: Path | bytes, max_megapixels: float) -> Inspected:
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            return Inspected(*image.size, turned=False, range=None)
    except (OSError, SyntaxError):
        raise UndecodableError("it is not an image") from None


@pytest.fixture
def inspect() -> Callable[[Path | bytes, float], Inspected]:
    return decode_size


@pytest.fixture
def draw() -> Draw:
    """draw(path, shade): a PNG of 6 by 4 pixels, in folders that are made for it."""

    def _draw(path: Path, shade: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), shade).save(path, format="PNG")
        return path

    return _draw


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that is the repository too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path
