"""Masks, from views to a model: shapes of three colours on noise, whose right answer is known."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file

from meltpoint.images.views import open_views
from meltpoint.metrics import from_pixels
from meltpoint.model.backbones import build_backbone
from meltpoint.model.model import Model, load_model
from meltpoint.params.read import Params, parse_params
from meltpoint.params.recipe import Recipe
from meltpoint.tables import mask_column, say_present
from meltpoint.tasks.segmentation.objective import count_pixels
from meltpoint.train.batches import choose_views
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import embed
from meltpoint.train.history_file import read_history
from meltpoint.train.job import Job
from meltpoint.train.losses import Losses
from meltpoint.train.probe import Fit, probe
from meltpoint.train.problem import build_problem
from meltpoint.train.strategy import Inputs, Trained, train_strategy

PRESET = Path(__file__).parents[2] / "presets" / "elpv.yaml"
CLASSES = ["noise", "square", "disc"]
COLOURS = ["#000000", "#dd3311", "#1133dd"]
SIZE, VIEWS, IMAGES, VOID = 32, 1, 44, 255

Change = Callable[[dict[str, Any]], None]


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A red square and a blue disc on grey noise, in a frame of void."""
    image, mask = rng.normal(128, 20, (SIZE, SIZE, 3)), np.zeros((SIZE, SIZE), np.uint8)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for number, colour in ((1, (90, -90, -90)), (2, (-90, -90, 90))):
        top, left, side = (int(value) for value in rng.integers((1, 1, 9), (16, 16, 15)))
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        if number == 2:
            inside &= (rows - top - side / 2) ** 2 + (columns - left - side / 2) ** 2 <= (side / 2) ** 2
        mask[inside] = number
        image[inside] = rng.normal(128, 20, (inside.sum(), 3)) + colour
    mask[[0, -1]] = mask[:, [0, -1]] = VOID
    return image.clip(0, 255).astype(np.uint8), mask


def write_views(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    images, masks = (np.stack(parts) for parts in zip(*(draw(rng) for _ in range(IMAGES)), strict=True))
    split = rng.permutation(np.repeat(["train", "val", "test"], [27, 9, 8]))
    ids = np.arange(IMAGES) * 3 + 1
    shown = [say_present(name for number, name in enumerate(CLASSES) if (mask == number).any()) for mask in masks]
    samples = pd.DataFrame({"id": ids, "path": [f"{number}.png" for number in ids], "scene": shown})
    samples[mask_column("scene")] = [f"masks/{number}.png" for number in ids]
    samples = samples.assign(group="image:" + samples["path"], split=split, width=SIZE, height=SIZE, sha256="0")
    folder.mkdir(parents=True)
    np.save(folder / "plain.npy", images)
    np.save(folder / "masks.npy", masks)
    if count:
        np.save(folder / "augmented.npy", images[split == "train"][:, None, :, ::-1])
        np.save(folder / "augmented_masks.npy", masks[split == "train"][:, None, :, ::-1])
    samples.to_csv(folder / "samples.csv", index=False)
    (folder / "classes.json").write_text(json.dumps({"scene": CLASSES}))
    facts = {"size": SIZE, "count": count, "fingerprint": f"shapes {count}", "palettes": {"scene": COLOURS}}
    (folder / "views.json").write_text(json.dumps(facts))


@dataclass(frozen=True)
class Shapes:
    """A folder with views, features and pretrained weights of a tiny backbone; `params` fit them."""

    folder: Path

    @property
    def inputs(self) -> Inputs:
        return Inputs.below(self.folder, self.recipe())

    def recipe(self, name: str = "finetune", change: Change = lambda raw: None) -> Recipe:
        return self.params(change).recipe(name)

    def params(self, change: Change = lambda raw: None) -> Params:
        raw: dict[str, Any] = yaml.safe_load(PRESET.read_text())
        raw["task"], raw["seed"] = {"kind": "segmentation"}, 5
        raw["views"]["s128"] |= {"side": SIZE, "copies": VIEWS, "transforms": [{"HorizontalFlip": {"p": 1.0}}]}
        raw["data"]["source"] = {
            "kind": "masks", "path": "x", "images": {"all": "images"}, "masks": {"all": "masks"}, "lists": None,
            "mask_name": "{stem}.png",
        }  # fmt: skip
        classes = {name: {"id": number, "colour": COLOURS[number]} for number, name in enumerate(CLASSES)}
        raw["data"]["labels"] = {
            "scene": {"kind": "mask", "column": "mask", "pixels": "ids", "classes": classes, "void": [VOID]}
        }
        raw["heads"] = {
            "scene": {
                "kind": "dense_conv", "label": "scene", "taps": [0, 1, -1], "weight": 1.0, "class_weights": "none",
                "dice": 0.5, "main": True, "hidden": 16,
            }
        }  # fmt: skip
        weights = {"kind": "file", "path": str(self.folder / "w.safetensors"), "match": "name", "licence": "x"}
        raw["encoders"]["lite0"] |= {
            "name": "test_efficientnet", "weights": weights, "mean": [0.5] * 3, "std": [0.25] * 3,
        }  # fmt: skip
        raw["train"] |= {"threads": 1, "checkpoint_steps": 2, "precision": "fp32"}
        learning = {
            "epochs": 6, "batch": 9, "lr": 0.01, "schedule": "poly", "weight_decays": [0.0, 0.1],
            "label_smoothing": 0.0,
        }  # fmt: skip
        raw["strategies"]["frozen"]["probe"] = dict(learning)
        raw["strategies"]["finetune"] |= {
            "probe": learning | {"epochs": 2}, "epochs": 4, "batch": 9, "lr": 0.01, "backbone_lr": 0.003,
            "schedule": "poly", "patience": 50, "warmup": 0.1, "layer_decay": 1.0, "weight_decay": 0.01, "ema": 0.0,
            "accumulate": 1, "unfreeze": "all", "clip": 5.0, "label_smoothing": 0.0,
        }  # fmt: skip
        raw["compare"]["metric"], raw["register"]["floors"] = "miou", {}
        change(raw)
        return parse_params(raw, "test")


def prepare(folder: Path, count: int, max_gb: float = 1.0) -> Shapes:
    made = Shapes(folder)
    write_views(folder / "views" / "s128", count)
    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet", num_classes=0)
    images = torch.from_numpy(np.load(folder / "views" / "s128" / "plain.npy")).permute(0, 3, 1, 2).float() / 64 - 2
    for module in net.modules():  # as if pretrained: statistics are those of the images
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(images)
    save_file(net.state_dict(), folder / "w.safetensors")
    (folder / "names.json").write_text("{}")
    (folder / "descriptions.json").write_text("{}")
    params = made.params()
    backbone = build_backbone(params.encoders["lite0"], params.readings("lite0"), SIZE)
    settings = params.embed.model_copy(update={"max_gb": max_gb})
    embed(backbone, open_views(folder / "views" / "s128"), settings, folder / "features" / "lite0")
    return made


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return prepare(tmp_path_factory.mktemp("shapes"), VIEWS)


def train(shapes: Shapes, name: str, folder: str = "model", change: Change = lambda raw: None) -> Trained:
    return train_strategy(shapes.recipe(name, change), shapes.inputs, Path(folder), Path("others"))


def frozen_job(shapes: Shapes, change: Change = lambda raw: None) -> Job[Any]:
    recipe, inputs = shapes.recipe("frozen", change), shapes.inputs
    return Job(recipe, inputs.views, inputs.features, build_problem(inputs.views, recipe), Checkpoint(Path("probed")))


def history(folder: str = "model") -> list[dict[str, Any]]:
    return list(read_history(Path(folder) / "history.jsonl"))


def val_scores(model: Model, inputs: Inputs) -> dict[str, float]:
    views = inputs.views
    rows = views.rows("val")
    assert views.masks is not None
    with torch.no_grad():
        outputs = model(torch.from_numpy(views.plain[rows]))["scene"]
    counts = count_pixels(outputs, torch.from_numpy(views.masks[rows])).sum(0).numpy()
    hits = np.diagonal(counts)
    return {name: float(value) for name, value in from_pixels(hits, counts.sum(0) - hits, counts.sum(1) - hits).items()}


@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_shapes_are_learnt_and_the_model_does_as_its_history_says(shapes: Shapes, name: str) -> None:
    trained = train(shapes, name)
    model, card = load_model(Path("model"))
    found = val_scores(model, shapes.inputs)
    best = max((line for line in history() if "val/loss" in line), key=lambda line: line["val/scene/miou"])
    if name == "frozen":
        best = history()[-1]
    assert {key: best[f"val/scene/{key}"] for key in found} == pytest.approx(found, abs=1e-3)
    assert found["miou"] > (0.6 if name == "frozen" else 0.7)
    assert card.task == "segmentation"
    assert (card.heads["scene"].colours, card.heads["scene"].outputs) == (COLOURS, 3)
    assert (card.heads["scene"].threshold, card.heads["scene"].unknown_below) == (None, None)
    assert "miou" in trained.sentence


def test_finetuning_starts_where_frozen_heads_ended(shapes: Shapes) -> None:
    train(shapes, "frozen", "frozen", lambda raw: raw["strategies"]["frozen"]["probe"].update(epochs=2))
    train(shapes, "finetune", "tuned", lambda raw: raw["strategies"]["finetune"].update(epochs=1))
    assert history("tuned")[0]["val/loss"] == pytest.approx(history("frozen")[-1]["val/loss"], rel=1e-2)


class Stop(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_an_interrupted_training_ends_with_the_same_bytes(
    shapes: Shapes, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shorten(raw: dict[str, Any]) -> None:
        raw["strategies"]["finetune"].update(epochs=2, ema=0.5)

    train(shapes, name, "whole", shorten)
    write = Checkpoint.write

    def interrupt(self: Checkpoint, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        write(self, tensors, facts)
        if facts.get("epoch") == 2 or facts.get("step") == 2:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", interrupt)
        with pytest.raises(Stop):
            train(shapes, name, "part", shorten)
    assert not Path("part").exists()
    capsys.readouterr()
    train(shapes, name, "part", shorten)
    assert "continuing from step" in capsys.readouterr().out
    for file in ("model.safetensors", "card.json", "history.jsonl"):
        assert (Path("part") / file).read_bytes() == (Path("whole") / file).read_bytes()


@pytest.mark.slow
def test_two_processes_agree_with_one(shapes: Shapes) -> None:
    """The 9 images of val are shared out unevenly, and each counts once."""

    def change(processes: int) -> Change:
        def both(raw: dict[str, Any]) -> None:
            raw["train"]["processes"] = processes
            raw["heads"]["scene"]["dice"] = 0.0  # of a batch: its parts have others
            raw["strategies"]["finetune"].update(batch=8, epochs=2)

        return both

    train(shapes, "finetune", "one", change(1))
    train(shapes, "finetune", "two", change(2))
    one, two = history("one"), history("two")
    assert len(one) == len(two)
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=0.05)


def test_features_that_are_not_stored_are_computed_and_learn_the_same(shapes: Shapes, tmp_path: Path) -> None:
    live = tmp_path / "live"
    shutil.copytree(shapes.folder, live, ignore=shutil.ignore_patterns("features"))
    params = shapes.params()
    backbone = build_backbone(params.encoders["lite0"], {params.heads["scene"].reads}, SIZE)
    settings = params.embed.model_copy(update={"max_gb": 1e-9})
    features = embed(backbone, open_views(live / "views" / "s128"), settings, live / "features" / "lite0")
    assert not features.stored
    job = frozen_job(shapes, lambda raw: raw["strategies"]["frozen"]["probe"].update(epochs=2))
    stored, computed = (probe(one, backbone, None) for one in (job, replace(job, features=features)))
    assert computed.scores["scene"] == pytest.approx(stored.scores["scene"], rel=1e-2)
    for name, value in stored.heads.state_dict().items():
        torch.testing.assert_close(computed.heads.state_dict()[name], value, rtol=0.01, atol=0.01)


def test_grids_are_standardised_by_the_training_images(shapes: Shapes) -> None:
    job = frozen_job(shapes)
    features, tap = job.features, job.problem.heads["scene"].reads
    layer = Fit(job, build_backbone(job.recipe.encoder, {tap}, SIZE)).stacked.heads["scene"][0]  # type: ignore[index]
    plain = np.array(features.plain(tap), np.float64)[job.problem.train.rows]
    assert features.plain(tap).dtype == np.float16
    np.testing.assert_allclose(layer.mean.numpy(), plain.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(layer.std.numpy(), plain.std((0, 2, 3)), rtol=1e-4)


def test_the_probe_sees_masks_in_the_view_of_their_features(shapes: Shapes) -> None:
    job = frozen_job(shapes)
    views, problem, features = job.views, job.problem, job.features
    tap = problem.heads["scene"].reads
    fit = Fit(job, build_backbone(job.recipe.encoder, {tap}, SIZE))
    augmented, plain = features.augmented(tap), features.plain(tap)
    assert augmented is not None
    assert views.masks is not None
    assert views.augmented_masks is not None
    seen = set()
    for epoch in range(2):
        for batch in fit.batches(epoch):
            chosen = choose_views(5, epoch, problem.train.ids[batch.numbers], VIEWS)
            seen |= set(chosen.tolist())
            assert batch.masks is not None
            for place, (number, view) in enumerate(zip(batch.numbers, chosen, strict=True)):
                row = problem.train.rows[number]
                mask = views.augmented_masks[number, 0] if view else views.masks[row]
                given = augmented[number, 0] if view else plain[row]
                assert (batch.masks[place].numpy() == mask).all()
                assert (next(iter(batch.features.values()))[place].numpy() == given).all()
    assert seen == {0, 1}


def test_masks_move_with_images_made_on_the_fly(
    shapes: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image is flipped, and so is every mask that the loss sees."""
    fly = prepare(tmp_path / "fly", 0)
    views = fly.inputs.views
    problem = build_problem(views, fly.recipe("finetune"))
    assert views.masks is not None
    shown: list[tuple[NDArray[np.int64], torch.Tensor]] = []
    call = Losses.__call__

    def watch(self: Losses, outputs: Any, numbers: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        shown.append((numbers.numpy(), masks))
        return call(self, outputs, numbers, masks)

    monkeypatch.setattr(Losses, "__call__", watch)
    train(fly, "finetune", change=lambda raw: raw["strategies"]["finetune"].update(epochs=1))
    assert len(shown) == 3
    for numbers, masks in shown:
        assert (masks.numpy() == views.masks[problem.train.rows[numbers]][:, :, ::-1]).all()


def test_balanced_weights_and_draws_are_of_the_training_masks(shapes: Shapes) -> None:
    def balance(raw: dict[str, Any]) -> None:
        raw["heads"]["scene"]["class_weights"] = "balanced"

    views = shapes.inputs.views
    problem = build_problem(views, shapes.recipe(change=balance))
    assert views.masks is not None
    counts = np.bincount(views.masks[problem.train.rows].ravel(), minlength=256)[:3]
    weights = problem.objectives["scene"].class_weights  # type: ignore[attr-defined]
    np.testing.assert_allclose(weights.numpy(), counts.sum() / (3 * counts), rtol=1e-6)
    few = views.samples["scene"].where(views.samples.index.isin(problem.train.rows[:3]), "noise|square")
    problem = build_problem(replace(views, samples=views.samples.assign(scene=few)), shapes.recipe("finetune"))
    drawn = np.concatenate([problem.order(epoch, 1, "balanced") for epoch in range(50)])
    assert np.isin(drawn, [0, 1, 2]).mean() == pytest.approx(0.5, abs=0.05)
