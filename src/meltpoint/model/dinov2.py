"""DINOv2 (Oquab et al., TMLR 2024) in the layout of Hugging Face's Dinov2, renamed for timm's ViT."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

CLASS_TOKEN = "embeddings.cls_token"  # by which the layout is known  # noqa: S105 - no password
POSITIONS = "embeddings.position_embeddings"
NAMES = {
    CLASS_TOKEN: "cls_token",
    POSITIONS: "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "layernorm": "norm",
}
PARTS = tuple(f".attention.attention.{part}." for part in ("query", "key", "value"))  # of timm's qkv, in its order


def from_hugging_face(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under timm's names; of another layout, as they are.

    Queries, keys and values are joined. The grid of position embeddings is resized to that of `own`, the state of the
    net that is filled, as DINOv2 does: bicubic, without a filter against aliasing.
    """
    before = next((name.removesuffix(CLASS_TOKEN) for name in tensors if name.endswith(CLASS_TOKEN)), None)
    if before is None:
        return dict(tensors)
    given = {name.removeprefix(before): value for name, value in tensors.items() if name.startswith(before)}
    left = {name: value for name, value in tensors.items() if not name.startswith(before)}
    if POSITIONS not in given:
        _join_positions(given)
    if POSITIONS in given and "pos_embed" in own:
        given[POSITIONS] = _resize(given[POSITIONS], own["pos_embed"].shape[1])
    for name in [name for name in given if PARTS[0] in name]:
        parts = [name.replace(PARTS[0], part) for part in PARTS]
        if all(part in given for part in parts):
            given[name.replace(PARTS[0], ".attn.qkv.")] = torch.cat([given.pop(part) for part in parts])
    return {_rename(name): value for name, value in given.items()} | left


def _join_positions(given: dict[str, Tensor]) -> None:
    """Put together what an export has cut: the position of the class token, and those of the patches."""
    unnamed = [name for name in given if re.fullmatch(r"embeddings\.[A-Z]\w*", name) and given[name].ndim == 3]
    if len(unnamed) == 2:
        given[POSITIONS] = torch.cat(sorted((given.pop(name) for name in unnamed), key=lambda part: part.shape[1]), 1)


def _resize(positions: Tensor, tokens: int) -> Tensor:
    """Position embeddings (1, 1 + G * G, D) of a grid to those of another (1, tokens, D)."""
    before, after = round((positions.shape[1] - 1) ** 0.5), round((tokens - 1) ** 0.5)
    if before == after or (before**2 + 1, after**2 + 1) != (positions.shape[1], tokens):
        return positions
    grid = positions[:, 1:].reshape(1, before, before, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def _rename(name: str) -> str:
    name = re.sub(r"^encoder\.layer\.", "blocks.", name)
    for theirs, ours in NAMES.items():
        name = re.sub(rf"(^|\.){re.escape(theirs)}(\.|$)", rf"\g<1>{ours}\g<2>", name)
    return name
