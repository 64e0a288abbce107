"""Real tiny models, saved with real cards: two plain heads, three levels of a tree with names in two languages, masks.

Besides, a model of masks whose answers are known: it tells the class of each pixel by its colour.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageColor

from meltpoint.model.backbones import build_backbone, tap_key
from meltpoint.model.card import FORMAT, Card, HeadCard, TreeCard
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.data import Images
from meltpoint.params.heads import DenseLinearHead, Head, LinearHead
from meltpoint.params.model import Backbone, RandomWeights
from meltpoint.parts import open_parts
from meltpoint.predict.predictor import Predictor
from meltpoint.tables import IGNORED
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.tasks.classification.objective import count_outputs
from meltpoint.tasks.segmentation import answer as masks_of_pixels

SIZE = 32
PARAMS = Backbone(
    name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3, std=[0.5] * 3
)
CLASSES = {"sick": ["no", "yes"], "kind": ["x", "y", "z"]}
LEVELS = {"overall": ["lie", "stand"], "family": ["flat", "one leg", "two legs"],
          "pose": ["corpse", "tree", "dancer", "mountain"]}  # fmt: skip
PARENTS = {"family": {"flat": "lie", "one leg": "stand", "two legs": "stand"},
           "pose": {"corpse": "flat", "tree": "one leg", "dancer": "one leg", "mountain": "two legs"}}  # fmt: skip
NAMES = {
    "overall": {"zh": {"lie": "躺臥", "stand": "站立"}},
    "family": {},
    "pose": {
        "en": {"corpse": "Corpse Pose", "tree": "Tree Pose", "dancer": "Dancer Pose", "mountain": "Mountain Pose"},
        "zh": {"corpse": "攤屍式", "tree": "樹式", "dancer": "舞王式"},
    },
}


SCENE = ["grass", "water", "rock"]
COLOURS = ["#20c020", "#2040e0", "#808080"]
SCENE_NAMES = {"zh": {"grass": "草地", "water": "水"}}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny nets are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_head(label: str, **changes: Any) -> LinearHead:
    return LinearHead.model_validate({"kind": "linear", "label": label, **changes})


def make_card(heads: Mapping[str, Head], classes: Mapping[str, list[str]], **changes: Any) -> Card:
    """A card without names, thresholds or a tree, unless `changes` say otherwise."""
    cards = {
        name: HeadCard(
            head=head, classes=classes[name], outputs=count_outputs(len(classes[name]), head.target),
            threshold=None, unknown_below=None, names={}, colours=None,
        )
        for name, head in heads.items()
    }  # fmt: skip
    facts: dict[str, Any] = {
        "format": FORMAT, "strategy": "s", "task": "classification", "backbone": PARAMS,
        "images": Images(side=SIZE, resize="squash", interpolation="area"), "max_megapixels": 1,
        "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "heads": cards, "tree": None, "main_head": next(iter(heads)),
        "metric": "accuracy", "key": "k", "data": "d", "seed": 0, "licence": "none", "trainable_parameters": 7,
        "versions": {},
    }  # fmt: skip
    return Card.model_validate(facts | changes)


def tree_card(**changes: Any) -> Card:
    """Three levels, named in two languages, and a plain head after them."""
    classes = {**LEVELS, "indoors": ["no", "yes"]}
    card = make_card({name: make_head(name) for name in classes}, classes)
    heads = {name: head.model_copy(update={"names": NAMES.get(name, {})}) for name, head in card.heads.items()}
    tree = TreeCard(levels=list(LEVELS), parents=PARENTS)
    return card.model_copy(update={"heads": heads, "tree": tree, "main_head": "pose", **changes})


def save(card: Card, folder: Path) -> Path:
    """A model of this card with random weights, of strong opinions."""
    torch.manual_seed(0)
    heads = {name: own.head for name, own in card.heads.items()}
    taps = {name: head.reads for name, head in heads.items()}
    backbone = build_backbone(PARAMS, list({tap_key(tap): tap for tap in taps.values()}.values()), SIZE)
    outputs = {name: own.outputs for name, own in card.heads.items()}
    model = Model(backbone, build_heads(heads, backbone, outputs), taps)
    for parameter in model.heads.parameters():
        parameter.data.mul_(300 if parameter.ndim > 1 else 1)
    save_model(model, card, folder)
    return folder


def plain_card(**changes: Any) -> Card:
    heads = {"sick": make_head("sick_label", main=True), "kind": make_head("kind_label", tap=-2)}
    return make_card(heads, CLASSES, **changes)


def scene_card(**changes: Any) -> Card:
    """A head of masks with three classes, two of them named in Chinese."""
    facts = {"kind": "dense_linear", "label": "scene", "taps": [-1], "weight": 1.0, "class_weights": "none",
             "dice": 0.0, "main": True}  # fmt: skip
    head = DenseLinearHead.model_validate(facts)
    own = HeadCard(
        head=head, classes=SCENE, outputs=len(SCENE), threshold=None, unknown_below=None, names=SCENE_NAMES,
        colours=COLOURS,
    )  # fmt: skip
    card = make_card({"sick": make_head("sick_label")}, CLASSES, task="segmentation", metric="miou")
    return card.model_copy(update={"heads": {"scene": own}, "main_head": "scene", **changes})


class Painter(torch.nn.Module):
    """Stands in for a model: the logit of a class is the closeness of a pixel's colour to the class's."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        colours = torch.tensor([ImageColor.getrgb(colour) for colour in COLOURS]).float()
        distance = (images[:, None].float() - colours[:, None, None]).square().sum(-1)  # (N, C, S, S)
        return {"scene": -distance / 1000}


def make_painter(**changes: Any) -> Answerer:
    predictor = Predictor(scene_card(**changes), cast("Model", Painter()), None, Path(), 0, torch.device("cpu"))
    return Answerer(predictor, masks_of_pixels)


def draw_scene(height: int, width: int) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """A picture uint8 (H, W, 3) in the colours of its classes, and its mask uint8 (H, W): grass, a lake, a rock."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :, : width // 2] = 1
    mask[: height // 3, 2 * width // 3 :] = 2
    return np.array([ImageColor.getrgb(colour) for colour in COLOURS], np.uint8)[mask], mask


@pytest.fixture
def painter() -> Answerer:
    """A model of masks that is never wrong about `draw_scene`."""
    return make_painter()


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(scene_card(), tmp_path_factory.mktemp("scene") / "model")


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(plain_card(), tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture(scope="session")
def tree_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tree_card(), tmp_path_factory.mktemp("tree") / "model")


@pytest.fixture
def predictor(plain_folder: Path) -> Answerer:
    return open_answerer(plain_folder)


@pytest.fixture
def yogi(tree_folder: Path) -> Answerer:
    """A predictor with a tree."""
    return open_answerer(tree_folder)


def noise(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with equal names in two folders, a broken picture, and files that are none."""
    folder = tmp_path / "album"
    for number, name in enumerate(["b/1.png", "a/1.png", "2.PNG", "a/sub/3.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(noise(number, 60, 80)))
    (folder / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    for name in ("notes.txt", "Makefile", ".2.png"):
        (folder / name).write_bytes(b"text")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "4.png").write_bytes(png(noise(9)))
    return folder


def make_views(folder: Path, size: int = SIZE, pixels: Any = None, masks: Any = None, masked: bool = False) -> Any:
    """A store of seven plain views, noise unless `pixels` are given; of masks with void pixels where it is `masked`."""
    folder.mkdir(exist_ok=True)
    rng, split = np.random.default_rng(0), ["train", "test", "val", "test", "val", "train", "test"]
    plain = rng.integers(0, 256, (7, size, size, 3), dtype=np.uint8) if pixels is None else pixels
    np.save(folder / "plain.npy", plain)
    samples = pd.DataFrame({"id": range(10, 17), "path": [f"{n}.png" for n in range(7)], "split": split})
    samples["group"] = pd.array([f"g{n // 2}" for n in range(7)], dtype="string")
    samples["sick_label"] = pd.array(["yes", None, "no", "yes", "no", "no", "no"], dtype="string")
    if masked:
        masks = rng.integers(0, 3, (7, size // 8, size // 8), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        masks[:, :3] = IGNORED
    return SimpleNamespace(
        samples=samples, size=size, plain=open_parts(folder / "plain.npy"), masks=masks, read_file=None,
        rows=lambda name: np.flatnonzero(samples["split"] == name), classes={"scene": SCENE},
    )  # fmt: skip


class Kit:
    """What tests make cards, models and pictures with."""

    card = staticmethod(make_card)
    head = staticmethod(make_head)
    plain_card = staticmethod(plain_card)
    tree_card = staticmethod(tree_card)
    scene_card = staticmethod(scene_card)
    painter = staticmethod(make_painter)
    scene = staticmethod(draw_scene)
    save = staticmethod(save)
    noise = staticmethod(noise)
    png = staticmethod(png)
    views = staticmethod(make_views)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
