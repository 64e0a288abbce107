"""How many of open_clip's models can be an encoder: each is made on torch's meta device, without memory for weights."""

import warnings
from pathlib import Path

import open_clip
import torch

from meltpoint.model.backbones import build_backbone
from meltpoint.model.nets import BackboneError
from meltpoint.params.model import Backbone
from reporting import Row


def measure(folder: Path) -> list[Row]:  # noqa: ARG001 - as every benchmark's
    """Counts of image sides that are made at the size of their config, and of text sides by what they need."""
    warnings.simplefilter("ignore")
    names, refused = open_clip.list_models(), list[str]()
    for name in names:
        size = open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
        params = Backbone.model_validate({"library": "open_clip", "name": name, "weights": {"kind": "random"}})
        try:
            with torch.device("meta"):
                build_backbone(params, {"final", -1}, size, pretrained=False)
        except BackboneError as error:
            refused.append(f"{name}: {error}")
    texts = [open_clip.get_model_config(name)["text_cfg"] for name in names]
    tokens = sum("hf_tokenizer_name" in text and "hf_model_name" not in text for text in texts)
    towers = sum("hf_model_name" in text for text in texts)
    alone = len(texts) - tokens - towers
    note = f"{alone} need nothing else, {tokens} a tokenizer of transformers, {towers} also its config"
    return [
        Row("image sides made", len(names) - len(refused), len(names), "listed", "; ".join(refused)),
        Row("text sides", len(texts), None, "", note),
    ]
