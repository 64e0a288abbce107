from typing import Any

import pytest

from meltpoint.train.launch import LaunchError
from meltpoint.train.torchrun import group


def test_restarts_on_several_machines_need_a_new_store(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost processes would still stand in the one that torchrun keeps."""
    told = {"RUN_ID": "train", "MAX_RESTARTS": "1", "USE_AGENT_STORE": "True"}
    for name, value in {f"TORCHELASTIC_{name}": value for name, value in told.items()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with (
        pytest.raises(LaunchError, match="Set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun"),
        group(scene.recipe()),
    ):
        pass
