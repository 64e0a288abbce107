"""One recipe trained with several seeds: the first is what it always was, and nothing finished is trained again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from meltpoint.model.card import read_card
from meltpoint.model.model import load_model
from meltpoint.model.repeat_delta import list_repeats, load_repeat
from meltpoint.train import probe
from meltpoint.train.batches import TrainImages
from meltpoint.train.probe import Fit
from meltpoint.train.strategy import SEEDS, Trained, derive_seeds, train_strategy

Change = Callable[[dict[str, Any]], None]


def again(repeats: int, **fields: Any) -> Change:
    """Train that often; `fields` of params.yaml besides."""

    def change(raw: dict[str, Any]) -> None:
        raw.update(fields)
        for strategy in raw["strategies"].values():
            strategy["repeats"] = repeats
        raw["strategies"]["finetune"].update(lr=0.01, backbone_lr=0.01)  # far enough to leave the frozen backbone

    return change


def train(scene: Any, name: str, folder: str, change: Change) -> Trained:
    """Models of the repeats go to `others of <folder>`."""
    return train_strategy(scene.recipe(name, change), scene.inputs, Path(folder), Path(f"others of {folder}"))


def contents(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_seeds_depend_on_the_first_and_on_the_number_alone() -> None:
    assert derive_seeds(7, 1) == [7]
    seeds = derive_seeds(7, 50)
    assert seeds == [*derive_seeds(7, 3), *seeds[3:]]
    assert len(set(seeds)) == 50
    assert not set(seeds[1:]) & set(derive_seeds(8, 50))
    assert all(0 <= seed < SEEDS for seed in seeds)


@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_the_first_is_the_training_without_repeats(scene: Any, name: str) -> None:
    once, thrice = (train(scene, name, folder, again(n)) for folder, n in (("once", 1), ("thrice", 3)))
    assert contents("once") == contents("thrice")
    assert list(contents("others of once")) == ["repeats.json"]
    told = [json.loads(Path(f"others of {folder}/repeats.json").read_text()) for folder in ("once", "thrice")]
    assert told == [{"repeats": 1, "seeds": [5]}, {"repeats": 3, "seeds": derive_seeds(5, 3)}]
    assert once.costs["seconds_all_repeats"] == once.costs["seconds"]
    assert thrice.costs["seconds_all_repeats"] > 1.5 * thrice.costs["seconds"]
    assert thrice.sentence == f"{once.sentence}; 2 more trained with other seeds"
    assert not list(Path(".checkpoints").iterdir())


@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_a_repeat_is_the_training_with_its_seed(scene: Any, name: str) -> None:
    train(scene, name, "model", again(3))
    seen, kept = [], []
    for path, seed in zip(list_repeats(Path("others of model")), derive_seeds(5, 3)[1:], strict=True):
        repeat = load_repeat(path, Path("model"))
        train(scene, name, f"alone {seed}", again(1, seed=seed))
        alone, card = load_model(Path(f"alone {seed}"))
        assert repeat.card == card
        assert repeat.card.seed == seed
        own = repeat.model.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in alone.state_dict().items())
        seen.append(own)
        kept.append(repeat.keeps_backbone)
    assert all(kept) == (name == "frozen")  # the best epoch of a fine-tuning may be the one before the first
    first = load_model(Path("model"))[0].state_dict()
    heads = [key for key in first if key.startswith("heads") and key.endswith("weight")]
    for one, other in ((first, seen[0]), (first, seen[1]), (seen[0], seen[1])):
        assert not any(torch.equal(one[key], other[key]) for key in heads)


def test_of_a_frozen_backbone_only_heads_are_kept(scene: Any) -> None:
    train(scene, "frozen", "model", again(2))
    assert {path.name for path in Path("others of model/2").iterdir()} == {
        "card.json",
        "changed.safetensors",
        "manifest.json",
    }
    whole, kept = (
        Path(path).stat().st_size for path in ("model/model.safetensors", "others of model/2/changed.safetensors")
    )
    assert kept < whole / 50


def test_all_that_is_random_differs(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights that heads begin with, the order of the images, and their views."""
    heads: list[torch.Tensor] = []
    orders: list[list[int]] = []
    views: list[list[int]] = []
    start, batches, choose = probe._start_heads, Fit.batches, probe.choose_views

    def starting(*given: Any) -> Any:
        made = start(*given)
        heads.append(made["shade"][-1].weight.detach().clone())
        return made

    def showing(self: Fit, epoch: int) -> Any:
        shown = list(batches(self, epoch))
        if epoch == 0:
            orders.append(shown[0].numbers.tolist())
        return shown

    def choosing(seed: int, epoch: Any, ids: NDArray[np.int64], count: int) -> Any:
        if np.max(epoch) == 0:
            views.append(choose(seed, epoch, np.sort(ids), count).tolist())
        return choose(seed, epoch, ids, count)

    monkeypatch.setattr(probe, "_start_heads", starting)
    monkeypatch.setattr(Fit, "batches", showing)
    monkeypatch.setattr(probe, "choose_views", choosing)
    train(scene, "frozen", "model", again(3))
    assert len({tuple(weights.flatten().tolist()) for weights in heads}) == 3
    assert len(set(map(tuple, orders))) == len(set(map(tuple, views))) == 3


def test_a_fine_tuning_shows_each_repeat_other_batches(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    load = TrainImages.load

    def loading(self: TrainImages, epoch: int, start: int, pin: bool) -> Any:
        seeds.append(self.seed)
        return load(self, epoch, start, pin)

    monkeypatch.setattr(TrainImages, "load", loading)
    train(scene, "finetune", "model", again(3))
    assert seeds == [seed for seed in derive_seeds(5, 3) for _ in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frozen", "finetune"])
def test_killed_in_the_third_it_does_not_train_the_first_two_again(
    scene: Any, name: str, kill_training: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_training(scene.recipe(name, again(4)), scene.folder, 'step >= 5 and "repeat-3" in str(self.folder)')
    assert len(list(Path(".checkpoints").rglob("trained"))) == 2

    trained = train(scene, name, "model", again(4))
    printed = capsys.readouterr().out
    assert printed.count("finished before it was interrupted") == 2
    assert "repeat 3 of 4, seed" in printed
    assert "continuing from step" in printed
    assert not list(Path(".checkpoints").iterdir())
    whole = train(scene, name, "whole", again(4))
    assert contents("model") == contents("whole")
    assert contents("others of model") == contents("others of whole")
    assert trained.sentence == whole.sentence


def test_with_fewer_repeats_than_are_finished_those_wanted_are_taken(
    scene: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody stops a long training, and is content with the first two."""

    def stop(self: Fit, epoch: int, batches: Any = Fit.batches) -> Any:
        if self.seed == derive_seeds(5, 3)[2]:
            raise KeyboardInterrupt
        return batches(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "batches", stop)
        with pytest.raises(KeyboardInterrupt):
            train(scene, "frozen", "model", again(3))
    capsys.readouterr()
    train(scene, "frozen", "model", again(2))
    assert "continuing" not in (printed := capsys.readouterr().out)
    assert printed.count("finished before it was interrupted") == 2
    assert [read_card(path).seed for path in list_repeats(Path("others of model"))] == derive_seeds(5, 2)[1:]
