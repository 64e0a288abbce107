"""Adapters learn and nothing else does; what is saved is a model like any other."""

from pathlib import Path
from typing import Any

import pytest
import torch

from meltpoint.model.adapters import AdapterError, merge
from meltpoint.model.model import Model, load_model
from meltpoint.train.strategies import lora
from meltpoint.train.strategy import Trained, train_strategy

RANK = 2


def train(scene: Any, folder: str, **changes: Any) -> Trained:
    def change(raw: dict[str, Any]) -> None:
        row = {key: value for key, value in raw["strategies"]["finetune"].items() if key != "layer_decay"}
        del row["unfreeze"], row["backbone_lr"]
        row |= {"kind": "lora", "rank": RANK, "alpha": 2 * RANK, "where": "all", "adapter_lr": 0.01, "epochs": 2}
        raw["strategies"]["lora"] = row | changes

    return train_strategy(scene.recipe("lora", change), scene.inputs, Path(folder), Path("others"))


def test_what_is_saved_is_the_net_with_low_rank_changes(
    scene: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = torch.from_numpy(scene.inputs.views.plain[:8].copy())
    unmerged: dict[str, torch.Tensor] = {}

    def note(net: torch.nn.Module) -> None:
        with torch.no_grad():
            unmerged.update(met[0](images))
        merge(net)

    met: list[Model] = []
    fit = lora.fit_tuned
    monkeypatch.setattr(lora, "merge", note)
    monkeypatch.setattr(lora, "fit_tuned", lambda *given: [outcome := fit(*given), met.append(outcome.model)][0])
    trained = train(scene, "model", ema=0.0, adapter_lr=0.002, lr=0.001, label_smoothing=0.0, epochs=4)
    said = capsys.readouterr().out
    assert "are neither linear nor 1x1, and stay as they are: conv_stem" in said
    model, card = load_model(Path("model"))
    with torch.no_grad():
        saved = model(images)
    for head, outputs in unmerged.items():
        assert float((saved[head] - outputs).abs().max()) <= 1e-5
    base = scene.pretrained()
    after = {name.removeprefix("backbone.net."): value for name, value in model.state_dict().items()}
    moved = [name for name, value in base.items() if not torch.equal(value, after[name])]
    assert moved
    for name in moved:
        change = after[name] - base[name]
        assert 1 <= torch.linalg.matrix_rank(change.flatten(1).double(), rtol=1e-4) <= RANK, name
    heads = sum(value.numel() for value in model.heads.parameters())
    assert heads < card.trainable_parameters == trained.costs["trainable_parameters"] < trained.costs["parameters"] / 3


def test_where_that_fits_nothing_is_refused(scene: Any) -> None:
    with pytest.raises(AdapterError, match="where is \\['attn'\\].*It has .*conv_pw"):
        train(scene, "model", where=["attn"])
