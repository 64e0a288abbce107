"""A state is what can change a result: nothing more, nothing less."""

import re
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint.tracking.pipeline_state import StateError, allowed_name, flatten, git_revision

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers()))
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(min_size=1), inner), max_leaves=8)


def digest(house: Any) -> str:
    return house.state.digest


def test_what_changes_a_result_changes_the_state(house: Any) -> None:
    before = digest(house)
    house.edit(lambda raw: raw["strategies"]["finetune"].update(lr=0.123))
    assert digest(house) != before


def test_what_changes_no_result_does_not(house: Any) -> None:
    before = digest(house)
    house.edit(
        lambda raw: (raw["train"].update(workers=3, checkpoint_steps=99), raw["register"].update(new_labels=True))
    )
    assert digest(house) == before


def test_images_are_counted(house: Any) -> None:
    state = house.state
    assert state.images == 36
    assert state.splits == {"train": 12, "val": 6, "test": 18}


def test_missing_views_are_told(house: Any) -> None:
    (house.views / "views.json").unlink()
    with pytest.raises(StateError, match=r"views\.json.*Run: dvc repro"):
        _ = house.state


def test_parameters_of_strategies_have_the_same_names(house: Any) -> None:
    state = house.state
    assert state.own("frozen")["strategy.probe.lr"] == state.own("finetune")["strategy.probe.lr"]
    assert state.own("frozen")["strategy.name"] == "frozen"
    assert state.shared["heads.shape.main"] == "true"
    assert not any(name.startswith("strategies") for name in state.shared)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), TREES))
def test_flat_names_and_values_are_what_mlflow_takes(tree: dict[str, Any]) -> None:
    for name, value in flatten(tree).items():
        assert re.fullmatch(r"[\w\-. /]{0,250}", name)
        assert isinstance(value, str)


def test_names_of_classes_become_names_of_metrics() -> None:
    assert allowed_name("test by class/fruit apple (red) f1") == "test by class/fruit apple _red_ f1"


def test_revision_says_when_files_differ(house: Any) -> None:
    assert git_revision(house.folder) == "none"

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], check=True, capture_output=True)

    git("init", "-q")
    (house.folder / "promotions.jsonl").write_text("")
    git("add", "params.yaml", "promotions.jsonl")
    git("commit", "-qm", "start")
    clean = git_revision(house.folder)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (house.folder / "promotions.jsonl").write_text("{}\n")
    assert git_revision(house.folder) == clean, "a run writes the ledger itself"
    house.edit(lambda raw: raw.update(seed=5))
    assert git_revision(house.folder) == f"{clean}+"
