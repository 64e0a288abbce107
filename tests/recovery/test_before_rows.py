"""What was written when there was one size of images and one backbone is read, judged and brought back as it was.

`tests/fixtures/before_rows` was made by that code: a model and what it said, its views, reports and line of the ledger.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from meltpoint.comparison import read_comparison
from meltpoint.files import read_json
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card
from meltpoint.params.base import Section
from meltpoint.params.read import ParamsError, parse_params, read_params
from meltpoint.recovery.rollback import rollback
from meltpoint.registry.ledger import AliasChange
from meltpoint.registry.promotion import Move, promote, promotion_lock
from meltpoint.registry.rescoring import rescore
from meltpoint.registry.version_files import fetch, fingerprint
from meltpoint.registry.versions import KEY, aliases, create_version
from meltpoint.tables import read_predictions
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tracking.log_runs import log_strategy
from meltpoint.tracking.pipeline_state import PipelineState, read_state
from meltpoint.tracking.store import Store, open_store

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_rows"
MODEL = BEFORE / "models" / "frozen"
RAW: dict[str, Any] = yaml.safe_load((BEFORE / "params.yaml").read_text())
LATER = {"library", "text", "top", "loss", "tag_thresholds"}  # keys that came afterwards; None: off
LINE: dict[str, Any] = json.loads((BEFORE / "promotions.jsonl").read_text())


def state() -> PipelineState:
    """As the archive reads a commit whose params.yaml is of other code."""
    kept = {key: value for key, value in RAW.items() if key != "register"}
    return read_state("shapes", kept, BEFORE)


def test_its_model_says_what_it_said(tmp_path: Path) -> None:
    """To the bit on the machine that made it; another one's kernels may round otherwise."""
    answerer = open_answerer(MODEL)
    now = answerer.predict_views(open_views(BEFORE / "data" / "views"), ("val", "test"), 32)
    then = read_predictions(BEFORE / "reports" / "strategies" / "frozen" / "predictions.parquet", answerer.card.classes)
    numbers = then.select_dtypes("number").columns
    pd.testing.assert_frame_equal(now.drop(columns=numbers), then.drop(columns=numbers), check_dtype=False)
    np.testing.assert_allclose(now[numbers].to_numpy(float), then[numbers].to_numpy(float), atol=1e-6, rtol=0)


def without_new(section: Section) -> dict[str, Any]:
    """What a section says, without the keys that came later: those are off."""
    said = section.model_dump(mode="json")
    return {key: value for key, value in said.items() if key not in LATER or value is not None}


@pytest.mark.parametrize(("name", "kind"), [("vit", "mlp"), ("masks", "dense_conv")])
def test_its_cards_are_read(tmp_path: Path, name: str, kind: str) -> None:
    shutil.copy(BEFORE / "cards" / f"{name}.json", tmp_path / "card.json")
    card, written = read_card(tmp_path), read_json(tmp_path / "card.json")
    assert (card.format, card.encoder, card.views) == (4, None, None)
    head = card.heads[card.main_head].head
    assert head.kind == kind
    assert without_new(head) == written["heads"][card.main_head]["head"]
    assert card.images.model_dump() == written["images"]
    assert without_new(card.backbone) == written["backbone"]


def test_its_state_is_known(tmp_path: Path) -> None:
    found = state()
    assert found.data[:12] == LINE["data"]
    assert found.images == sum(found.splits.values()) == 97
    assert found.encoder("frozen") == ("test_efficientnet", 32)
    assert found.shared["images.side"] == "32"
    assert found.own("frozen")["strategy.probe.epochs"] == "8"


def test_its_champion_is_scored_again_by_the_gate(house: Any) -> None:
    verdict = rescore(house.state, "frozen", MODEL, "the champion", house.params.gate).verdict
    assert re.search(r"accuracy on shape against the champion's \d+\.\d% on 18 test images", verdict.why)


@pytest.fixture
def reigning(house: Any) -> Store:
    """The model of before is the champion, with the note that the ledger has of it."""
    store, before = open_store("shapes"), state()
    run = log_strategy(store, before, "frozen", read_comparison(BEFORE / "reports" / "compare.json")).info
    tags = {KEY: fingerprint(MODEL), "strategy": "frozen", "data": before.data[:12], "state": before.digest[:12]}
    version = create_version(store, before, "frozen", run.run_id, tags, "of before")
    facts = AliasChange.of_row(LINE).facts
    with promotion_lock(store) as held:
        promote(held, aliases(store), [Move("champion", str(version.version), LINE["why"], facts)])
    assert run.run_name == "frozen · test_efficientnet @32"
    return store


def test_its_champion_is_followed_and_comes_back(reigning: Store, house: Any) -> None:
    house.train("frozen", 3)  # its report is younger than the champion
    outcome = house.register()
    assert (outcome.version, outcome.alias) == ("2", "champion"), outcome.sentence
    assert "against the champion's" in outcome.sentence
    told = rollback(reigning, None, "as it was")
    assert told.startswith("shapes version 1 is the champion again; version 2 is previous")
    assert house.ledger()[-2]["key"] == LINE["key"]
    assert read_card(fetch("models:/shapes@champion", reigning.uri)).format == 4


def written(message: str) -> dict[str, Any]:
    """The lines that a message shows, as values."""
    shown: dict[str, Any] = yaml.safe_load("\n".join(line for line in message.splitlines() if line.startswith("  ")))
    return shown


def test_its_params_are_told_in_the_new_form() -> None:
    with pytest.raises(ParamsError) as caught:
        read_params(BEFORE / "params.yaml")
    message = str(caught.value)
    assert message.count("\n  - ") == 0, "one error, and no list of what follows from it"
    assert "images, augment, backbone, tree are no sections any more" in message
    new = {key: value for key, value in RAW.items() if key not in ("images", "augment", "backbone", "tree")}
    new |= written(message)
    params = parse_params(new, "params.yaml")
    recipe = params.recipe("finetune")
    assert recipe.views.geometry.model_dump() == RAW["images"]
    assert (recipe.views.copies, recipe.views.transforms) == (RAW["augment"]["views"], RAW["augment"]["transforms"])
    assert without_new(recipe.encoder.backbone) == RAW["backbone"]
    assert recipe.settings.model_dump(include=set(RAW["strategies"]["finetune"])) == RAW["strategies"]["finetune"]


def test_a_tree_is_shown_below_the_task() -> None:
    tree = {"levels": ["shape", "colour"], "parents": None}
    with pytest.raises(ParamsError) as caught:
        parse_params({**RAW, "tree": tree}, "params.yaml")
    assert written(str(caught.value))["task"] == {"kind": "classification", "tree": tree}
