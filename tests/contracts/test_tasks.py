"""Every folder in tasks/ keeps what tasks/contract.py says, whoever wrote it."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import meltpoint.tasks
from meltpoint.compare import results
from meltpoint.params.model import Task
from meltpoint.predict import records
from meltpoint.tasks import contract

KINDS = sorted(path.parent.name for path in Path(meltpoint.tasks.__file__).parent.glob("*/__init__.py"))
LOADERS = {
    name.removeprefix("load_"): loader for name, loader in vars(contract).items() if name.startswith("load_")
}  # fmt: skip
TORCHLESS = ("metrics", "paired", "display")
SERVED = ("objective", "answer", "display")  # what a served model loads


def members_of(part: str) -> dict[str, Any]:
    """What a part has to offer: functions with their parameters, and values."""
    _, protocol = typing.get_args(inspect.get_annotations(contract)[f"load_{part}"])
    if isinstance(protocol, str):  # those that lower rooms ask for
        protocol = next(getattr(room, protocol) for room in (records, results) if hasattr(room, protocol))
    functions = {name: value for name, value in vars(protocol).items() if inspect.isfunction(value) and name[0] != "_"}
    return functions | dict.fromkeys(inspect.get_annotations(protocol))


def imported_by(modules: list[str], libraries: tuple[str, ...]) -> list[str]:
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {libraries!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_the_kinds_in_params_are_the_folders() -> None:
    assert sorted(typing.get_args(Task.model_fields["kind"].annotation)) == KINDS


@pytest.mark.parametrize("part", LOADERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_offers_what_the_contract_says(kind: str, part: str) -> None:
    module = LOADERS[part](kind)
    assert module.__name__ == f"meltpoint.tasks.{kind}.{part}"
    assert members_of(part)
    for name, function in members_of(part).items():
        own = getattr(module, name)
        if function is not None:
            _, *wanted = inspect.signature(function).parameters
            assert list(inspect.signature(own).parameters) == wanted, f"{name} of {part}.py"


def test_a_comparison_imports_no_torch() -> None:
    modules = [f"meltpoint.tasks.{kind}.{part}" for kind in KINDS for part in TORCHLESS]
    assert not imported_by([*modules, "meltpoint.compare.decision_files"], ("torch", "timm"))


def test_a_served_model_imports_nothing_that_draws_reports() -> None:
    modules = [f"meltpoint.tasks.{kind}.{part}" for kind in KINDS for part in SERVED]
    assert not imported_by(modules, ("albumentations", "matplotlib", "sklearn"))
