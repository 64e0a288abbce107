"""A stage that is started by hand where an earlier one has not run, or for no row, says what to do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

STAGES = [
    "split", "augment s128", "augment", "augment nix", "embed lite0", "embed nix", "train frozen", "train nix",
    "train a b",
    "evaluate frozen", "evaluate", "speed", "compare", "register",
]  # fmt: skip


@pytest.mark.parametrize("words", STAGES)
def test_a_stage_that_comes_too_early_is_refused(words: str, workplace: Any) -> None:
    code, said = workplace.stage(*words.split())
    assert code == 1, said
    assert "meltpoint: " in said
    assert "dvc repro" in said or "Name one" in said or "training wrote" in said, "how to go on"
    assert workplace.left() == set()


def test_a_file_that_is_gone_meanwhile_is_told(workplace: Any) -> None:
    for stage in (["download"], ["split"]):
        assert workplace.stage(*stage)[0] == 0
    (workplace.folder / "data" / "depths.json").unlink()
    code, said = workplace.stage("augment", "s128")
    assert code == 1
    assert "There is no data/depths.json, which an earlier stage writes" in said


def test_a_python_that_lacks_the_package_is_told_what_to_do(tmp_path: Path) -> None:
    """As in `.venv/bin/dvc repro` without the environment: `python` is that of the system then."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    first = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["fingerprint"]["cmd"][0]
    done = subprocess.run(
        first, shell=True, env={"PATH": f"{tmp_path}:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("This python has no meltpoint. Activate its environment (. .venv/bin/activate)")
    assert len(done.stderr.splitlines()) == 1
