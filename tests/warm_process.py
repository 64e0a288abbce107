"""Stages that run in forked children of a warm process (`hostile/nursery.py`): a kill of one costs no imports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class WarmProcess:
    """A nursery in a folder; its children write into `log` there."""

    folder: Path
    process: "subprocess.Popen[str]"

    def start(
        self,
        words: tuple[str, ...],
        limit: int | None = None,
        powerless: bool = False,
        kill: tuple[str, int] | None = None,
    ) -> int:
        """The id of the child that runs the stage `words`; `hostile/nursery.py` says what the others do."""
        asked = {"words": words, "log": str(self.log), "limit": limit, "powerless": powerless, "kill": kill}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._number()

    def end(self) -> int:
        """The exit code of what was started."""
        return self._number()

    def said(self) -> str:
        """All that the last one printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


def environment(**more: str) -> dict[str, str]:
    """That of a stage, which leads to no store but that of its folder, or that of `more`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC"))}
    return {
        **kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"),
        "MELTPOINT_TRACKING": "off", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_ALBUMENTATIONS_UPDATE": "1",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **more,
    }  # fmt: skip


@contextmanager
def warm_process(folder: Path, stages: Path = ROOT / "stages", **more: str) -> Iterator[WarmProcess]:
    """A process that has imported what the scripts in `stages` need; `more` is added to its environment."""
    command = [sys.executable, str(ROOT / "tests" / "hostile" / "nursery.py"), str(stages)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(**more), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield WarmProcess(folder, process)
        assert process.stdin is not None
        process.stdin.close()
