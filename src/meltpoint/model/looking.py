"""Where a network looked: a map over the image, of the attention of a ViT, or for one answer by Grad-CAM.

Grad-CAM is of Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV
2017, equations 1 and 2; for a class of pixels the score is its mean over the image (Vinogradova et al.: Towards
Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping, AAAI 2020). Attention is shown as by
Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, section 4.2.2: that of the class
token to each patch in the last block, the mean over its heads.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meltpoint.arrays import Pixels
from meltpoint.errors import UserError
from meltpoint.model import nets
from meltpoint.model.backbones import Backbone
from meltpoint.model.convolution import watched
from meltpoint.model.model import Model

Heat = NDArray[np.float32]  # (S, S), from 0 to 1


class LookError(UserError, ValueError):
    """A network without a map or attention that could be shown."""


def attention_map(model: Model, image: Pixels) -> Heat | None:
    """Where the last block that runs looked in an image uint8 (S, S, 3), the largest 1; None: it is no ViT.

    Without a class token it is what all patches look at, on average. It is the same for every answer.
    """
    backbone = model.backbone
    if not nets.has_tokens(backbone.net):
        return None
    modules = {name: module for name, module in backbone.net.named_modules() if name.endswith("attn_drop")}
    owners = [cast(Any, backbone.net.get_submodule(name.rpartition(".")[0])) for name in modules]
    fused = [owner for owner in owners if getattr(owner, "fused_attn", False)]
    seen: list[Tensor] = []  # (1, heads, T, T), of each block

    def note(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        seen[:] = [output]

    for owner in fused:  # attention in one step keeps no map of itself
        owner.fused_attn = False
    try:
        with torch.no_grad(), watched(modules.values(), note):
            backbone(backbone.prepare(torch.from_numpy(image)[None]))
    finally:
        for owner in fused:
            owner.fused_attn = True
    if not seen or seen[0].ndim != 4:
        return None
    shares, prefix = seen[0][0].float().mean(0), sum(nets.count_tokens(backbone.net).values())  # (T, T)
    looking = shares[0] if nets.count_tokens(backbone.net).get("class") else shares[prefix:].mean(0)
    patches = looking[prefix:]
    side = round(len(patches) ** 0.5)
    return _spread(patches.view(side, side), backbone) if side**2 == len(patches) else None


def gradient_map(model: Model, image: Pixels, head: str, score: Callable[[Tensor], Tensor]) -> Heat:
    """Where in an image uint8 (S, S, 3) a head found what raises a score, the largest 1; all 0 if nothing does.

    `score` makes one number of the outputs of the head, (K,) or (K, S, S). The map is the deepest that the head reads.

    Raises:
        LookError: it reads no map.
    """
    backbone, key = model.backbone, model.head_taps[head]
    with torch.no_grad():
        last, blocks = nets.run_net(
            backbone.net, backbone.prepare(torch.from_numpy(image)[None]), backbone.all_indices(), backbone.whole
        )
    own = backbone.indices.get(key)
    place = backbone.all_indices().index(max(own)) if own else None
    read = last if place is None else blocks[place].cells
    try:
        with torch.enable_grad():
            leaf = read.detach().requires_grad_()
            if place is None:
                last = leaf.clone()  # what comes next may work in place
            else:
                blocks[place] = replace(blocks[place], cells=leaf.clone())
            outputs = model.heads[head](backbone.read(last, blocks)[key])[0]
            (slopes,) = torch.autograd.grad(score(outputs), leaf)
        maps = leaf.detach()
        if place is None:
            maps, slopes = nets.last_map(backbone.net, maps), nets.last_map(backbone.net, slopes)
    except (ValueError, AttributeError) as error:  # features that are no map, or several
        raise LookError(
            f"{backbone.params.name} gives no map that its answer is read from: {error}. Where it looked can be shown"
            " of CNNs and of ViTs."
        ) from None
    weights = slopes.mean((2, 3), keepdim=True)  # equation 1
    return _spread((weights * maps).sum(1)[0].relu(), backbone)  # equation 2


def _spread(cells: Tensor, backbone: Backbone) -> Heat:
    """Cells (h, w) over what the net is given, as a map of the image's own size, the largest 1."""
    padded, size = backbone.padded, backbone.size
    wide = cv2.resize(cells.cpu().numpy(), (padded, padded), interpolation=cv2.INTER_CUBIC)[:size, :size]
    wide = np.clip(wide, 0, None)
    return np.asarray(wide / max(float(wide.max()), 1e-12), dtype=np.float32)
