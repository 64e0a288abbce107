"""The process that holds a model."""

import subprocess
import sys
from pathlib import Path

from meltpoint.serving.backend import SCRIPT


def test_what_it_prints_steers_no_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(SCRIPT), str(tmp_path / "x\u202e"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert r"\u202e" in done.stderr
    assert "\u202e" not in done.stderr
