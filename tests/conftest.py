import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from warm_process import warm_python  # noqa: F401 - a fixture

settings.register_profile("untimed", deadline=None)  # no timing in a test: a busy machine is no fault
settings.load_profile("untimed")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: each worker of pytest has a core already


@dataclass(frozen=True)
class Family:
    """A small net of a family of backbones: its timm name and arguments, a size of images, what heads can tap."""

    name: str
    size: int
    args: dict[str, Any]
    tokens: tuple[str, ...] = ()  # that a TokenTap can pool
    convolution: bool = True  # one reads the last stage: heads of kind conv work
    near: tuple[int, int] | None = None  # the sizes that it takes around `size` + 3; None: it takes that, too


SMALL = {"depth": 2, "embed_dim": 48}
PLAIN, REGISTERS = ("class", "patches"), ("class", "patches", "registers")
FAMILIES = {
    "convnext": Family("test_convnext", 32, {}),
    "convnextv2": Family("test_convnext2", 32, {}),
    "coatnet": Family("test_coatnet", 32, {}, near=(32, 64)),
    "ghostnet": Family("ghostnet_050", 32, {}),  # timm has no ShuffleNetV2; this one is as light
    "mobilenetv3": Family("mobilenetv3_small_050", 32, {}),
    "efficientnet": Family("test_efficientnet", 32, {}),
    "resnet": Family("test_resnet", 32, {"zero_init_last": False}),
    "vit": Family("test_vit", 32, {}, PLAIN, convolution=False, near=(32, 48)),
    "deit": Family("deit_tiny_patch16_224", 32, SMALL, PLAIN, convolution=False, near=(32, 48)),
    "deit_distilled": Family("deit_tiny_distilled_patch16_224", 32, SMALL, PLAIN, convolution=False, near=(32, 48)),
    "dinov2": Family("vit_small_patch14_dinov2", 28, SMALL, PLAIN, convolution=False, near=(28, 42)),
    "dinov2_registers": Family("vit_small_patch14_reg4_dinov2", 28, SMALL, REGISTERS, convolution=False, near=(28, 42)),
    "dinov3": Family(
        "vit_small_patch16_dinov3",
        32,
        {**SMALL, "num_heads": 3, "init_values": 0.1},
        REGISTERS,
        convolution=False,
        near=(32, 48),
    ),
    "swin": Family("swin_tiny_patch4_window7_224", 64, {"embed_dim": 24}, convolution=False, near=(64, 68)),
    "eva": Family("eva02_tiny_patch14_224", 28, {**SMALL, "num_heads": 3}, PLAIN, convolution=False, near=(28, 42)),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `family` runs on each."""
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", FAMILIES.values(), ids=list(FAMILIES), scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that all workers of pytest end at about the same time.

    MLflow 3.17 itself uses what libraries call deprecated; our own warnings stay errors.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    rooms = {
        Path(__file__).parent / room for room in ("assistant", "tasks", "tracking", "registry", "recovery", "serving")
    }
    for item in items:
        if rooms & set(item.path.parents):
            item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"))
