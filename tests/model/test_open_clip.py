"""CLIP models: as open_clip answers, from files in the names of OpenAI's checkpoints, and back from a model folder."""

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from saved_models import make_card
from torch.nn.functional import normalize

from meltpoint.model.backbones import build_backbone
from meltpoint.model.library import open_text
from meltpoint.model.model import build_model, load_model, save_model
from meltpoint.model.nets import BackboneError
from meltpoint.model.text_vectors import TextError, embed_texts, embed_words
from meltpoint.model.weights import WeightsError
from meltpoint.params.heads import CosineHead
from meltpoint.params.model import Backbone

SIZE = 64
VISION, WORDS = {"layers": 2, "width": 64, "patch_size": 16, "image_size": SIZE}, {"layers": 2, "width": 64, "heads": 1}
PROMPTS, CLASSES = ["a photo of a {}.", "it's the {}"], ["golden retriever", "fire truck", "cup"]


@pytest.fixture(scope="module", params=[True, False], ids=["openai", "other"])
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[open_clip.CLIP, Backbone]:
    """open_clip's own tiny model, and params of the same in a file: OpenAI's with QuickGELU, or another without."""
    torch.manual_seed(0)
    model = open_clip.CLIP(32, {**VISION}, {**WORDS, "context_length": 77}, quick_gelu=request.param).eval()
    tensors = {name: value.clone() for name, value in model.state_dict().items() if name != "attn_mask"}
    if request.param:  # as OpenAI's files, which state_dicts of open_clip lack, and which tell them apart
        tensors |= {"input_resolution": torch.tensor(SIZE), "context_length": torch.tensor(77)}
        tensors |= {"vocab_size": torch.tensor(49408)}
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(tensors, path)
    weights = {"kind": "file", "path": str(path), "match": "name", "licence": "MIT"}
    args = {"embed_dim": 32, "width": 64, "layers": 2, "patch_size": 16}
    params = Backbone.model_validate({"library": "open_clip", "name": "ViT-B-16", "args": args, "weights": weights})
    return model, params


def test_images_texts_and_zero_shot_logits_are_those_of_open_clip(judge: tuple[open_clip.CLIP, Backbone]) -> None:
    model, params = judge
    backbone, encoder = build_backbone(params, {"final", -1}, SIZE), open_text(params)
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    classifier = open_clip.build_zero_shot_classifier(
        model, open_clip.get_tokenizer("ViT-B-16"), CLASSES, [lambda name, own=one: own.format(name) for one in PROMPTS]
    )
    words = embed_words(encoder, {name: [one.format(name) for one in PROMPTS] for name in CLASSES})
    with torch.no_grad():
        features, expected = backbone(images)["final"], model.encode_image(images)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(words.T, classifier, rtol=0, atol=1e-5)
    logits = encoder.scale * normalize(features, dim=1) @ words.T
    theirs = model.logit_scale.exp() * normalize(expected, dim=1) @ classifier
    torch.testing.assert_close(logits, theirs.detach(), rtol=0, atol=1e-5)
    assert backbone.specs["-1"].channels == 64


def test_a_saved_model_needs_neither_the_file_nor_the_text_side(
    judge: tuple[open_clip.CLIP, Backbone], tmp_path: Path
) -> None:
    params = judge[1]
    head = CosineHead(kind="cosine", label="thing", main=True)
    model = build_model(params, {"thing": head}, {"thing": 3}, SIZE)
    images = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    card = make_card({"thing": head}, {"thing": CLASSES})
    facts = {
        **card.model_dump(), "backbone": model.backbone.params.model_dump(), "mean": model.backbone.mean,
        "std": model.backbone.std, "images": {**card.images.model_dump(), "side": SIZE},
    }  # fmt: skip
    save_model(model, type(card).model_validate(facts), tmp_path / "model")
    loaded, read = load_model(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
    assert not [name for name in loaded.state_dict() if "token_embedding" in name]
    with pytest.raises(WeightsError, match="There is no weight file clip.safetensors"):  # the card knows no folders
        open_text(read.backbone)
    path = Path(params.weights.model_dump()["path"])
    texts = ["a cup"]
    torch.testing.assert_close(
        embed_texts(open_text(read.backbone, path), texts), embed_texts(open_text(params), texts)
    )


def test_weights_say_which_activation_and_another_is_refused(judge: tuple[open_clip.CLIP, Backbone]) -> None:
    model, params = judge
    quick = "QuickGELU" in repr(model.visual)
    assert build_backbone(params, {"final"}, SIZE).params.args["quick_gelu"] is quick
    if quick:
        with pytest.raises(BackboneError, match="trained with QuickGELU, and name or args ask for a net without"):
            build_backbone(params.model_copy(update={"args": {**params.args, "quick_gelu": False}}), {"final"}, SIZE)
    hub = {"library": "open_clip", "weights": {"kind": "hub", "tag": "openai"}, "args": {"quick_gelu": False}}
    with pytest.raises(BackboneError, match="trained with QuickGELU"):
        build_backbone(Backbone.model_validate({**hub, "name": "ViT-B-16"}), {"final"}, 224, pretrained=False)


def test_what_cannot_be_read_is_said(judge: tuple[open_clip.CLIP, Backbone]) -> None:
    params = judge[1]
    with pytest.raises(BackboneError, match="no model 'ViT-B-61'"):
        build_backbone(params.model_copy(update={"name": "ViT-B-61", "args": {}}), {"final"}, SIZE)
    with pytest.raises(BackboneError, match="none of"):
        build_backbone(params.model_copy(update={"args": {"depth": 3}}), {"final"}, SIZE)
    with pytest.raises(TextError, match="tokens, and the text encoder reads 75"):
        embed_texts(open_text(params), ["a cup of tea " * 40])


def test_heads_of_the_text_side_are_a_number_that_no_file_says(tmp_path: Path) -> None:
    """A file of width 64 has one by OpenAI's rule; `text_heads` says otherwise."""
    torch.manual_seed(0)
    model = open_clip.CLIP(32, {**VISION}, {**WORDS, "heads": 2, "context_length": 77}).eval()
    save_file({name: value.clone() for name, value in model.state_dict().items()}, tmp_path / "clip.safetensors")
    weights = {"kind": "file", "path": str(tmp_path / "clip.safetensors"), "match": "name", "licence": "MIT"}
    args = {"embed_dim": 32, "width": 64, "layers": 2}
    params = Backbone.model_validate({"library": "open_clip", "name": "ViT-B-16", "args": args, "weights": weights})
    tokens = open_clip.get_tokenizer("ViT-B-16")(CLASSES)
    with torch.no_grad():
        expected = normalize(model.encode_text(tokens), dim=1)
    assert (embed_texts(open_text(params), CLASSES) - expected).abs().max() > 1e-3
    two = params.model_copy(update={"args": {**args, "text_heads": 2}})
    torch.testing.assert_close(embed_texts(open_text(two), CLASSES), expected, rtol=0, atol=1e-5)
    with pytest.raises(TextError, match="cannot be made"):
        open_text(params.model_copy(update={"args": {**args, "text_heads": 3}}))
