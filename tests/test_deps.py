"""What DVC runs again, of the stages as dvc.yaml has them: all but `fingerprint` are stubs that write their outputs."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from stubbed import call, make_repository, write_params

pytestmark = pytest.mark.slow
WEIGHTS = {"weights": {"kind": "file", "path": "w.pth", "match": "name", "licence": "mine"}}
READING = {"embed@lite0", "train@frozen", "train@finetune"}  # weights


@pytest.fixture(scope="module")
def house(warm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubbed")
    make_repository(folder, 200)
    write_params(folder, WEIGHTS)
    (folder / "w.pth").write_bytes(b"one")
    repro(folder)
    return folder


def repro(folder: Path) -> set[str]:
    ran = re.findall(r"Running stage '(.+?)'", call(folder, "dvc", "repro"))
    return set(ran) - {"fingerprint"}


def test_a_replaced_file_of_weights_is_read_anew_and_the_source_is_not(house: Path) -> None:
    assert repro(house) == set()
    (house / "w.pth").write_bytes(b"two")
    planned = call(house, "meltpoint", "plan")
    assert "weights or taps of lite0" in planned
    assert "download" not in planned
    assert repro(house) == READING


def test_another_picture_does_not_read_the_weights_anew(house: Path) -> None:
    (house / "datasets" / "photos" / "class0" / "new.jpg").touch()
    ran = repro(house)
    assert "download" in ran
    assert not ran & READING


def test_a_file_of_data_raw_that_was_changed_by_hand_is_put_right(house: Path) -> None:
    shard = house / "data" / "raw" / "00000.zip"
    shard.unlink()
    assert repro(house) in ({"download"}, set())
    assert shard.exists()
