from typing import Any

import pytest
import torch

from meltpoint.params.training import Train
from meltpoint.train import device as module
from meltpoint.train.device import DeviceError, check_processes, choose_precision, device_type

TRAIN = Train(processes=1, workers=0, threads=0, precision="auto", checkpoint_steps=5)


@pytest.mark.parametrize(
    ("amx", "device", "chosen"), [(True, "cpu", "bf16"), (False, "cpu", "no"), (True, "mps", "no")]
)
def test_auto_is_bf16_only_where_hardware_has_it(
    amx: bool, device: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    assert choose_precision("auto", device) == chosen


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_is_asked(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation)
    assert choose_precision("auto", "cuda") == ("bf16" if able else "no")


def test_a_precision_asked_for_is_given() -> None:
    assert choose_precision("fp32", "cuda") == "no"
    assert choose_precision("bf16", "cpu") == "bf16"


def test_the_cpu_can_be_asked_for() -> None:
    assert device_type() == "cpu"


def test_batches_must_divide(scene: Any) -> None:
    two = TRAIN.model_copy(update={"processes": 2})
    check_processes(two, 32, 100)
    with pytest.raises(DeviceError, match="Batches of 31 images cannot be shared out evenly to train.processes 2"):
        check_processes(two, 32, 31)


def test_a_process_takes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "device_type", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        DeviceError, match=r"train.processes is 2, and this machine has 1 device.*ACCELERATE_USE_CPU=true"
    ):
        check_processes(TRAIN.model_copy(update={"processes": 2}), 32, 100)
