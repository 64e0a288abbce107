import pytest
import torch
from torch import Tensor

from meltpoint.model import inference
from meltpoint.model.inference import infer, inference_device

CPU = torch.device("cpu")


def double(images: Tensor) -> dict[str, Tensor]:
    return {"sum": images.float().sum((1, 2)), "twice": images[:, 0, 0].float() * 2}


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("pixels", [1, 200, 10**9])
def test_parts_are_put_together_in_order(count: int, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PIXELS", pixels)
    images = torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8)
    expected = double(images)
    for key, values in infer(double, images, CPU).items():
        assert torch.equal(values, expected[key])


def test_parts_of_large_images_are_single_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PIXELS", 1)
    seen: list[int] = []

    def note(images: Tensor) -> dict[str, Tensor]:
        seen.append(len(images))
        return double(images)

    infer(note, torch.zeros(3, 64, 64, 3, dtype=torch.uint8), CPU)
    assert seen == [1, 1, 1]


def test_an_accelerator_gets_the_batch_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PIXELS", 1)
    seen: list[int] = []

    def note(images: Tensor) -> dict[str, Tensor]:
        seen.append(len(images))
        return double(images)

    infer(note, torch.zeros(3, 64, 64, 3, dtype=torch.uint8), torch.device("meta"))
    assert seen == [3]


def test_torch_keeps_its_threads_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PIXELS", 1)
    torch.set_num_threads(2)
    images, inside = torch.zeros(5, 8, 8, 3, dtype=torch.uint8), set()

    def note(part: Tensor) -> dict[str, Tensor]:
        inside.add((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return double(part)

    infer(note, images, CPU)
    assert inside == {(1, True)}
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        infer(lambda part: {"a": part / (1 // 0)}, images, CPU)
    assert torch.get_num_threads() == 2


def test_results_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "PIXELS", 2 * 32 * 32)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 16, 3)
    images = torch.randint(0, 256, (7, 32, 32, 3), dtype=torch.uint8)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(infer(lambda part: {"a": layer(part.permute(0, 3, 1, 2).float())}, images, CPU)["a"])
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_there_is_always_a_device() -> None:
    assert torch.zeros(1, device=inference_device()).sum().item() == 0
