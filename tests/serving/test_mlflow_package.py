"""A registered model carries everything it needs, holds no pickle, and answers row by row."""

import base64
import io
import json
import os
import pickletools
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard, read_card
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.data import Images
from meltpoint.params.heads import DenseLinearHead
from meltpoint.params.model import Backbone, RandomWeights
from meltpoint.registry.version_files import fingerprint
from meltpoint.serving.mlflow_package import INSIDE, NEEDED, requirements, write_package

LOADS = """
import json, sys
from mlflow import pyfunc
model = pyfunc.load_model(sys.argv[1])
print(model.predict(__import__("pandas").DataFrame({"image": sys.argv[2:]})).to_json(orient="records"))
import meltpoint
print(meltpoint.__path__[0])
print(json.dumps(sorted({name.split(".")[0] for name, one in sys.modules.items() if getattr(one, "__file__", None)})))
"""


def encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def package(house: Any, tmp_path: Path) -> Path:
    image = encode(house.folder / "photos" / "0.png")
    write_package(house.folder / "models" / "frozen", image, "m-1", "run", tmp_path / "package")
    return tmp_path / "package"


def test_fingerprint_is_of_names_and_bytes(house: Any) -> None:
    folder = house.folder / "models" / "frozen"
    before = fingerprint(folder)
    assert before == fingerprint(folder) != fingerprint(house.folder / "models" / "finetune")
    (folder / "history.jsonl").write_text("")
    assert fingerprint(folder) != before


def test_requirements_are_exact_and_those_of_the_encoder(house: Any) -> None:
    card = read_card(house.folder / "models" / "frozen")
    clip = card.model_copy(update={"backbone": card.backbone.model_copy(update={"library": "open_clip"})})
    plain, more = requirements(card), requirements(clip)
    assert all(line.count("==") == 1 and "+" not in line for line in more)
    assert [line.split("==")[0] for line in more if line not in plain] == ["open-clip-torch"]


def test_there_is_no_pickle_in_it(package: Path) -> None:
    files = [file for file in package.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")]
    for file in files:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever pickletools says of something that is no pickle
            for _ in pickletools.genops(file.read_bytes()):
                pass
    assert fingerprint(package / INSIDE) == fingerprint(Path("models/frozen"))


@pytest.mark.slow
def test_it_loads_alone_with_pickle_forbidden(package: Path, tmp_path: Path) -> None:
    good = encode(Path("photos/3.png"))
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    asked = subprocess.run(
        [sys.executable, "-c", LOADS, str(package), good, "bad", good],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers, home, modules = asked.stdout.strip().splitlines()[-3:]
    rows = json.loads(answers)
    assert [row["error"] for row in rows] == [None, "not base64", None]
    assert rows[0] == rows[2]
    assert rows[0]["shape"] in ("circle", "square")
    assert home == str(package / "code" / "meltpoint"), "the package beside the model, not the one that is installed"
    assert missing_requirements(json.loads(modules)) <= {"pillow-heif", "pydicom"}, "but for the extras, where they are"


@pytest.fixture
def scene_model(tmp_path: Path) -> Path:
    """A model of masks with random weights."""
    facts = {"kind": "dense_linear", "label": "scene", "taps": [-1], "weight": 1.0, "class_weights": "none",
             "dice": 0.0, "main": True}  # fmt: skip
    head, classes = DenseLinearHead.model_validate(facts), ["sky", "road"]
    params = Backbone(name="test_efficientnet", args={}, weights=RandomWeights(kind="random"), mean=[0.5] * 3,
                      std=[0.5] * 3)  # fmt: skip
    backbone = build_backbone(params, {head.reads}, 32)
    card = Card(
        format=FORMAT, strategy="frozen", task="segmentation", backbone=params, max_megapixels=10,
        images=Images(side=32, resize="squash", interpolation="area"), mean=backbone.mean, std=backbone.std,
        heads={"scene": HeadCard(head=head, classes=classes, outputs=2, threshold=None, unknown_below=None, names={},
                                 colours=["#0000ff", "#804080"])},
        tree=None, main_head="scene", metric="miou", key="k", data="d", seed=0, licence="none",
        trainable_parameters=1, versions={},
    )  # fmt: skip
    heads = build_heads({"scene": head}, backbone, {"scene": 2})
    save_model(Model(backbone, heads, {"scene": head.reads}), card, tmp_path / "scene")
    return tmp_path / "scene"


@pytest.mark.slow
def test_a_model_of_masks_is_served_as_png(scene_model: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(file, "PNG")
    good = base64.b64encode(file.getvalue()).decode()
    write_package(scene_model, good, "m-1", "run", tmp_path / "package")
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    asked = subprocess.run(
        [sys.executable, "-c", LOADS, str(tmp_path / "package"), good, "bad", good],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers, _, modules = asked.stdout.strip().splitlines()[-3:]
    rows = json.loads(answers)
    assert [row["error"] for row in rows] == [None, "not base64", None]
    assert rows[1]["scene.mask"] is None
    with Image.open(io.BytesIO(base64.b64decode(rows[2]["scene.mask"]))) as mask:
        assert (mask.format, mask.size) == ("PNG", (60, 40))
        shares = np.bincount(np.asarray(mask).ravel(), minlength=2) / (60 * 40)
    assert list(json.loads(rows[2]["scene.areas"]).values()) == pytest.approx(shares.tolist(), abs=1e-5)
    assert missing_requirements(json.loads(modules)) <= {"pillow-heif", "pydicom"}, "but for the extras, where they are"


def missing_requirements(modules: list[str]) -> set[str]:
    """Distributions that were imported, and that neither NEEDED nor what it needs asks for."""
    asked: set[str] = set()
    waiting = [canonicalize_name(name) for name in NEEDED]
    while waiting:
        name = waiting.pop()
        if name not in asked and is_installed(name):
            asked.add(name)
            waiting += [canonicalize_name(Requirement(line).name) for line in distribution(name).requires or []]
    found = packages_distributions()
    imported = {canonicalize_name(min(found[module])) for module in modules if module in found}
    return imported - asked - {"meltpoint", "setuptools", "pip"}


def is_installed(name: str) -> bool:
    """Whether a distribution is installed; optional parts of others are not."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
