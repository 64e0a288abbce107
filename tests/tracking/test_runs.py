"""Runs are found again by what they show."""

from typing import Any

import pytest

from meltpoint.tracking.runs import (
    FINISHED,
    RUNNING,
    changes_before,
    close,
    open_child,
    open_parent,
    reopen,
    retire_others,
)
from meltpoint.tracking.store import open_store


def test_a_run_is_found_again(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    child, parent = open_child(store, state, "frozen", "k"), open_parent(store, state)
    assert open_child(store, state, "frozen", "k").info.run_id == child.info.run_id
    assert open_parent(store, state).info.run_id == parent.info.run_id
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert len(store.client.search_runs([store.experiment])) == 2


def test_names_are_for_people(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    assert open_parent(store, state).info.run_name == f"frozen, finetune · {state.digest[:6]} · 36 images"
    assert open_child(store, state, "frozen", "k").info.run_name == "frozen · test_efficientnet @32"


def test_an_experiment_of_dvc_is_named(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "plush-yeti")
    run = open_parent(open_store("shapes"), house.state)
    assert run.info.run_name.endswith("plush-yeti")
    assert run.data.tags["dvc.experiment"] == "plush-yeti"


def test_another_key_or_state_is_another_run(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    ids = {open_child(store, state, "frozen", key).info.run_id for key in ("k", "l")}
    house.edit(lambda raw: raw.update(seed=5))
    ids.add(open_child(store, house.state, "frozen", "k").info.run_id)
    assert len(ids) == 3


def test_a_run_id_in_the_environment_hijacks_nothing(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, state = open_store("shapes"), house.state
    parent = open_parent(store, state).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    assert open_child(store, state, "frozen", "k").info.run_id != parent


def test_params_are_flat_and_complete(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    run = store.client.get_run(open_child(store, state, "finetune", "k").info.run_id)
    assert run.data.params == {**state.own("finetune"), **state.shared}
    assert run.data.params["strategy.layer_decay"] == "0.8"
    assert run.data.params["encoder.name"] == "test_efficientnet"


def test_closed_and_running_again(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    run = open_parent(store, state)
    close(store, run, FINISHED, 5)
    close(store, run, FINISHED, 9)
    assert open_parent(store, state).info.end_time == 5, "said once"
    reopen(store, open_parent(store, state))
    assert open_parent(store, state).info.status == RUNNING


def test_runs_of_other_code_step_back(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    old, new = open_child(store, state, "frozen", "old"), open_child(store, state, "frozen", "new")
    for _ in range(2):
        retire_others(store, state, new)
    names = [store.client.get_run(run.info.run_id).info.run_name for run in (old, new)]
    assert names == ["frozen · test_efficientnet @32 (other code)", "frozen · test_efficientnet @32"]


def test_what_changed_since_the_state_before(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    first = open_parent(store, state)
    store.log(first.info.run_id, params=state.shared)
    assert changes_before(store, first, state.shared) == []
    house.edit(lambda raw: raw.update(seed=5))
    after = house.state
    second = store.client.create_run(store.experiment, first.info.start_time + 1, {"stage": "pipeline"})
    assert changes_before(store, second, after.shared) == [("seed", "7", "5")]
