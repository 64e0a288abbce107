"""The rows of docs/hostile-input.md are the cases: what comes in, what becomes of it, what is said.

A test that asks for a `row` runs on each row of the section that its file names as SECTION.
"""

import contextlib
import io
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from finished_pipeline import finished, house  # noqa: F401 - fixtures
from PIL import Image

from meltpoint.errors import guarded
from meltpoint.files import read_json
from meltpoint.params.data import Images

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hostile-input.md"
HEAD: dict[str, Any] = {
    "kind": "linear", "label": "y", "tap": "final", "weight": 1.0, "class_weights": "none", "target": "nominal",
    "where": None, "threshold": None, "unknown": None, "main": True,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the page; `fate` is one of the words that its introduction explains."""

    section: str
    name: str
    fate: str
    message: str

    @property
    def quotes(self) -> list[str]:
        """What is printed, word by word."""
        return re.findall("“(.+?)”", self.message)


def read_rows() -> list[Row]:
    rows, section = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif section != "Outcomes" and line.startswith("| ") and not line.startswith("| what comes"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.append(Row(section, *cells))
    return rows


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        rows = [row for row in read_rows() if row.section == metafunc.module.SECTION]
        metafunc.parametrize("row", rows, ids=[row.name.replace(" ", "-") for row in rows])


@pytest.fixture(scope="session")
def every_row() -> list[Row]:
    return read_rows()


def run_told(main: Callable[[], object]) -> tuple[int, str]:
    """What a user sees of a command: its exit code and all that it prints. A bug fails the test."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            guarded(lambda: (main(), None)[1])
        except SystemExit as stop:
            assert "Traceback" not in printed.getvalue(), printed.getvalue()
            return int(stop.code or 0), printed.getvalue()
    return 0, printed.getvalue()


class Workplace:
    """A folder with params.yaml and six pictures in two class folders, in which stages run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.photos = folder, folder / "photos"
        for number in range(6):
            self.add_picture(f"{'cat' if number % 2 else 'dog'}/{number}.png", number)
        self.params = small_params()

    def add_picture(self, name: str, seed: int) -> Path:
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(path, "PNG")
        return path

    def add(self, name: str | bytes, content: bytes) -> None:
        """A file in the class folder `cat`."""
        place = bytes(self.photos / "cat") + b"/" + (name if isinstance(name, bytes) else name.encode())
        with open(place, "wb") as file:  # noqa: PTH123 - a Path cannot hold bytes
            file.write(content)

    def stage(self, name: str, *words: str, written: bool = False) -> tuple[int, str]:
        """Run a stage on the current params, or on a params.yaml already `written`; exit code and all it prints."""
        if not written:
            text = yaml.safe_dump(self.params, sort_keys=False)
            (self.folder / "params.yaml").write_text(text, encoding="utf-8")
        script = ROOT / "stages" / f"{name}.py"
        before, sys.argv = sys.argv, [str(script), *words]
        try:
            return run_told(lambda: runpy.run_path(str(script)))
        finally:
            sys.argv = before

    def use_table(self, content: bytes, **source: Any) -> None:
        """A table beside the pictures instead of class folders; its column `y` is the label."""
        (self.folder / "table.csv").write_bytes(content)
        facts = {"table": "table.csv", "images": "photos", "separator": None, "header": None, "path": "path"}
        self.params["data"]["source"] = {"kind": "csv", **facts, "split": None, **source}
        self.params["data"]["labels"] = {"y": {"kind": "names", "column": "y", "classes": None}}

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder / "reports" / "data.json")
        return found

    def samples(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "data" / "samples.csv", dtype="string", keep_default_na=False)

    def left(self) -> set[str]:
        """What lies in the folder besides what was put there, and the report of what was met."""
        given = {"photos", "params.yaml", "table.csv", "archive", "reports/data.json"}
        paths = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}
        return {path for path in paths if path not in given and not path.startswith("photos/")}


def small_params() -> dict[str, Any]:
    """The default preset for class folders in `photos`."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    params["data"] |= {
        "source": {"kind": "folder", "path": "photos"},
        "labels": {"y": {"kind": "names", "column": "class", "classes": None}},
        "max_megapixels": 1,
    }
    params["views"]["s128"]["side"] = 32
    params["encoders"]["lite0"] |= {"name": "test_efficientnet", "weights": {"kind": "random"}}
    params["heads"] = {"y": dict(HEAD)}
    params["register"] |= {"name": "shapes", "floors": {}}
    return params


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    folder = tmp_path / "a house"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Workplace(folder)


@pytest.fixture
def told() -> Callable[[Callable[[], object]], tuple[int, str]]:
    return run_told


@pytest.fixture
def check_refused() -> Callable[[Row, int, str], None]:
    """Exit code 1, a message that holds the row's quotes, and no traceback."""

    def _check(row: Row, code: int, said: str) -> None:
        assert code == 1, said
        assert "meltpoint: " in said
        assert "Traceback" not in said
        for quote in row.quotes:
            assert quote in said

    return _check


@pytest.fixture
def card() -> Iterator[Any]:
    """What reading a picture asks of a card."""
    return SimpleNamespace(max_megapixels=1.0, depths={}, images=Images(side=32, resize="squash", interpolation="area"))
