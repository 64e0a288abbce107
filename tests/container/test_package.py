"""A packed export answers from its own folder, with no package but those that its requirements pin."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from packed import make_place
from servers import wait_for

from meltpoint.container.build import ROOMS, SERVER, write_context
from meltpoint.container.lock import LockError, take
from meltpoint.tasks.answerer import open_answerer

if TYPE_CHECKING:
    from saved_models import Kit

GUARD = """
import sys
class Guard:
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [Guard()]
"""  # in place of a folder with the pinned packages alone


@pytest.fixture(scope="module")
def place(tree_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tree_folder, tmp_path_factory.mktemp("place"))


@pytest.mark.slow
def test_a_packed_export_answers_with_what_its_requirements_pin(place: Path, tmp_path: Path, kit: "Kit") -> None:
    context = tmp_path / "box"
    write_context(place / "exports" / "onnx", context, place, "The export onnx")
    text = (context / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.M))
    assert {"onnxruntime", "numpy", "h11"} <= pinned
    assert not pinned & {"torch", "mlflow", "scikit-learn", "pyarrow", "onnx"}
    assert all("--hash=sha256:" in block for block in re.split(r"(?m)^(?=[a-z0-9-]+==)", text)[1:])
    known = packages_distributions()
    refused = {name for name, owners in known.items() if not {owner.lower() for owner in owners} & pinned}
    refused = {name for name in refused if not any(normal(owner) in pinned for owner in known[name])}
    assert {"torch", "mlflow", "sklearn", "pyarrow"} <= refused
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD.format(refused=refused))
    lines = (context / "Dockerfile").read_text().splitlines()
    command = json.loads(next(line for line in lines if line.startswith("CMD ")).removeprefix("CMD "))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = [sys.executable, *command[1:-1], "127.0.0.1", str(port)]
    environment = {"PYTHONPATH": f"{context}:{tmp_path / 'guard'}", "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(program, cwd=context, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"http://127.0.0.1:{port}/ready", server, tmp_path / "log")
            picture = kit.png(kit.noise(0, 60, 80))
            body = {"instances": [base64.b64encode(picture).decode()]}
            (said,) = requests.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=60).json()["predictions"]
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
    expected: Any = open_answerer(place / "models" / "it").predict(picture)
    assert said["error"] is None
    assert said["pose"] == expected.heads["pose"].label
    assert said["pose.probability"] == pytest.approx(expected.heads["pose"].probability, abs=1e-4)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_packed_model_takes_torch_for_cpus(place: Path, tmp_path: Path) -> None:
    write_context(place / "models" / "it", tmp_path / "box", place, "models/it")
    text = (tmp_path / "box" / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.M))
    assert {"timm", "safetensors"} <= pinned
    assert not re.findall(r"^[a-z0-9-]+\[.*", text, flags=re.M), "pip wants what an extra needs, which is not pinned"
    assert not [name for name in pinned if name.startswith(("torch", "nvidia", "triton", "mlflow", "scikit"))]
    assert "$TORCH_INDEX torch==2." in (tmp_path / "box" / "Dockerfile").read_text()
    sources = {path.name.removesuffix(".py") for path in (tmp_path / "box" / "meltpoint").iterdir()}
    assert sources == set(ROOMS)


def test_locks_are_needed(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="Run the command in the repository"):
        take(SERVER, (), tmp_path)
