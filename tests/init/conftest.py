"""A folder like the repository, small pictures in it, and `init` as the command line runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from meltpoint.cli import run
from meltpoint.forecast.speeds import read_speeds
from meltpoint.init import make
from meltpoint.params.read import Params, read_params

ROOT = Path(__file__).parents[2]
Draw = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository with presets, which is the working directory."""
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def draw() -> Draw:
    """draw(path, size): noise, no two pictures alike."""
    rng = np.random.default_rng(5)

    def _draw(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return path

    return _draw


@pytest.fixture
def fill(draw: Draw) -> Callable[[Path, dict[str, int]], Path]:
    """fill(folder, counts): a folder for each class with so many pictures."""

    def _fill(folder: Path, counts: dict[str, int]) -> Path:
        for name, count in counts.items():
            for number in range(count):
                draw(folder / name / f"{number}.png")
        return folder

    return _fill


class Ran:
    """What `meltpoint init` printed and wrote."""

    def __init__(self, out: str, path: Path) -> None:
        self.out, self.path = out, path

    @property
    def params(self) -> Params:
        """As the pipeline reads it."""
        return read_params(self.path)

    @property
    def raw(self) -> dict[str, Any]:
        """As it is written."""
        raw: dict[str, Any] = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        return raw


@pytest.fixture
def init(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs the command; the machine is taken for a usual one, as timing it takes seconds. `test_make` times it."""
    monkeypatch.setattr(make, "measure_speeds", lambda *_: read_speeds())

    def _init(*words: str | Path) -> Ran:
        run(["init", *map(str, words)])
        return Ran(capsys.readouterr().out, place / "params.yaml")

    return _init
