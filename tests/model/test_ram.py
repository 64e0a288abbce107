"""A checkpoint in RAM's published layout answers as a forward pass does that was written from its paper alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_ram import SIDE, TAGS, VECTORS, answer, make_state

from meltpoint.model.ram import read_ram
from meltpoint.model.weights import WeightsError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"model": make_state()}, tmp_path / "ram.pth")
    return tmp_path / "ram.pth"


def test_logits_are_those_of_an_independent_forward_pass(checkpoint: Path) -> None:
    ram = read_ram(checkpoint, "none")
    assert (ram.side, ram.tags, ram.head.layers, ram.head.hidden) == (SIDE, len(TAGS), 2, 16)
    assert ram.left_out == {
        "relative_position_index": 8, "attn_mask": 3, "tag_encoder.": 1, "text_decoder.": 1,
    }  # fmt: skip
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    model = ram.build()
    with torch.inference_mode():
        found = model.outputs(model.backbone(images))["tags"]
    expected = answer(make_state(), images)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_other_vectors_are_other_tags(checkpoint: Path) -> None:
    vectors, images = torch.randn(3, VECTORS), torch.randn(2, 3, SIDE, SIDE)
    model = read_ram(checkpoint, "none").with_vectors(vectors).build()
    with torch.inference_mode():
        found = model.outputs(model.backbone(images))["tags"]
    torch.testing.assert_close(found, answer({**make_state(), "label_embed": vectors}, images), rtol=0, atol=1e-5)


def test_the_older_name_of_the_tagging_head_is_read(tmp_path: Path) -> None:
    state = {name.replace("tagging_head", "vision_multi"): value for name, value in make_state().items()}
    save_file(state, tmp_path / "old.safetensors")
    assert read_ram(tmp_path / "old.safetensors", "none").head.layers == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reweight_scale": torch.ones(())}, r"RAM\+\+"),
        ({"surprise.weight": torch.ones(2)}, "surprise"),
        ({"visual_encoder.layers.0.blocks.1.attn_mask": None}, "lacks"),
        ({"label_embed": None}, "label_embed"),
    ],
)
def test_what_is_no_ram_is_refused(tmp_path: Path, changes: dict[str, torch.Tensor | None], said: str) -> None:
    state = {name: value for name, value in {**make_state(), **changes}.items() if value is not None}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=said):
        read_ram(tmp_path / "other.safetensors", "none")
