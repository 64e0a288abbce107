"""A tiny random CLIP of open_clip's, in the names of OpenAI's checkpoints."""

from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

SIDE = 64
VISION = {"layers": 2, "width": 64, "patch_size": 16, "image_size": SIDE}
WORDS = {"layers": 2, "width": 64, "heads": 1, "context_length": 77}


def save_clip(path: Path, embed_dim: int) -> open_clip.CLIP:
    """The model whose file is written: with QuickGELU, as OpenAI's own are, and as these say it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(embed_dim, {**VISION}, {**WORDS}, quick_gelu=True).eval()
    tensors = {name: value.clone() for name, value in model.state_dict().items() if name != "attn_mask"}
    sizes = {"input_resolution": SIDE, "context_length": 77, "vocab_size": 49408}
    save_file(tensors | {name: torch.tensor(value) for name, value in sizes.items()}, path)
    return model
