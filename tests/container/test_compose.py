"""compose.yaml opens no port to other machines, and its services have no rights that they do not need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_in(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"].startswith("${MELTPOINT_USER:?"), "there is no run as root by default"


def test_what_the_image_installs_is_in_the_lock() -> None:
    """The words of its RUN lines, on the lock as it is."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text())
    (pins,) = re.findall(r"\$\((sed -n .*? requirements\.lock)\)", text)
    (filtered,) = re.findall(r"RUN (awk .*?) > cpu\.lock", text)

    def said(words: str) -> list[str]:
        done = subprocess.run(words, shell=True, cwd=DOCKER.parent, capture_output=True, text=True, check=True)
        return re.findall(r"^([a-z0-9-]+)==", done.stdout, flags=re.M)

    assert said(pins) == ["torch", "torchvision"]
    kept = set(said(filtered))
    assert {"mlflow", "timm", "starlette", "uvicorn", "pandas", "albumentations"} <= kept
    assert not [name for name in kept if name.startswith(("torch", "nvidia-", "triton", "cuda-", "dvc"))]
