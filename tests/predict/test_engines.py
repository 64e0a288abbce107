"""Work in parts: what every engine gives, whatever it works on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from meltpoint.predict.work import EngineError, Where, load_engine


@dataclass(frozen=True)
class Counting:
    """Two units in each piece, of two rows; a model that says the names of its files."""

    folder: Path

    def read(self, piece: str) -> Iterator[pa.Table]:
        for unit in range(2):
            yield pa.table({"number": [int(piece) + 2 * unit + row for row in range(2)]})

    def open(self, folder: Path | None) -> Callable[[pa.Table], pa.Table]:
        assert folder is not None
        names = [path.name for path in folder.iterdir()]
        return lambda unit: unit.append_column("files", [names * len(unit)])


def test_parts_come_whole_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"")
    told: list[int] = []
    done = list(load_engine("local").run(Counting(tmp_path), {0: ["0"], 2: ["200", "210"]}, Where(), told.append))
    assert [(part, table["number"].to_pylist()) for part, table in done] == [
        (0, [0, 1, 2, 3]),
        (2, [200, 201, 202, 203, 210, 211, 212, 213]),
    ]
    assert set(done[0][1]["files"].to_pylist()) == {"weights"}
    assert sum(told) == 12


def test_local_goes_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="choose the engine ray"):
        next(load_engine("local").run(Counting(tmp_path), {0: ["0"]}, Where(address="auto"), print))
