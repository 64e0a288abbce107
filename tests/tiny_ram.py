"""A tiny random RAM in the layout of its published checkpoint, and what it answers, computed without timm."""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

TAGS = ["dog", "cat", "café", "fire truck", "snow"]
EMBED, HEADS, WINDOW, SIDE, WIDTH, VECTORS = 8, (1, 2, 2, 4), 2, 64, 16, 12
State = dict[str, Tensor]


def make_state(seed: int = 0) -> State:
    """Every name of the checkpoint that tagging needs, buffers, and two names of the parts that write captions."""
    generator, state = torch.Generator().manual_seed(seed), State()

    def add(name: str, *shape: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(*shape, generator=generator) / shape[-1] ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) / 5

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 1 + torch.randn(width, generator=generator) / 5
        state[f"{name}.bias"] = torch.randn(width, generator=generator) / 5

    swin = "visual_encoder"
    state[f"{swin}.patch_embed.proj.weight"] = torch.randn(EMBED, 3, 4, 4, generator=generator) / 7
    state[f"{swin}.patch_embed.proj.bias"] = torch.zeros(EMBED)
    norm(f"{swin}.patch_embed.norm", EMBED)
    for stage, heads in enumerate(HEADS):
        width, grid = EMBED * 2**stage, SIDE // 4 // 2**stage
        for number in range(2):
            block = f"{swin}.layers.{stage}.blocks.{number}"
            norm(f"{block}.norm1", width)
            add(f"{block}.attn.qkv", 3 * width, width)
            add(f"{block}.attn.proj", width, width)
            state[f"{block}.attn.relative_position_bias_table"] = torch.randn(
                (2 * WINDOW - 1) ** 2, heads, generator=generator
            )
            state[f"{block}.attn.relative_position_index"] = relative_index()
            if number and grid > WINDOW:
                state[f"{block}.attn_mask"] = torch.zeros((grid // WINDOW) ** 2, WINDOW**2, WINDOW**2)
            norm(f"{block}.norm2", width)
            add(f"{block}.mlp.fc1", 4 * width, width)
            add(f"{block}.mlp.fc2", width, 4 * width)
        if stage < 3:
            norm(f"{swin}.layers.{stage}.downsample.norm", 4 * width)
            add(f"{swin}.layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
    norm(f"{swin}.norm", EMBED * 8)
    state["label_embed"] = F.normalize(torch.randn(len(TAGS), VECTORS, generator=generator), dim=1)
    add("wordvec_proj", WIDTH, VECTORS)
    add("image_proj", VECTORS, EMBED * 8)
    add("fc", 1, WIDTH)
    for layer in range(2):
        name = f"tagging_head.encoder.layer.{layer}"
        add(f"{name}.crossattention.self.query", WIDTH, WIDTH)
        add(f"{name}.crossattention.self.key", WIDTH, VECTORS)
        add(f"{name}.crossattention.self.value", WIDTH, VECTORS)
        add(f"{name}.crossattention.output.dense", WIDTH, WIDTH)
        norm(f"{name}.crossattention.output.LayerNorm", WIDTH)
        add(f"{name}.intermediate.dense", 4 * WIDTH, WIDTH)
        add(f"{name}.output.dense", WIDTH, 4 * WIDTH)
        norm(f"{name}.output.LayerNorm", WIDTH)
    state["tag_encoder.embeddings.word_embeddings.weight"] = torch.zeros(3, 2)
    state["text_decoder.cls.predictions.bias"] = torch.zeros(3)
    return state


def relative_index() -> Tensor:
    """Of each pair of cells of a window the row of the table of biases."""
    y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    y, x = y.flatten(), x.flatten()
    down, right = y[:, None] - y[None] + WINDOW - 1, x[:, None] - x[None] + WINDOW - 1
    return down * (2 * WINDOW - 1) + right


def answer(state: State, images: Tensor) -> Tensor:
    """Normalised images (N, 3, S, S) to logits (N, K), as the paper and its README describe them."""
    cells = _swin({name.removeprefix("visual_encoder."): value for name, value in state.items()}, images)
    tokens = _linear(state, "image_proj", torch.cat([cells.mean(1, keepdim=True), cells], 1))
    queries = _linear(state, "wordvec_proj", state["label_embed"]).relu().expand(len(images), -1, -1)
    for layer in range(2):
        name, parts = f"tagging_head.encoder.layer.{layer}", []
        for part, given in (("query", queries), ("key", tokens), ("value", tokens)):
            value = _linear(state, f"{name}.crossattention.self.{part}", given)
            parts.append(value.view(len(images), -1, 4, WIDTH // 4).permute(0, 2, 1, 3))
        seen = ((parts[0] @ parts[1].mT) / (WIDTH // 4) ** 0.5).softmax(-1) @ parts[2]
        seen = _linear(state, f"{name}.crossattention.output.dense", seen.transpose(1, 2).flatten(2))
        seen = _norm(state, f"{name}.crossattention.output.LayerNorm", seen + queries, 1e-12)
        up = F.gelu(_linear(state, f"{name}.intermediate.dense", seen))
        queries = _norm(state, f"{name}.output.LayerNorm", _linear(state, f"{name}.output.dense", up) + seen, 1e-12)
    return _linear(state, "fc", queries)[..., 0]


def _linear(state: State, name: str, given: Tensor) -> Tensor:
    return F.linear(given, state[f"{name}.weight"], state.get(f"{name}.bias"))


def _norm(state: State, name: str, given: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(given, given.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def _swin(state: State, images: Tensor) -> Tensor:
    """Cells (N, H * W, C) after the last norm (Liu et al., ICCV 2021): patches are merged at the end of a stage."""
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=4).permute(0, 2, 3, 1)
    x = _norm(state, "patch_embed.norm", x)
    for stage, heads in enumerate(HEADS):
        for number in range(2):
            x = _block(state, f"layers.{stage}.blocks.{number}", x, heads, number * (x.shape[1] > WINDOW))
        if stage < 3:
            corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
            x = _norm(state, f"layers.{stage}.downsample.norm", torch.cat(corners, -1))
            x = _linear(state, f"layers.{stage}.downsample.reduction", x)
    return _norm(state, "norm", x).flatten(1, 2)


def _block(state: State, name: str, x: Tensor, heads: int, shift: int) -> Tensor:
    """Attention in windows, every other time of a map that is rolled by one cell, then two layers."""
    n, side, _, width = x.shape
    regions = torch.zeros(1, side, side, 1)  # cells that were no neighbours before the roll do not see each other
    regions[:, -shift or side :] += 1
    regions[:, :, -shift or side :] += 2

    def cut(values: Tensor) -> Tensor:
        parts = values.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW)).transpose(2, 3)
        return parts.flatten(3, 4).flatten(1, 2)  # (N, windows, cells, C)

    rolled = cut(torch.roll(_norm(state, f"{name}.norm1", x), (-shift, -shift), (1, 2)))
    zones = cut(regions)[..., 0]
    apart = (zones[..., :, None] != zones[..., None, :])[:, :, None] * -100.0
    query, key, value = (
        _linear(state, f"{name}.attn.qkv", rolled).unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
    )
    table = state[f"{name}.attn.relative_position_bias_table"][relative_index()].permute(2, 0, 1)
    seen = (query @ key.mT / (width // heads) ** 0.5 + table + apart).softmax(-1) @ value
    seen = _linear(state, f"{name}.attn.proj", seen.transpose(2, 3).flatten(3))
    grid = side // WINDOW
    whole = seen.view(n, grid, grid, WINDOW, WINDOW, width).transpose(2, 3).reshape(n, side, side, width)
    x = x + torch.roll(whole, (shift, shift), (1, 2))
    inner = F.gelu(_linear(state, f"{name}.mlp.fc1", _norm(state, f"{name}.norm2", x)))
    return x + _linear(state, f"{name}.mlp.fc2", inner)
