"""Versions that predict masks: shown with their scores, scored again on today's masks, and gated on mean IoU."""

import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from finished_pipeline import House, enter_copy
from PIL import Image
from torch.nn.functional import cross_entropy

from meltpoint.files import read_json, write_json
from meltpoint.images.augment import build_transform
from meltpoint.images.views import open_views, write_views
from meltpoint.model.backbones import build_backbone
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.manifest import write_manifest
from meltpoint.model.model import Model, build_heads, save_model
from meltpoint.params.read import Params
from meltpoint.registry.gate import Verdict
from meltpoint.registry.golden_answers import AnswersError, check_golden_answers, write_golden_answers
from meltpoint.registry.rescoring import rescore
from meltpoint.shards import open_shards, write_shards
from meltpoint.tables import check_samples, pixel_column, read_counts
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.segmentation.metrics import judge
from meltpoint.tasks.segmentation.registry import score_again
from meltpoint.tasks.segmentation.report import write_report
from meltpoint.tracking.database import make_database
from meltpoint.tracking.run_metrics import read_scores
from meltpoint.tracking.store import open_store

ROOT = Path(__file__).parents[3]
NAMES = ["dark", "light"]
COLOURS = ["#203040", "#e0d060"]
CLASSES = {"scene": NAMES}
IMAGES = 12


class MaskHouse(House):
    """A folder in which every stage before `register` has run for masks."""

    def rescore(self, champion: str, strategy: str = "frozen") -> Verdict:
        """What the gate says of a strategy, were another one's model the champion."""
        return rescore(
            self.state, strategy, self.folder / "models" / champion, "the champion", self.params.gate
        ).verdict

    def train(self, strategy: str, seed: int, steps: int = 0) -> None:
        """Write models/`strategy`, its head trained for some steps, and its reports."""
        torch.manual_seed(seed)
        params, views = self.params, open_views(self.folder / "data" / "views" / "s128")
        reads = {name: head.reads for name, head in params.heads.items()}
        backbone = build_backbone(params.encoders["lite0"], set(reads.values()), views.size)
        heads = build_heads(params.heads, backbone, {"scene": 2})
        model = Model(backbone, heads, reads)
        teach(model, torch.from_numpy(np.array(views.plain)), torch.from_numpy(np.array(views.masks)), steps)
        own = HeadCard(
            head=params.heads["scene"], classes=NAMES, outputs=2, threshold=None, unknown_below=None, names={},
            colours=COLOURS,
        )  # fmt: skip
        card = Card(
            format=FORMAT, strategy=strategy, encoder="lite0", views="s128", task="segmentation",
            backbone=params.encoders["lite0"].backbone, images=params.views["s128"].geometry,
            max_megapixels=10, mean=backbone.mean, std=backbone.std, heads={"scene": own}, tree=None,
            main_head="scene", metric="miou", key=f"{seed:064d}", data=views.fingerprint, seed=seed, licence="none",
            trainable_parameters=seed, versions={"torch": "2"},
        )  # fmt: skip
        folder, reports = self.folder / "models" / strategy, self.folder / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history.jsonl").write_text(json.dumps({"step": 1, "epoch": 1, "train/loss": 0.5}) + "\n")
        save_model(model, card, folder)
        write_json(reports / "costs" / f"train-{strategy}.json", {"seconds": 5.0, "peak_megabytes": 9.0})
        predictor = open_answerer(folder)
        said = predictor.predict_views(views, ("val", "test"), 16)
        judgement = judge(said, card, params.evaluate)
        write_report(said, judgement, views, predictor, params.evaluate, reports / "strategies" / strategy)

    def decide(self, winner: str, verdict: str = "ship") -> None:
        reports = self.folder / "reports"
        cost = {"train_seconds": 5.0, "latency_p50_ms": 1.0, "megabytes": 0.1, "trainable_parameters": 10.0}
        names = ("frozen", "finetune")
        metrics = {name: read_json(reports / "strategies" / name / "metrics.json") for name in names}
        rows = [{"name": name, "metrics": metrics[name], "intervals": {}, "cost": cost} for name in names]
        decision = {"winner": winner, "verdict": verdict, "sentence": "Ship it.", "main_head": "scene",
                    "metric": "miou", "strategies": rows, "spread": None}  # fmt: skip
        write_json(reports / "compare.json", decision)


def teach(model: Model, images: torch.Tensor, masks: torch.Tensor, steps: int) -> None:
    """Fit the head to all images."""
    model.eval()
    with torch.no_grad():
        features = model.features(images)
    optimiser = torch.optim.AdamW(model.heads.parameters(), lr=0.05)
    for _ in range(steps):
        loss = cross_entropy(model.outputs(features)["scene"], masks.long(), ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def small_params() -> dict[str, Any]:
    """The default preset for masks, with a tiny backbone."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
    places: dict[str, Any] = {"images": {"all": "images"}, "masks": {"all": "masks"}}
    params["data"]["source"] = {"kind": "masks", "path": "somewhere", **places, "mask_name": "{stem}.png"}
    classes = {name: {"id": number, "colour": COLOURS[number]} for number, name in enumerate(NAMES)}
    params["data"]["labels"] = {
        "scene": {"kind": "mask", "column": "mask", "pixels": "ids", "classes": classes, "void": [255]}
    }
    params["task"] = {"kind": "segmentation"}
    params["views"]["s128"] = {"side": 32, "resize": "squash", "interpolation": "area"}
    params["encoders"]["lite0"] |= {"name": "test_efficientnet", "weights": {"kind": "random"}, "std": [0.25] * 3}
    params["heads"] = {"scene": {"kind": "dense_linear", "label": "scene", "taps": [-1, -2]}}
    params["evaluate"] |= {"worst": 2}
    params["compare"] |= {"metric": "miou", "margin": 1.0}
    params["register"] = {"name": "scenes", "floors": {"scene/miou": 0.0}}
    return params


def write_images(folder: Path, params: Params) -> None:
    """Noise, light where the mask says so; the masks have a void corner."""
    rng, rows, files = np.random.default_rng(0), [], dict[str, bytes]()
    for number in range(IMAGES):
        mask = np.zeros((40, 48), np.uint8)
        mask[:, int(rng.integers(8, 40)) :] = 1
        image = rng.integers(0, 100, (40, 48, 3)) + 120 * mask[..., None]
        mask[:6, :6] = 255
        for kind, pixels in (("images", image.astype(np.uint8)), ("masks", mask)):
            content = BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            files[f"{kind}/{number}.png"] = content.getvalue()
        split = ("train", "val", "test", "test")[number % 4]
        rows.append({"id": number, "path": f"images/{number}.png", "scene": "dark|light",
                     "scene.mask": f"masks/{number}.png", "split": split, "group": f"g{number}"})  # fmt: skip
    samples = pd.DataFrame(rows).assign(width=48, height=40, sha256="0")
    write_json(folder / "data" / "classes.json", CLASSES)
    images, table = params.views["s128"].geometry, check_samples(samples, CLASSES)
    views, transform = folder / "data" / "views" / "s128", build_transform([], images)
    write_shards([files], folder / "data" / "raw")
    read = open_shards(folder / "data" / "raw").read
    write_views(read, table, CLASSES, images, transform, 0, 1, views, {"scene": COLOURS})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    house = MaskHouse(tmp_path_factory.mktemp("finished"))
    (house.folder / "params.yaml").write_text(yaml.safe_dump(small_params(), sort_keys=False))
    write_images(house.folder, house.params)
    house.train("frozen", 1, steps=30)
    house.train("finetune", 2)
    house.decide("frozen")
    make_database(house.folder)
    return house.folder


@pytest.fixture
def scene(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MaskHouse:
    return MaskHouse(enter_copy(finished, tmp_path, monkeypatch))


def test_scores_are_named_by_head_metric_and_class(scene: MaskHouse) -> None:
    scores = read_scores(scene.folder, "frozen")
    known = read_json(scene.folder / "reports/strategies/frozen/metrics.json")["val"]["scene"]
    assert scores["val/scene/miou"] == known["miou"]
    assert scores["val/scene/iou/light"] == known["classes"]["light"]["iou"]
    assert {"test/scene/dice", "test/scene/boundary_f1", "test/scene/iou/dark"} <= set(scores)


def test_a_version_of_masks_is_made_and_shown(scene: MaskHouse) -> None:
    outcome, store = scene.register(), open_store("scenes")
    assert outcome.alias == "champion"
    run = store.client.search_runs([store.experiment], "tags.strategy = 'frozen'")[0]
    assert {"test/scene/miou", "test/scene/iou/light", "cost/latency_p50_ms"} <= set(run.data.metrics)
    charts = [info.path for info in store.client.list_artifacts(run.info.run_id, "images")]
    assert {path.split("/")[-1].split("+")[0] for path in charts} == {"confusion", "iou", "overlays"}
    table = json.loads(next((scene.folder / "mlruns").rglob("test_mistakes.json")).read_text())
    assert table["columns"] == ["photograph", "iou", "error", "path", "id"]
    assert len(table["data"]) == 2
    assert "| mean IoU |" in run.data.tags["mlflow.note.content"]
    assert scene.register().sentence == "scenes version 1 (frozen) is the champion already"


def test_the_champion_is_scored_again_on_todays_masks(scene: MaskHouse) -> None:
    verdict = scene.rescore("finetune")
    said = {name: read_scores(scene.folder, name)["test/scene/miou"] for name in ("frozen", "finetune")}
    told = f"{said['frozen']:.1%} mean IoU on scene against the champion's {said['finetune']:.1%} on 6 test images"
    assert verdict.why.startswith(told)
    assert verdict.passed


def test_a_loss_beyond_the_margin_does_not_pass(scene: MaskHouse) -> None:
    scene.edit(lambda raw: raw["compare"].update(margin=0.0))
    assert not scene.rescore("frozen", "finetune").passed
    same = scene.rescore("finetune", "finetune")
    assert not same.passed, "six images rule nothing out"
    assert "(0.0, " in same.why
    scene.edit(lambda raw: raw["compare"].update(margin=0.5))
    assert scene.rescore("finetune", "finetune").passed


def test_another_geometry_is_counted_on_todays_pixels(scene: MaskHouse) -> None:
    """A champion that looks at the pictures by another interpolation nearly agrees with what it said of the views."""
    champion = open_answerer(scene.folder / "models" / "frozen")
    table = read_counts(scene.folder / "reports/strategies/frozen/predictions.parquet", CLASSES)
    before = table[table["split"] == "test"].set_index("id")
    scene.edit(lambda raw: raw["views"]["s128"].update(interpolation="bicubic"))
    said = score_again(champion, scene.folder, scene.params.views, "miou", 16)
    again = said.set_index("id").loc[before.index]
    hits, missed = (
        [pixel_column("scene", "tp", name) for name in NAMES], [pixel_column("scene", "fn", name) for name in NAMES]
    )  # fmt: skip
    assert (
        again[hits].to_numpy() + again[missed].to_numpy() == before[hits].to_numpy() + before[missed].to_numpy()
    ).all()
    pixels = before[hits + missed].to_numpy().sum()
    assert np.abs(again[hits].to_numpy() - before[hits].to_numpy()).sum() < 0.1 * pixels


def test_another_task_is_refused_unless_other_labels_are_allowed(scene: MaskHouse) -> None:
    champion = scene.folder / "models" / "finetune"
    card = read_json(champion / "card.json")
    write_json(champion / "card.json", card | {"task": "classification"})
    write_manifest(champion)
    verdict = scene.rescore("finetune")
    assert not verdict.passed
    assert "it was classification and is segmentation" in verdict.why
    scene.edit(lambda raw: raw["register"].update(new_labels=True))
    assert scene.rescore("finetune").passed


def test_masks_are_held_against_those_of_the_registration(scene: MaskHouse) -> None:
    version = scene.folder / "artifacts" / "model"
    shutil.copytree(scene.folder / "models" / "frozen", version)
    write_golden_answers(version, open_views(scene.folder / "data" / "views" / "s128"), version.with_name("check"))
    assert set(read_json(version.with_name("check") / "expected.json")[0]) == {"scene.mask"}
    check_golden_answers(version)
    shutil.rmtree(version)
    shutil.copytree(scene.folder / "models" / "finetune", version)
    with pytest.raises(AnswersError, match=r"picture 0: scene gives \d+\.\d% of the pixels another class"):
        check_golden_answers(version)
