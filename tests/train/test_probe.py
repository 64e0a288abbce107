from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meltpoint.model.backbones import Backbone, build_backbone
from meltpoint.model.standardise import Standardise
from meltpoint.params.model import MapTap, Reading
from meltpoint.params.read import Params
from meltpoint.params.strategies import Probe
from meltpoint.params.training import Embed
from meltpoint.train.checkpoint import Checkpoint
from meltpoint.train.embed import embed
from meltpoint.train.features import Features
from meltpoint.train.history_file import read_history
from meltpoint.train.job import Job
from meltpoint.train.losses import TrainingError
from meltpoint.train.probe import Fitted, probe, use_threads
from meltpoint.train.problem import Problem, build_problem

SETTINGS = Probe(epochs=5, batch=20, lr=0.01, schedule="cosine", weight_decays=[0.0, 0.3, 3.0], label_smoothing=0.05)


@pytest.fixture(scope="module")
def problem(scene: Any) -> Problem:
    return build_problem(scene.inputs.views, scene.recipe("finetune"))


def make_job(scene: Any, problem: Problem, settings: Probe = SETTINGS, features: Features | None = None) -> Job[Any]:
    recipe, inputs = scene.recipe("frozen"), scene.inputs
    recipe = recipe.model_copy(update={"settings": recipe.settings.model_copy(update={"probe": settings})})
    return Job(recipe, inputs.views, features or inputs.features, problem, Checkpoint(Path("unused")))


def fit(scene: Any, problem: Problem, settings: Probe = SETTINGS, checkpoint: Checkpoint | None = None) -> Fitted:
    return probe(make_job(scene, problem, settings), backbone(scene), checkpoint)


def backbone(scene: Any, *taps: Reading) -> Backbone:
    return build_backbone(scene.recipe().encoder, {"final", *taps}, 32)


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    return fitted.heads.state_dict()


def test_the_grid_gives_what_each_decay_gives_alone(scene: Any, problem: Problem) -> None:
    together = fit(scene, problem)
    for head, decay in together.weight_decays.items():
        alone = fit(scene, problem, SETTINGS.model_copy(update={"weight_decays": [decay]}))
        assert alone.scores[head] == pytest.approx(together.scores[head], abs=1e-5)
        for name, value in weights(alone).items():
            if name.startswith(head):
                assert torch.allclose(value, weights(together)[name], atol=1e-5)


def test_each_head_chooses_its_own_decay_on_val(scene: Any, problem: Problem) -> None:
    together = fit(scene, problem)
    for head in problem.heads:
        alone = [
            fit(scene, problem, SETTINGS.model_copy(update={"weight_decays": [decay]}))
            for decay in SETTINGS.weight_decays
        ]
        best = max(one.scores[head]["accuracy"] for one in alone)
        assert together.scores[head]["accuracy"] == pytest.approx(best)


def test_heads_learn(scene: Any, problem: Problem) -> None:
    fitted = fit(scene, problem, SETTINGS.model_copy(update={"epochs": 30}))
    assert fitted.scores["shade"]["accuracy"] > 0.8
    assert fitted.scores["shade"]["loss"] < 0.6


def test_features_are_standardised_by_the_training_images(scene: Any, problem: Problem) -> None:
    plain = np.array(scene.inputs.features.plain("final"))[problem.train.rows]
    layer = fit(scene, problem).heads["shade"][0]  # type: ignore[index]
    assert np.allclose(layer.mean.numpy(), plain.mean(0), atol=1e-5)
    assert np.allclose(layer.std.numpy(), plain.std(0), atol=1e-5)


def test_equal_settings_give_equal_bits(scene: Any, problem: Problem) -> None:
    first, second = weights(fit(scene, problem)), weights(fit(scene, problem))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_history_has_a_line_an_epoch(scene: Any, problem: Problem, tmp_path: Path) -> None:
    fitted = fit(scene, problem, checkpoint=Checkpoint(tmp_path))
    lines = list(read_history(tmp_path / "history.jsonl"))
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1]["val/colour/macro_f1"] == pytest.approx(fitted.scores["colour"]["macro_f1"])
    assert {"train/loss", "val/loss", "val/shade/accuracy"} <= lines[0].keys()


class Stop(Exception):  # noqa: N818
    pass


def test_an_interrupted_fit_ends_with_the_same_bits(
    scene: Any, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = weights(fit(scene, problem, checkpoint=Checkpoint(tmp_path / "whole")))
    write, checkpoint = Checkpoint.write, Checkpoint(tmp_path / "part")

    def interrupt(self: Checkpoint, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        write(self, tensors, facts)
        if facts["epoch"] == 2:
            raise Stop

    monkeypatch.setattr(Checkpoint, "write", interrupt)
    with pytest.raises(Stop):
        fit(scene, problem, checkpoint=checkpoint)
    monkeypatch.undo()
    checkpoint.log({"epoch": 3}, 9)  # written after the checkpoint, before the end
    part = weights(fit(scene, problem, checkpoint=checkpoint))
    assert "continuing from step 6 of 15" in capsys.readouterr().out
    assert all(torch.equal(value, part[name]) for name, value in whole.items())
    assert (tmp_path / "part" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()


def test_nan_features_stop_with_their_images(scene: Any, problem: Problem, tmp_path: Path) -> None:
    features = scene.inputs.features
    spoilt = np.array(features.plain("final"))
    row = problem.train.rows[7]
    spoilt[row] = np.nan
    for name in ("final.plain.npy", "final.augmented.npy"):
        np.save(tmp_path / name, np.load(features.folder / name))
    np.save(tmp_path / "final.plain.npy", spoilt)
    bad: Features = replace(features, folder=tmp_path)
    with pytest.raises(
        TrainingError, match="The loss is nan in step 1, epoch 1, with the learning rate 0.01"
    ) as caught:
        probe(make_job(scene, problem, features=bad), backbone(scene), None)
    assert ".png" in str(caught.value)


def convolving(scene: Any) -> Params:
    """The head `shade` with a convolution of its own; `colour` as ever."""

    def change(raw: dict[str, Any]) -> None:
        raw["heads"]["shade"] |= {"kind": "conv", "tap": -2}

    params: Params = scene.params(change)
    return params


@pytest.fixture(scope="module")
def convolved(scene: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Problem, Features, Fitted]:
    problem, whole = (
        build_problem(scene.inputs.views, convolving(scene).recipe("finetune")),
        backbone(scene, MapTap(at=-2)),
    )
    settings = SETTINGS.model_copy(update={"epochs": 20})
    with use_threads(1):  # a fixture of a module comes before the one that does this for each test
        features = embed(
            whole, scene.inputs.views, Embed(batch=16, max_gb=1), tmp_path_factory.mktemp("maps") / "features"
        )
        return problem, features, probe(make_job(scene, problem, settings, features), whole, None)


def test_a_head_with_a_convolution_learns_from_stored_maps(
    scene: Any, convolved: tuple[Problem, Features, Fitted]
) -> None:
    _, features, fitted = convolved
    assert features.plain(MapTap(at=-2)).shape == (72, 48, 2, 2)
    assert fitted.scores["shade"]["accuracy"] > 0.7
    first = backbone(scene, MapTap(at=-2)).copy_convolution(-2)[0]
    assert not torch.equal(weights(fitted)["shade.0.weight"], first.weight)
    assert not torch.equal(weights(fitted)["shade.0.bias"], torch.as_tensor(first.bias))


def test_what_a_convolution_gives_is_standardised_as_it_was_before_training(
    scene: Any, convolved: tuple[Problem, Features, Fitted]
) -> None:
    problem, features, fitted = convolved
    convolution, activation = backbone(scene, MapTap(at=-2)).copy_convolution(-2)
    with torch.no_grad():
        maps = torch.from_numpy(np.array(features.plain(MapTap(at=-2)))[problem.train.rows])
        given = activation(convolution(maps)).mean((2, 3))
    layer = next(layer for layer in fitted.heads["shade"].modules() if isinstance(layer, Standardise))
    torch.testing.assert_close(layer.mean, given.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.std, given.std(0, correction=0), rtol=1e-4, atol=1e-5)
