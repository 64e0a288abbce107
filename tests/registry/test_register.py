"""`register` shows the pipeline, makes versions and moves aliases; again, it adds nothing."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from warm_process import nursery

from meltpoint.registry import plan
from meltpoint.registry import register as module
from meltpoint.registry.gate import GateError, Verdict
from meltpoint.registry.ledger import LEDGER, LedgerError
from meltpoint.registry.register import RegisterError
from meltpoint.registry.rescoring import Rescored
from meltpoint.registry.versions import aliases
from meltpoint.tasks import picture_versions
from meltpoint.tracking.runs import KILLED, close, open_child
from meltpoint.tracking.store import Store, open_store
from meltpoint.tracking.training_curves import LoggedSteps, points_of

FROZEN_1 = "0" * 63 + "1"  # the key of the training with seed 1


def everything(store: Store) -> dict[str, Any]:
    """All that MLflow shows, in numbers and names."""
    client, runs = store.client, store.client.search_runs([store.experiment])
    files = sorted(path.name for path in (store.root / "mlruns" / "artifacts").rglob("*") if path.is_file())
    return {
        "runs": {run.info.run_id: (run.info.run_name, run.info.status, run.info.end_time) for run in runs},
        "tags": {run.info.run_id: run.data.tags for run in runs},
        "points": {
            (run.info.run_id, key): [tuple(point) for point in client.get_metric_history(run.info.run_id, key)]
            for run in runs
            for key in run.data.metrics
        },
        "versions": {v.version: v.tags for v in client.search_model_versions(f"name = '{store.name}'")},
        "models": [model.model_id for model in client.search_logged_models([store.experiment])],
        "aliases": aliases(store),
        "files": files,
        "experiment": client.get_experiment(store.experiment).tags,
    }


def moves(house: Any) -> list[tuple[str, str | None, str | None]]:
    return [(line["alias"], line["from"], line["to"]) for line in house.ledger()]


def test_first_and_again(house: Any) -> None:
    for half in ("augment/.s128.x.png", "augment/gone.png", "strategies/frozen/.metrics.x.json"):
        house.folder.joinpath("reports", half).write_bytes(
            b"half of a file"
        )  # of a killed stage, of a row that is gone
    outcome, store = house.register(), open_store("shapes")
    assert outcome.sentence == "shapes version 1 (frozen) is the champion: the first version to pass; every floor holds"
    assert moves(house) == [("champion", None, "1")]
    before, ledger = everything(store), house.ledger()

    again = house.register()
    assert again.sentence == "shapes version 1 (frozen) is the champion already"
    assert everything(store) == before
    assert house.ledger() == ledger

    runs = {run.data.tags.get("strategy", "parent"): run for run in store.client.search_runs([store.experiment])}
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(
        ("parent", "frozen", "finetune"), "FINISHED"
    )
    assert runs["parent"].info.run_name.startswith("ship frozen · ")
    assert runs["parent"].data.tags["mlflow.note.content"].startswith("Ship frozen: it is good.\n\n| strategy |")
    assert {
        "test/shape/f1",
        "val/colour/macro_f1",
        "cost/latency_p50_ms",
        "train/loss",
        "test by class/shape circle f1",
    } <= set(runs["frozen"].data.metrics)
    assert {"data", "git", "stage", "strategy", "meltpoint.key", "meltpoint.version"} <= set(runs["frozen"].data.tags)
    shown = {info.path for info in store.client.list_artifacts(runs["frozen"].info.run_id)}
    assert ".metrics.x.json" not in shown
    assert {"images", "pictures", "metrics.json", "predictions.parquet", "test_mistakes.json"} <= shown
    charts = [info.path for info in store.client.list_artifacts(runs["frozen"].info.run_id, "images")]
    assert {path.split("/")[-1].split("+")[0] for path in charts} == {"confusion", "hierarchy", "mistakes", "roc"}
    assert runs["frozen"].data.params["task.tree"] == "null"
    shown = {info.path for info in store.client.list_artifacts(runs["parent"].info.run_id)}
    assert {"compare.json", "augment-s128.png", "params.yaml"} <= shown
    assert "augment-gone.png" not in shown


def test_probabilities_of_many_classes_stay_in_the_parquet(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_versions, "MOST_CLASSES", 2)
    house.register()
    table = next((house.folder / "mlruns").rglob("test_predictions.json"))
    columns = json.loads(table.read_text())["columns"]
    assert {"shape.answer", "shape.p.circle", "colour.answer"} <= set(columns)
    assert not [name for name in columns if name.startswith("colour.p.")]


def test_a_version_tells_its_story(house: Any) -> None:
    house.register()
    store = open_store("shapes")
    version = store.client.get_model_version_by_alias("shapes", "champion")
    assert version.description.startswith("Ship frozen: it is good.")
    assert {"strategy", "data", "git", "meltpoint.key", "gate", "licence"} <= set(version.tags)
    run = store.client.get_run(version.run_id)
    assert run.data.tags["strategy"] == "frozen"
    assert [output.model_id for output in run.outputs.model_outputs] == [
        version.model_id or version.source.split("/")[-1]
    ]


def test_there_and_back(house: Any) -> None:
    house.register()
    house.train("frozen", 3)
    assert house.register().alias == "champion"
    assert moves(house)[1:] == [("champion", "1", "2"), ("previous", None, "1")]
    house.train("frozen", 1)
    assert house.register().version == "1", "its version is there, and goes through the gate again"
    assert moves(house)[3:] == [("champion", "2", "1"), ("previous", "1", "2")]
    assert aliases(open_store("shapes")) == {"champion": "1", "previous": "2"}
    names = [run.info.run_name for run in open_store("shapes").client.search_runs([open_store("shapes").experiment])]
    assert sum(name.endswith("(other code)") for name in names) == 1, "same params, other weights: other code"


@pytest.mark.parametrize("better", [False, True])
def test_the_best_champion_so_far_is_asked_until_another_is_shown_to_be_better(
    house: Any, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    asked: list[str] = []

    def rescore(state: Any, strategy: str, champion: Path, title: str, rules: Any) -> Rescored:
        asked.append(title)
        return Rescored(Verdict(title == "the champion", f"against {title}"), better)

    house.register()
    monkeypatch.setattr(module, "rescore", rescore)
    house.train("frozen", 3)
    assert house.register().alias == "champion"
    assert [line["anchor"] for line in house.ledger() if line["alias"] == "champion"] == ["1", "2" if better else "1"]
    house.train("frozen", 4)
    outcome = house.register()
    assert asked == ["the champion", "the champion", *([] if better else ["version 1"])]
    assert outcome.alias == ("champion" if better else "candidate")
    if not better:
        assert "against the best champion so far: against version 1" in outcome.sentence


def test_what_only_leads_replaces_no_champion(house: Any) -> None:
    house.decide("frozen", "not_enough_evidence")
    assert "as there is no other: the comparison found not enough evidence" in house.register().sentence
    house.train("frozen", 3)
    house.decide("frozen", "not_enough_evidence")
    outcome = house.register()
    assert outcome.alias == "candidate"
    assert "replaces no champion" in outcome.sentence


def test_refused_is_candidate_with_a_reason_and_stays_it(house: Any) -> None:
    house.register()
    house.train("frozen", 4)
    house.edit(lambda raw: raw["register"].update(floors={"shape/accuracy": 1.0}))
    for _ in range(2):
        outcome = house.register()
        assert outcome.alias == "candidate"
        assert "champion stays version 1: shape/accuracy is" in outcome.sentence
        assert moves(house) == [("champion", None, "1"), ("candidate", None, "2")]
    store = open_store("shapes")
    assert "below its floor 1" in store.client.get_model_version("shapes", "2").tags["gate"]

    house.edit(lambda raw: raw["register"].update(floors={}))
    assert house.register().alias == "champion"
    assert moves(house)[2:] == [("champion", "1", "2"), ("previous", None, "1"), ("candidate", "2", None)]


def test_floors_hold_for_a_first_champion(house: Any) -> None:
    house.edit(lambda raw: raw["register"].update(floors={"shape/accuracy": 1.0}))
    outcome = house.register()
    assert "there is no champion yet" in outcome.sentence
    assert aliases(open_store("shapes")) == {"candidate": "1"}


def test_a_ceiling_keeps_the_alias_from_a_model_that_is_too_large(house: Any) -> None:
    house.edit(lambda raw: raw["register"].update(ceilings={"megabytes": 0.05}))
    outcome = house.register()
    assert outcome.alias == "candidate"
    assert outcome.sentence.endswith("there is no champion yet: megabytes is 0.1, above its ceiling 0.05")
    house.edit(lambda raw: raw["register"].update(ceilings={"megabytes": 0.2}))
    assert house.register().sentence.endswith("the first version to pass; every floor and ceiling holds")


def test_a_crash_between_the_aliases_and_the_ledger_is_finished(
    house: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.register()
    house.train("frozen", 3)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(plan, "append", crash)
        house.register()
    assert aliases(open_store("shapes")) == {"champion": "2", "previous": "1"}
    assert len(house.ledger()) == 1
    assert house.register().sentence == "shapes version 2 (frozen) is the champion already"
    assert "finished a promotion of shapes that was interrupted: champion 2, previous 1" in capsys.readouterr().out
    assert moves(house)[1:] == [("champion", "1", "2"), ("previous", None, "1")]


@pytest.mark.slow
def test_two_at_once_end_with_one_champion(house: Any, tmp_path: Path) -> None:
    """Two experiments of one repository, in working directories of their own, each with another winner."""
    code = (
        "from meltpoint.params.read import read_params; from meltpoint.registry.register import register\n"
        "from meltpoint.tracking.pipeline_state import read_state; params = read_params()\n"
        "print(register(read_state('shapes', params.effective), params.gate).sentence)"
    )
    places = [tmp_path / "first", tmp_path / "second"]
    for place in places:
        shutil.copytree(house.folder, place, ignore=shutil.ignore_patterns("mlruns"))
    type(house)(places[1]).train("frozen", 3)
    own, python = {**os.environ, "DVC_ROOT": str(house.folder)}, str(nursery() / "python")
    started = [subprocess.Popen([python, "-c", code], cwd=place, env=own) for place in [*places, places[0]]]
    assert [process.wait() for process in started] == [0, 0, 0]
    store = open_store("shapes", house.folder)
    now, lines = aliases(store), house.ledger()
    assert {version.version for version in store.client.search_model_versions("name = 'shapes'")} == {1, 2}
    assert now == lines[-1]["aliases"]
    reigns = [(line["from"], line["to"]) for line in lines if line["alias"] == "champion"]
    assert [before for before, _ in reigns] == [None, *(after for _, after in reigns[:-1])], "one after the other"
    assert not (house.folder / ".checkpoints" / "promotion.json").exists()


def test_no_alias_moves_while_the_ledger_cannot_be_read(house: Any) -> None:
    house.register()
    with (house.folder / LEDGER).open("a") as file:
        file.write('{"when": "2026')
    house.train("frozen", 3)
    with pytest.raises(LedgerError, match="Line 2 .*the file ends in it"):
        house.register()
    assert aliases(open_store("shapes")) == {"champion": "1"}


def test_a_champion_whose_alias_was_deleted_is_put_back(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    house.register()
    store, ledger = open_store("shapes"), house.ledger()
    store.client.delete_registered_model_alias("shapes", "champion")
    outcome = house.register()
    assert outcome.sentence == "shapes version 1 (frozen) is the champion already"
    said = "champion of shapes had been deleted in MLflow; it is restored: version 1, as in promotions.jsonl"
    assert said in capsys.readouterr().out
    assert aliases(store) == {"champion": "1"}
    assert house.ledger() == ledger, "nothing was decided"
    house.register()
    assert "restored" not in capsys.readouterr().out


def test_all_aliases_deleted_and_another_winner(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The new winner is compared with the champion that the ledger knows, and takes its place in the history."""
    house.register()
    house.train("frozen", 3)
    house.register()
    store = open_store("shapes")
    for alias in ("champion", "previous"):
        store.client.delete_registered_model_alias("shapes", alias)
    house.train("frozen", 4)
    sentence = house.register().sentence
    assert "against the champion's" in sentence
    assert "first" not in sentence
    said = capsys.readouterr().out
    assert "champion of shapes had been deleted in MLflow; it is restored: version 2" in said
    assert "previous of shapes had been deleted in MLflow; it is restored: version 1" in said
    assert [move for move in moves(house) if move[0] == "champion"] == [
        ("champion", None, "1"), ("champion", "1", "2"), ("champion", "2", "3"),
    ]  # fmt: skip


def test_a_champion_moved_or_deleted_with_its_version_is_told(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    house.register()
    house.train("frozen", 3)
    house.register()
    store = open_store("shapes")
    store.client.set_registered_model_alias("shapes", "champion", "1")
    house.train("frozen", 4)
    house.register()
    said = capsys.readouterr().out
    assert "champion of shapes is version 1 in MLflow and version 2 in promotions.jsonl" in said
    assert ("champion", "1", "3") in moves(house), "it was compared with the one that MLflow names"

    store.client.delete_registered_model_alias("shapes", "champion")
    store.client.delete_model_version("shapes", "3")
    house.train("frozen", 5)
    sentence = house.register().sentence
    assert "compared with nobody: the champion of promotions.jsonl, version 3, is no longer in MLflow" in sentence
    assert "MLflow has no such version of that model" in capsys.readouterr().out


def test_a_clone_that_is_behind_meets_the_champion_of_the_team(
    house: Any, shared: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ledger knows a candidate and a champion of before; nothing of that is restored, and the gate is asked."""
    house.register()
    house.train("frozen", 3)
    house.decide("frozen", "not_enough_evidence")
    assert house.register().alias == "candidate"
    shutil.copytree(house.folder, tmp_path / "behind")
    house.decide("frozen")
    assert house.register().alias == "champion"
    behind = type(house)(tmp_path / "behind")
    monkeypatch.chdir(behind.folder)
    capsys.readouterr()
    behind.train("frozen", 4)
    behind.decide("frozen")
    sentence = behind.register().sentence
    said = capsys.readouterr().out
    assert "champion of shapes is version 2 in MLflow and version 1 in promotions.jsonl: " in said
    assert "candidate of shapes is nowhere in MLflow and version 2 in promotions.jsonl: " in said
    assert "meltpoint adopt" in said
    assert "against the champion's" in sentence
    assert moves(behind)[2:] == [("champion", "2", "3"), ("previous", "1", "2")]
    assert aliases(open_store("shapes")) == {"champion": "3", "previous": "2"}


def test_what_was_shown_live_is_completed(house: Any) -> None:
    store, state = open_store("shapes"), house.state
    live = open_child(store, state, "frozen", FROZEN_1)
    lines = [json.loads(line) for line in (house.folder / "models/frozen/history.jsonl").read_text().splitlines()]
    LoggedSteps.of(store, live.info.run_id).add(points_of(lines[:4], 0, 1))
    close(store, live, KILLED)
    house.register()
    losses = store.client.get_metric_history(live.info.run_id, "train/loss")
    assert [point.step for point in losses] == [1, 2, 3, 4, 5, 6]
    assert store.client.get_run(live.info.run_id).info.status == "FINISHED"
    assert len(store.client.search_runs([store.experiment])) == 3


def test_scores_of_the_shipped_weights_are_the_latest(house: Any) -> None:
    house.register()
    store = open_store("shapes")
    run = store.client.search_runs([store.experiment], "tags.strategy = 'frozen'")[0]
    metrics = json.loads((house.folder / "reports/strategies/frozen/metrics.json").read_text())
    assert run.data.metrics["val/shape/accuracy"] == metrics["val"]["shape"]["accuracy"]


def test_no_decision_is_told(house: Any) -> None:
    (house.folder / "reports" / "compare.json").unlink()
    with pytest.raises(RegisterError, match="Run: dvc repro compare"):
        house.register()


def test_a_decision_about_other_strategies_is_told(house: Any) -> None:
    house.edit(lambda raw: raw["strategies"].pop("finetune"))
    with pytest.raises(RegisterError, match=r"compares \['finetune', 'frozen'\].*has the strategies \['frozen'\]"):
        house.register()


def test_a_floor_of_nothing_is_told(house: Any) -> None:
    house.edit(lambda raw: raw["register"].update(floors={"shape/beauty": 0.5}))
    with pytest.raises(GateError, match="Measured are"):
        house.register()
