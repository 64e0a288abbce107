import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from meltpoint.images.views import open_views
from meltpoint.model.backbones import build_backbone
from meltpoint.model.model import Model, build_model, load_model
from meltpoint.model.trained_on import read_trained_on
from meltpoint.params.read import Params
from meltpoint.train.embed import embed
from meltpoint.train.history_file import read_history, write_curves
from meltpoint.train.losses import Losses, TrainingError
from meltpoint.train.probe import Fit
from meltpoint.train.problem import build_problem
from meltpoint.train.strategies.finetune import unfreeze
from meltpoint.train.strategy import Inputs, InputsError, Trained, train_strategy
from meltpoint.train.training_fingerprint import fingerprint_training

Change = Callable[[dict[str, Any]], None]
RECALL = {"metric": "recall", "at_least": 0.7}  # 9 images of val can show it
WARMTH = {"red": "warm", "green": "cold", "blue": "cold"}


def tuned(**fields: Any) -> Change:
    return lambda raw: raw["strategies"]["finetune"].update(fields)


def train(scene: Any, name: str, folder: str = "model", change: Change = lambda raw: None) -> Trained:
    return train_strategy(scene.recipe(name, change), scene.inputs, Path(folder), Path("others"))


def history(folder: str = "model") -> list[dict[str, Any]]:
    return list(read_history(Path(folder) / "history.jsonl"))


def val_accuracy(model: Model, inputs: Inputs, params: Params) -> float:
    problem = build_problem(inputs.views, params.recipe("finetune"))
    with torch.no_grad():
        outputs = model(torch.from_numpy(inputs.views.plain[problem.val.rows]))
    answers = problem.objectives["shade"].decode(outputs["shade"]).argmax(-1)
    return float((answers == problem.val.targets["shade"]).double().mean())


@pytest.fixture(scope="module")
def finetuned(scene: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fine-tuned without interruption."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("finetuned")
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELTPOINT_TRACKING", "off")
        patch.setenv("ACCELERATE_USE_CPU", "true")
        train(scene, "finetune")
    os.chdir(here)
    return folder / "model"


def test_frozen_leaves_a_model_that_predicts_as_its_history_says(scene: Any) -> None:
    trained = train(scene, "frozen")
    assert sorted(path.name for path in Path("model").iterdir()) == [
        "card.json",
        "history.jsonl",
        "manifest.json",
        "model.safetensors",
        "trained_on.parquet",
    ]
    model, card = load_model(Path("model"))
    assert val_accuracy(model, scene.inputs, scene.params()) == history()[-1]["val/shade/accuracy"]
    assert (card.strategy, card.main_head, card.metric, card.data) == ("frozen", "shade", "accuracy", "some views")
    assert card.trainable_parameters == trained.costs["trainable_parameters"] < trained.costs["parameters"]
    assert trained.costs["epochs"] == 4
    assert card.depths == {}
    assert trained.costs["seconds"] > 0
    assert "accuracy shade" in trained.sentence
    assert not list(Path(".checkpoints").iterdir())


def test_the_folder_says_what_was_learnt_from_and_its_manifest_says_so_too(finetuned: Path, scene: Any) -> None:
    samples, seen = scene.inputs.views.samples, read_trained_on(finetuned)
    assert seen is not None
    assert sorted(seen["sha256"]) == sorted(samples["sha256"][samples["split"] != "test"])
    assert seen["sha256"].is_unique
    assert set(seen["split"]) == {"train", "val"}
    assert "trained_on.parquet" in (finetuned / "manifest.json").read_text()


def test_curves_are_a_row_a_validation(finetuned: Path) -> None:
    write_curves(finetuned / "history.jsonl", Path("curves.csv"))
    curves = pd.read_csv("curves.csv")
    assert curves["epoch"].tolist() == [0, 1, 2, 3]
    assert curves["val_shade_accuracy"].between(0, 1).all()


def test_finetuning_starts_where_frozen_heads_ended(scene: Any, finetuned: Path) -> None:
    train(scene, "frozen")
    start = next(read_history(finetuned / "history.jsonl"))
    assert start["epoch"] == 0
    assert start["val/loss"] == pytest.approx(history()[-1]["val/loss"], rel=1e-3)
    assert start["val/shade/accuracy"] == history()[-1]["val/shade/accuracy"]


def test_the_best_epochs_weights_are_kept(scene: Any, finetuned: Path) -> None:
    model, card = load_model(finetuned)
    best = max(line["val/shade/accuracy"] for line in read_history(finetuned / "history.jsonl") if "val/loss" in line)
    assert val_accuracy(model, scene.inputs, scene.params()) == best
    assert card.trainable_parameters == sum(value.numel() for value in model.parameters())


def test_batch_norm_stays_still_and_the_rest_learns(scene: Any) -> None:
    train(scene, "frozen", "frozen")
    train(scene, "finetune", "tuned", tuned(ema=0.0, epochs=1, lr=0.1))
    before, after = (load_model(Path(name))[0].state_dict() for name in ("frozen", "tuned"))
    still = {name for name, value in before.items() if torch.equal(value, after[name])}
    moved = before.keys() - still
    if max(line["epoch"] for line in history("tuned")) == 0:
        pytest.fail("it did not train")
    assert all("running" in name or name.endswith(("tracked", "mean", "std")) for name in still) or not moved


def test_only_the_last_stage_learns(scene: Any) -> None:
    trained = train(scene, "finetune", change=tuned(unfreeze=1, epochs=1))
    whole = train(scene, "finetune", "whole", tuned(epochs=1))
    assert trained.costs["trainable_parameters"] < whole.costs["trainable_parameters"] == whole.costs["parameters"]


def test_the_backbone_has_a_rate_of_its_own(scene: Any) -> None:
    params = scene.params(tuned(lr=0.01, backbone_lr=0.001, layer_decay=0.5))
    strategy = params.strategies["finetune"]
    model = build_model(params.encoders["lite0"], params.heads, {"shade": 1, "colour": 3}, scene.inputs.views.size)
    scales = unfreeze(model, strategy)
    for depth, names in enumerate(reversed(model.backbone.stages())):
        own = [scales[f"backbone.{name}"] for name in names]
        assert own == pytest.approx([0.1 * 0.5**depth] * len(own))
    assert {scale for name, scale in scales.items() if name.startswith("heads")} == {1.0}
    even = unfreeze(model, scene.params(tuned(layer_decay=1.0)).strategies["finetune"])
    assert set(even.values()) == {1.0}


@pytest.mark.slow
def test_killed_and_continued_it_ends_with_the_same_bytes(
    scene: Any, finetuned: Path, kill_training: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_training(scene.recipe(), scene.folder, 'step == 5 and "train/loss" in metrics')
    trained = train(scene, "finetune")
    assert "continuing from step 4 of 9" in capsys.readouterr().out
    assert trained.costs["epochs"] == 3
    for name in ("model.safetensors", "card.json", "history.jsonl"):
        assert (Path("model") / name).read_bytes() == (finetuned / name).read_bytes()
    assert not list(Path(".checkpoints").iterdir())


@pytest.mark.slow
def test_two_processes_agree_with_one(scene: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def change(processes: int) -> Change:
        def both(raw: dict[str, Any]) -> None:
            del raw["heads"]["colour"]  # its missing label counts differently in parts
            raw["train"]["processes"] = processes

        return both

    train(scene, "finetune", "one", change(1))
    capfd.readouterr()
    trained = train(scene, "finetune", "two", change(2))
    printed = capfd.readouterr()
    one, two = history("one"), history("two")
    assert len(one) == len(two)
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=0.02)
    assert trained.costs["epochs"] == 3
    assert printed.out.count("epoch 3 of 3: val loss") == 1
    assert "Warning" not in printed.err
    assert not list(Path(".checkpoints").iterdir())


def test_a_loss_that_is_no_number_stops_the_training(scene: Any) -> None:
    with pytest.raises(
        TrainingError, match=r"The loss is \S+ in step \d+, epoch \d+, with the learning rate"
    ) as caught:
        train(scene, "finetune", change=tuned(lr=1e30, clip=1e30, warmup=0.0))
    ids = scene.inputs.views.samples["id"].astype(str).tolist()
    named = str(caught.value).split("with the ids ")[1].split(":")[0].split(", ")
    assert len(named) == 12
    assert set(named) <= set(ids)
    assert f"{named[0]}: {named[0]}.png" in str(caught.value)


def test_without_progress_it_stops_early(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train(
        scene, "finetune", change=tuned(lr=0.5, clip=100.0, ema=0.0, epochs=30, patience=2, weight_decay=0.0)
    )
    assert 2 <= trained.costs["epochs"] < 30
    assert "no better for 2 epochs: stopping" in capsys.readouterr().out


def test_accumulated_batches_are_a_larger_batch(scene: Any) -> None:
    def change(**fields: Any) -> Change:
        def both(raw: dict[str, Any]) -> None:
            del raw["heads"]["colour"]  # its missing label counts differently in parts
            tuned(epochs=1, ema=0.0, **fields)(raw)

        return both

    train(scene, "finetune", "large", change(batch=20))
    train(scene, "finetune", "parts", change(batch=10, accumulate=2))
    large, parts = history("large"), history("parts")
    assert len(large) == len(parts) == 4
    for one, two in zip(large, parts, strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_an_average_of_weights_is_judged(scene: Any) -> None:
    train(scene, "finetune", "raw", tuned(ema=0.0))
    train(scene, "finetune", "mean", tuned(ema=0.9))
    raw, mean = ([line["val/loss"] for line in history(name) if "val/loss" in line] for name in ("raw", "mean"))
    assert raw[0] == mean[0]
    assert abs(mean[1] - mean[0]) < abs(raw[1] - raw[0])


def test_settings_that_change_no_result_keep_the_key(scene: Any) -> None:
    def key(change: Change = lambda raw: None) -> str:
        return fingerprint_training(scene.recipe(change=change), "views", "features")

    assert key() == key(lambda raw: raw["train"].update(workers=3, checkpoint_steps=77))
    assert key() == key(lambda raw: raw["strategies"]["frozen"]["probe"].update(epochs=9))
    assert key() == key(tuned(repeats=3))
    assert key() == key(lambda raw: raw["heads"]["shade"].update(unknown=0.9, threshold=RECALL))
    changes: list[Change] = [
        tuned(lr=0.123),
        lambda raw: raw.update(seed=6),
        lambda raw: raw["train"].update(processes=2),
        lambda raw: raw["compare"].update(metric="f1"),
        lambda raw: raw["heads"]["colour"].update(target="ordinal"),
        tuned(sampling="balanced"),
        tuned(backbone_lr=0.123),
        tuned(schedule="poly"),
    ]
    assert len({key(), *map(key, changes), fingerprint_training(scene.recipe("finetune"), "other", "features")}) == 10


def wishes(raw: dict[str, Any]) -> None:
    """A head of each sort: two classes by a threshold, steps in their order, and a tree of two levels."""
    raw["data"]["labels"]["warmth"] = {"kind": "names", "column": "warmth", "classes": ["warm", "cold"]}
    colour = raw["heads"]["colour"]
    raw["heads"] = {
        "shade": {**raw["heads"]["shade"], "threshold": RECALL, "class_weights": {"light": 2.0}},
        "warmth": {**colour, "label": "warmth"},
        "colour": {**colour, "unknown": {"coverage": 0.5}},
        "steps": {**colour, "target": "ordinal", "where": {"label": "shade", "is_in": ["light"]}, "unknown": 0.05},
    }
    raw["task"]["tree"] = {"levels": ["warmth", "colour"], "parents": None}
    for strategy in raw["strategies"].values():
        strategy["sampling"] = "balanced"


@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_the_card_says_how_to_answer(scene: Any, name: str) -> None:
    views = scene.inputs.views
    samples = views.samples.assign(warmth=views.samples["colour"].map(WARMTH).astype("string"))
    views = replace(views, samples=samples, classes={**views.classes, "warmth": ["warm", "cold"]})
    train_strategy(scene.recipe(name, wishes), replace(scene.inputs, views=views), Path("model"), Path("others"))
    model, card = load_model(Path("model"))
    assert card.tree is not None
    assert card.tree.parents == {"colour": WARMTH}
    assert {head: own.outputs for head, own in card.heads.items()} == {"shade": 1, "warmth": 1, "colour": 3, "steps": 2}
    names = {"de": {"red": "rot", "green": "grün", "blue": "blau"}}
    assert {head: own.names for head, own in card.heads.items()} == {
        "shade": {}, "warmth": {}, "colour": names, "steps": names,
    }  # fmt: skip
    assert {head for head, own in card.heads.items() if own.threshold is not None} == {"shade"}
    assert {head for head, own in card.heads.items() if own.unknown_below is not None} == {"colour", "steps"}
    rows = views.rows("val")
    with torch.no_grad():
        probabilities = model(torch.from_numpy(views.plain[rows]))["shade"].sigmoid()[:, 0]
    light = (samples["shade"].iloc[rows] == "light").to_numpy(bool)
    assert (probabilities.numpy()[light] >= card.heads["shade"].threshold).all()


@pytest.mark.parametrize(("sampling", "share"), [("balanced", 0.5), ("shuffled", 4 / 41)])
def test_a_rare_class_fills_its_share_of_the_batches(
    scene: Any, monkeypatch: pytest.MonkeyPatch, sampling: str, share: float
) -> None:
    """Of the probe's, and of the fine-tuning's."""
    views = scene.inputs.views
    rare = [*views.rows("train")[:4], *views.rows("val")[:4]]
    shades = pd.Series("dark", views.samples.index, dtype="string")
    shades.iloc[rare] = "light"
    inputs = replace(scene.inputs, views=replace(views, samples=views.samples.assign(shade=shades)))
    seen: dict[str, list[float]] = {"probe": [], "finetune": []}
    batches, call = Fit.batches, Losses.__call__

    def probing(self: Fit, epoch: int) -> Any:
        for batch in batches(self, epoch):
            seen["probe"] += self.problem.train.targets["shade"][batch.numbers].tolist()
            yield batch

    def tuning(self: Losses, outputs: Any, numbers: torch.Tensor, masks: None) -> torch.Tensor:
        seen["finetune"] += self.targets["shade"][numbers].tolist()
        return call(self, outputs, numbers, masks)

    monkeypatch.setattr(Fit, "batches", probing)
    monkeypatch.setattr(Losses, "__call__", tuning)
    recipe = scene.recipe(change=tuned(sampling=sampling, epochs=4))
    train_strategy(recipe, inputs, Path("model"), Path("others"))
    assert len(seen["probe"]) == 4 * 41
    assert len(seen["finetune"]) == 4 * 36
    assert {name: sum(rows) / len(rows) for name, rows in seen.items()} == pytest.approx(
        {"probe": share, "finetune": share}, abs=0.07 if sampling == "balanced" else 0.02
    )


def test_the_card_keeps_the_scale_of_deep_pictures(scene: Any) -> None:
    views = replace(scene.inputs.views, depths={"integer": [0, 4095]})
    recipe = scene.recipe("frozen")
    train_strategy(recipe, replace(scene.inputs, views=views), Path("deep"), Path("deep-repeats"))
    assert load_model(Path("deep"))[1].depths == {"integer": (0, 4095)}


def test_missing_names_are_told(scene: Any, tmp_path: Path) -> None:
    for name in ("views", "features"):
        (tmp_path / name).symlink_to(scene.folder / name)
    with pytest.raises(InputsError, match=r"names\.json.*dvc repro download"):
        Inputs.below(tmp_path, scene.recipe())


def test_costs_are_numbers_for_json(scene: Any) -> None:
    costs = train(scene, "frozen").costs
    assert json.loads(json.dumps(costs)) == costs
    assert set(costs) == {
        "seconds",
        "seconds_all_repeats",
        "peak_megabytes",
        "epochs",
        "labelled_images",
        "parameters",
        "trainable_parameters",
    }


@pytest.mark.slow
def test_views_made_on_the_fly_in_workers_are_those_made_at_home(scene: Any) -> None:
    shutil.copytree(scene.folder / "views", "fly/views")
    Path("fly/views/s128/augmented.npy").unlink()
    Path("fly/views/s128/views.json").write_text(json.dumps({"size": 32, "count": 0, "fingerprint": "fly"}))
    for name in ("w.safetensors", "names.json", "descriptions.json"):
        shutil.copy(scene.folder / name, "fly")
    fly = type(scene)(Path("fly"))
    params = fly.params()
    backbone = build_backbone(params.encoders["lite0"], {"final"}, 32)
    embed(backbone, open_views(Path("fly/views/s128")), params.embed, Path("fly/features/lite0"))
    for workers in (0, 2):
        train(fly, "finetune", f"by{workers}", change=lambda raw, n=workers: raw["train"].update(workers=n))
    assert Path("by0/model.safetensors").read_bytes() == Path("by2/model.safetensors").read_bytes()
    train(scene, "finetune", "stored")
    assert history("stored")[1] != history("by0")[1]
