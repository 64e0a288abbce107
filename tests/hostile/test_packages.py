"""What cannot be packed is refused, and nothing is written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile.conftest import Row, run_told
from packed import judge, make_place
from saved_models import save, tree_card

from meltpoint.cli import run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # of MLflow
SECTION = "Packages"
BOX = Path("box")
OF_IT = ("--model", "models/it")


def other_model() -> None:
    shutil.rmtree("models/it")
    save(tree_card(key="other"), Path("models/it"))


def change_export() -> None:
    with Path("exports/onnx/model.onnx").open("ab") as file:
        file.write(b" ")


CASES: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "a folder that is there already": (BOX.mkdir, OF_IT),
    "an export that was refused": (lambda: judge(Path(), offered=False), (*OF_IT, "--backend", "onnx")),
    "a refused export, named by its folder": (lambda: judge(Path(), offered=False), ("--model", "exports/onnx")),
    "an export that nobody has judged": (Path("reports/exports.json").unlink, (*OF_IT, "--backend", "onnx")),
    "an export of another model": (other_model, (*OF_IT, "--backend", "onnx")),
    "an export with a changed byte": (change_export, (*OF_IT, "--backend", "onnx")),
    "no such export": (lambda: None, (*OF_IT, "--backend", "onnx_int8")),
    "no champion, and no model that is named": (lambda: None, ()),
    "no locks": (lambda: [lock.unlink() for lock in Path().glob("*.lock")], (*OF_IT, "--backend", "onnx")),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    return make_place(save(tree_card(), folder / "saved"), folder / "place")


def test_a_row_of_the_page(row: Row, place: Path, house: Any, check_refused: Any) -> None:
    """In a repository whose store has no champion."""
    shutil.rmtree("models")
    shutil.copytree(place, house.folder, dirs_exist_ok=True)
    before, words = CASES[row.name]
    before()
    code, said = run_told(lambda: run(["package", str(BOX), *words]))
    check_refused(row, code, said)
    assert not BOX.exists() or not list(BOX.iterdir())


def test_every_row_has_its_case(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(CASES)
