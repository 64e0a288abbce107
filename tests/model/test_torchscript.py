"""TorchScript archives, as OpenAI publishes CLIP: their tensors are those that torch reads, and nothing runs."""

import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import open_clip
import pytest
import torch
from torch import nn

from meltpoint.model.backbones import build_backbone
from meltpoint.model.library import open_text
from meltpoint.model.text_vectors import embed_texts
from meltpoint.model.torchscript import TorchScriptError, is_torchscript, read_torchscript
from meltpoint.model.weights import load_weights
from meltpoint.params.model import Backbone, FileWeights

NUMBERS = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}


def publish(model: nn.Module, path: Path, example: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    """Write the archive, and say what torch itself reads in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its tracer warns of shapes
        torch.jit.save(torch.jit.trace(model, example, check_trace=False), path)
        return dict(torch.jit.load(path).state_dict())


def test_an_openai_archive_is_read_as_it_was_downloaded(tmp_path: Path) -> None:
    """Half-precision weights, the three numbers, and QuickGELU because of them."""
    torch.manual_seed(0)
    vision, text = (
        {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32},
        {"layers": 1, "width": 64, "heads": 1},
    )
    model = open_clip.CLIP(32, vision, text, quick_gelu=True).eval()
    for name, number in NUMBERS.items():
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(number))
    model.visual.conv1.half().float()  # so that nothing is lost below
    tokens = open_clip.get_tokenizer("ViT-B-16")(["a cup"])
    read = publish(model, tmp_path / "ViT-T-16.pt", (torch.zeros(1, 3, 32, 32), tokens))
    tensors = read_torchscript(tmp_path / "ViT-T-16.pt")
    assert tensors.keys() == read.keys()
    for name, value in read.items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0)
    weights = {"kind": "file", "path": str(tmp_path / "ViT-T-16.pt"), "match": "name", "licence": "MIT"}
    args = {"embed_dim": 32, "width": 64, "layers": 1}
    params = Backbone.model_validate({"library": "open_clip", "name": "ViT-B-16", "args": args, "weights": weights})
    backbone, images = build_backbone(params, {"final"}, 32), torch.randn(2, 3, 32, 32)
    assert backbone.params.args["quick_gelu"] is True
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)["final"], model.encode_image(images), rtol=0, atol=1e-5)
        words = nn.functional.normalize(model.encode_text(tokens), dim=1)
    torch.testing.assert_close(embed_texts(open_text(params), ["a cup"]), words, rtol=0, atol=1e-5)


def test_any_archive_of_tensors_of_several_kinds_is_read(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Sequential(nn.Conv2d(3, 2, 1).half(), nn.BatchNorm2d(2))
            self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
            self.register_buffer("none", torch.zeros(0))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images + self.turned.sum() + self.layer[1].running_mean.sum()

    read = publish(Shared(), tmp_path / "a.pt", (torch.zeros(1),))
    tensors = read_torchscript(tmp_path / "a.pt")
    assert tensors.keys() == read.keys()
    for name, value in read.items():
        assert tensors[name].dtype == value.dtype
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0)
    whole = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    archive = tmp_path / "b.pt"
    publish(whole, archive, (torch.zeros(1, 3, 4, 4),))
    other = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    load_weights(other, FileWeights(kind="file", path=str(archive), match="name", licence="MIT"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in whole.state_dict().items())


def test_only_archives_with_a_program_count_and_nothing_in_them_grows(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "plain.pth")
    assert not is_torchscript(tmp_path / "plain.pth")
    publish(nn.Linear(2, 2), tmp_path / "a.pt", (torch.zeros(1, 2),))
    with ZipFile(tmp_path / "a.pt") as archive, ZipFile(tmp_path / "packed.pt", "w", ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert is_torchscript(tmp_path / "packed.pt")
    with pytest.raises(TorchScriptError, match=r"data\.pkl is compressed"):
        read_torchscript(tmp_path / "packed.pt")
