"""Every format in export/ is written, opened and answers as the model that it was made of, for any number of images."""

import csv
import inspect
import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from saved_models import SIZE, make_card, make_head, plain_card, save, scene_card, tree_card

import meltpoint
from meltpoint.cli import run
from meltpoint.container.build import RUNTIMES
from meltpoint.errors import UserError
from meltpoint.export.folder import write_export
from meltpoint.images.resize import resize
from meltpoint.model.card import CARD, Card
from meltpoint.model.manifest import check_manifest
from meltpoint.params.data import Images
from meltpoint.params.exports import Exports
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.contract import load_objective

if TYPE_CHECKING:
    from meltpoint.images.views import Views

FRAME = {"folder", "graph", "onnx_file", "resizing", "runtimes", "winner"}  # what formats share
SETTINGS: dict[str, dict[str, Any]] = {  # of those that have some
    "onnx_int8": {"images": 48},
    "onnx_qat": {"epochs": 1, "lr": 1e-6},
    "litert": {"precision": "int8", "images": 48},
    "openvino": {"half": False},
}
KINDS = {  # others: two
    "onnx_int8": {"scene"}, "onnx_qat": {"plain"}, "torch_export": {"scene", "tags"}, "litert": {"plain", "maps"},
    "executorch": {"maps"}, "openvino": {"scene"},
}  # fmt: skip
WHOLE = {("litert", "maps"): {"precision": "float32", "images": 0}}  # in 8 bits single pixels differ by more
RESIZING = {("onnx", "plain"), ("onnx_int8", "scene"), ("onnx_qat", "plain"), ("torch_export", "scene"),
            ("openvino", "scene")}  # fmt: skip
TAGS = make_card(
    {"seen": make_head("seen", main=True)}, {"seen": ["dog", "lead", "ball"]}, task="tagging", metric="map"
)
BILINEAR = Images(side=SIZE, resize="squash", interpolation="bilinear")  # a file that resizes does it otherwise
MAPS = scene_card().heads["scene"]  # of two grids, one of which is scaled up
MAPS = MAPS.model_copy(update={"head": MAPS.head.model_copy(update={"taps": (1, -1)})})
CARDS = {
    "maps": scene_card(heads={"scene": MAPS}),
    "plain": plain_card(images=BILINEAR),
    "tree": tree_card(),
    "scene": scene_card(),
    "tags": TAGS,
}


def noise(count: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def photo(height: int, width: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A photograph's size, and soft as one."""
    small = np.random.default_rng(1).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def export(card: Card, name: str, folder: Path, **more: Any) -> tuple[Path, Path]:
    """A model of this card, and its export."""
    settings = Exports.model_validate({name: SETTINGS.get(name, {}) | more})
    model, images = save(card, folder / "models" / "s"), noise(48)
    views = cast("Views", SimpleNamespace(plain=images, size=SIZE, rows=lambda split: np.arange(len(images))))
    decode = load_objective(card.task).decode
    write_export(model, "f" * 64, name, settings.asked[name], decode, views, folder / "exports" / name)
    return model, folder / "exports" / name


def check_parts(folder: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers in parts are those on the screen, whoever resizes."""
    (place / "photos").mkdir()
    for number in range(3):
        cv2.imwrite(str(place / "photos" / f"{number}.png"), photo(70 + number, 90))
    (place / "photos" / "bad.png").write_bytes(b"no picture")
    words = ["predict", str(place / "photos"), "--model", str(folder)]
    capsys.readouterr()
    run([*words, "--csv"])
    wanted = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    run([*words, "--out", str(place / "out")])
    (part,) = (place / "out").glob("part-*")
    rows = pq.read_table(part).to_pylist()
    assert [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in rows] == wanted
    assert [row["error"] for row in rows] == [None, None, None, "not an image"]


def test_formats_are_the_files_of_the_folder() -> None:
    folder = Path(inspect.getfile(import_module("meltpoint.export.folder"))).parent
    assert {path.stem for path in folder.glob("*.py")} - FRAME - {"__init__"} == set(Exports.model_fields)
    assert set(RUNTIMES) == set(Exports.model_fields), "a container knows what runs each"
    for name in Exports.model_fields:
        module = import_module(f"meltpoint.export.{name}")
        assert list(inspect.signature(module.write).parameters) == [
            "graph",
            "card",
            "folder",
            "settings",
            "calibration",
        ]
        assert list(inspect.signature(module.open_forward).parameters) == ["folder", "card", "settings"]


@pytest.mark.filterwarnings("ignore:[a-z_]+ is deprecated. Use files:DeprecationWarning")  # of executorch's own
@pytest.mark.filterwarnings("ignore:This API is experimental")
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in Exports.model_fields for kind in sorted(KINDS.get(name, {"plain", "scene"}))],
)
def test_an_export_answers_as_its_model(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = WHOLE.get((name, kind), {}) | {"resize": (name, kind) in RESIZING}
    try:
        model, folder = export(CARDS[kind], name, tmp_path, **more)
    except UserError as error:
        if "pip install" in str(error) or "make litert" in str(error):
            pytest.skip(str(error))
        raise
    check_manifest(folder)
    assert (folder / CARD).read_bytes() == (model / CARD).read_bytes()
    record = json.loads((folder / "export.json").read_text())
    settings = Exports.model_validate({name: SETTINGS.get(name, {}) | more}).asked[name]
    assert record == {"format": name, "settings": settings.model_dump(), "strategy": "s", "winner": "f" * 64}
    answerer, images = meltpoint.load(folder), noise(7)
    wanted, said = open_answerer(model).probabilities(images), answerer.probabilities(images)
    assert list(said) == list(wanted)
    for head, own in said.items():
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, wanted[head], atol=settings.tolerance)
        np.testing.assert_allclose(answerer.probabilities(images[3:4])[head], own[3:4], atol=1e-5)
    if settings.resize:
        pictures = [photo(height, width) for height, width in ((70, 90), (96, 33))]
        wanted = open_answerer(model).probabilities(np.stack([resize(one, CARDS[kind].images) for one in pictures]))
        for head, own in answerer.probabilities(pictures).items():
            np.testing.assert_allclose(own, wanted[head], atol=max(settings.tolerance, 0.01))
        if kind == "plain":
            check_parts(folder, tmp_path, capsys)


WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import numpy as np
import meltpoint

for folder in sys.argv[1:]:
    model = meltpoint.load(folder)
    bad, good = model.predict([b"no picture", np.zeros((40, 50, 3), np.uint8)])
    print(bad.error, good.error, [one.label for one in good.heads.values()])
"""


def test_onnx_answers_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    model, folder = export(CARDS["tree"], "onnx", tmp_path)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = open_answerer(model).predict(np.zeros((40, 50, 3), np.uint8))
    assert not isinstance(wanted, list)
    assert done.stdout.splitlines() == [f"not an image None {[one.label for one in wanted.heads.values()]}"]
