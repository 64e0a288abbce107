"""Weight files that do not fit, or mean harm: refused by name, and nothing of them runs or is taken."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import onnx
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from meltpoint.model.weights import load_weights
from meltpoint.params.model import FileWeights

SECTION = "Weights"
EVIL = Path("evil")


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))


def tensors(**changes: Tensor) -> dict[str, Tensor]:
    return {name: torch.ones_like(value) for name, value in net().state_dict().items()} | changes


class Harm:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (EVIL,)


def torch_saved(content: object) -> bytes:
    torch.save(content, "saved.pth")
    return Path("saved.pth").read_bytes()


def scripted(modules: bytes, compression: int = ZIP_STORED) -> bytes:
    """A TorchScript archive with that list of modules."""
    with ZipFile("saved.pt", "w", compression) as archive:
        archive.writestr("net/data.pkl", modules)
        archive.writestr("net/constants.pkl", pickle.dumps(()))
    return Path("saved.pt").read_bytes()


def headed(header: dict[str, Any]) -> bytes:
    """A safetensors file of that header, and eight bytes of data."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def without_last() -> dict[str, Tensor]:
    return {name: value for name, value in tensors().items() if not name.startswith("2.")}


def onnx_saved(location: str | None = None) -> bytes:
    """A graph that holds the net's weights, or says that they are in the file `location`."""
    held = [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in tensors().items()]
    for one in held if location else []:
        one.ClearField("raw_data")
        one.data_location = onnx.TensorProto.EXTERNAL
        one.external_data.add(key="location", value=location)
    return onnx.helper.make_model(onnx.helper.make_graph([], "net", [], [], held)).SerializeToString()


NAN = torch.full((5,), float("nan"))
MAKERS: dict[str, Callable[[], tuple[str, bytes | None]]] = {
    "no such file": lambda: ("a.safetensors", None),
    "zero bytes, as safetensors": lambda: ("a.safetensors", b""),
    "zero bytes, as .pth": lambda: ("a.pth", b""),
    "wrong shapes": lambda: ("a.safetensors", save(tensors(**{"2.weight": torch.ones(6, 4, 1, 1)}))),
    "missing keys": lambda: ("a.safetensors", save(without_last())),
    "the weights of another network": lambda: ("a.safetensors", save({"fc.weight": torch.ones(2, 2)})),
    "NaN in the weights": lambda: ("a.safetensors", save(tensors(**{"2.bias": NAN}))),
    "words instead of numbers": lambda: ("a.pth", torch_saved(dict.fromkeys(tensors(), "heavy"))),
    "a pickle disguised as safetensors": lambda: ("a.safetensors", pickle.dumps({"0.weight": Harm()})),
    "a pickle that runs a program": lambda: ("a.pth", pickle.dumps(Harm())),
    "a checkpoint of torch that runs a program": lambda: ("a.pth", torch_saved({"state_dict": Harm()})),
    "a whole module, pickled": lambda: ("a.pth", torch_saved(net())),
    "a safetensors file that ends too early": lambda: ("a.safetensors", save(tensors())[:-40]),
    "a header of 2**60 bytes": lambda: ("a.safetensors", struct.pack("<Q", 2**60) + bytes(100)),
    "tensors that overlap": lambda: (
        "a.safetensors",
        headed({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("a", "b")}),
    ),
    "zero bytes, as ONNX": lambda: ("a.onnx", b""),
    "an ONNX file that ends too early": lambda: ("a.onnx", onnx_saved()[:-7]),
    "an ONNX file whose weights are another file": lambda: ("a.onnx", onnx_saved(location="../secret")),
    "a TorchScript archive whose pickle runs a program": lambda: ("a.pt", scripted(pickle.dumps(Harm(), 2))),
    "a TorchScript archive with an instruction that torch does not write": lambda: (
        "a.pt",
        scripted(pickle.dumps(Harm(), 4)),
    ),
    "a TorchScript archive that is compressed": lambda: ("a.pt", scripted(bytes(10**6), ZIP_DEFLATED)),
    "HTML called .pth": lambda: ("a.pth", b"<!DOCTYPE html><html>404</html>"),
}


def test_weights(row: Any, told: Any, check_refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, content = MAKERS[row.name]()
    if content is not None:
        Path(name).write_bytes(content)
    module = net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = FileWeights.model_validate({"kind": "file", "path": name, "match": "name", "licence": "MIT"})
    code, said = told(lambda: load_weights(module, weights))
    assert row.fate == "refused"
    check_refused(row, code, said)
    assert not EVIL.exists()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_honest_weights_are_taken(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "a.safetensors")
    path = str(tmp_path / "a.safetensors")
    weights = FileWeights.model_validate({"kind": "file", "path": path, "match": "name", "licence": "MIT"})
    assert "none is missing" in load_weights(net(), weights)


def test_every_row_has_its_weights(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
