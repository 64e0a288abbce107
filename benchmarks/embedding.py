"""Embedding the views against plain eager timm on the same images."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from meltpoint.images.views import Views
from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.params.read import Params
from meltpoint.train.embed import embed
from reporting import Row, Timed, side_by_side
from stage_set import photographs, preset

IMAGES, ROUNDS = 384, 5


def measure(folder: Path) -> list[Row]:
    """Images a second of both, and the largest difference of their features."""
    params = preset()
    views = photographs(params, IMAGES - 8, 8, folder / "views")
    backbone = build_backbone(params.recipe("frozen").encoder, {"final"}, views.size)
    ours, theirs = side_by_side(lambda: _ours(backbone, views, params), lambda: _eager(backbone, views, params), ROUNDS)
    difference = float(np.abs(ours.result - theirs.result).max())
    note = f"{IMAGES} images at {views.size} px; features differ by {difference:.0e} at most"
    return [Row("embedding, images a second", IMAGES / ours.seconds, IMAGES / theirs.seconds, "plain eager timm", note)]


def _ours(backbone: Backbone, views: Views, params: Params) -> Timed:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        features = np.array(embed(backbone, views, params.embed, Path(folder) / "features").plain("final"))
        return Timed(time.perf_counter() - start, features)


def _eager(backbone: Backbone, views: Views, params: Params) -> Timed:
    net = backbone.net.to(memory_format=torch.contiguous_format)
    mean, std = torch.tensor(backbone.mean).view(1, 3, 1, 1), torch.tensor(backbone.std).view(1, 3, 1, 1)
    start, features = time.perf_counter(), []
    with torch.no_grad():
        for at in range(0, IMAGES, params.embed.batch):
            images = torch.from_numpy(np.array(views.plain[at : at + params.embed.batch]))
            batch = images.permute(0, 3, 1, 2).contiguous().float() / 255
            features.append(net((batch - mean) / std))
    seconds = time.perf_counter() - start
    net.to(memory_format=torch.channels_last)
    return Timed(seconds, torch.cat(features).numpy())
