"""An empty store is written again from git, DVC's cache and the ledger, and a second time nothing is added."""

from collections.abc import Callable
from typing import Any

import pytest

from meltpoint.recovery.snapshots import SnapshotError
from meltpoint.recovery.sync import SyncError, sync
from meltpoint.registry.golden_answers import check_golden_answers
from meltpoint.registry.version_files import PACKAGE, VersionError, fetch, fingerprint
from meltpoint.registry.versions import KEY, MISSING, aliases, is_whole, versions_of
from meltpoint.tracking.store import Store, open_store

pytestmark = pytest.mark.slow


def shown(store: Store) -> dict[str, Any]:
    """What a person sees, without ids and times."""
    client, runs = store.client, store.client.search_runs([store.experiment])
    return {
        "runs": sorted((run.info.run_name, run.info.status) for run in runs),
        "params": sorted(tuple(sorted(run.data.params.items())) for run in runs),
        "metrics": sorted(tuple(sorted(run.data.metrics.items())) for run in runs),
        "points": sorted(
            (run.info.run_name, key, len(client.get_metric_history(run.info.run_id, key)))
            for run in runs
            for key in run.data.metrics
        ),
        "files": sorted(
            (run.info.run_name, file.path) for run in runs for file in client.list_artifacts(run.info.run_id)
        ),
        "versions": {number: {**one.tags, "git": "", PACKAGE: ""} for number, one in versions_of(store).items()},
        "told": {number: one.description for number, one in versions_of(store).items()},
        "aliases": aliases(store),
    }


def test_a_clone_shows_what_was_shown(tracked: Any, cloned: Callable[..., Any]) -> None:
    tracked.promote_twice()
    store = open_store("shapes")
    before, ledger = shown(store), tracked.ledger()
    assert before["aliases"] == {"champion": "2", "previous": "1"}
    (same,), troubles = sync(tracked.folder)
    assert (same.new_runs, same.new_versions, troubles) == (0, 0, [])
    assert shown(store) == before, "what `register` wrote is found again"

    house = cloned("--all-commits")
    (synced,), troubles = sync(house.folder)
    store = open_store("shapes")
    assert troubles == []
    assert shown(store) == before
    assert synced.sentence == "shapes: 6 runs and 2 versions, 6 and 2 of them new; version 2 is the champion"
    assert house.ledger() == ledger, "nothing happened that is worth a line"
    assert fingerprint(fetch("models:/shapes@champion")) == fingerprint(house.folder / "models" / "frozen")
    assert all(is_whole(store, version) for version in versions_of(store).values())

    (again,), _ = sync(house.folder)
    assert (again.new_runs, again.new_versions) == (0, 0)
    assert shown(store) == before
    assert house.register().sentence == "shapes version 2 (frozen) is the champion already"
    assert shown(store) == before


def test_a_version_without_files_keeps_its_number(tracked: Any, cloned: Callable[..., Any]) -> None:
    tracked.promote_twice()
    house = cloned()
    (synced,), troubles = sync(house.folder)
    store = open_store("shapes")
    assert [trouble.rsplit(": ", 1)[1] for trouble in troubles] == ["dvc pull --all-commits"] * 2
    assert "shapes version 1 has no files" in troubles[1]
    assert (synced.versions, synced.champion) == (2, "2")
    assert [MISSING in one.tags for _, one in sorted(versions_of(store).items())] == [True, False]
    assert aliases(store) == {"champion": "2", "previous": "1"}
    with pytest.raises(VersionError, match="models:/shapes@previous"):
        fetch("models:/shapes@previous")

    house.call("dvc", "pull", "--quiet", "--all-commits")
    (synced,), troubles = sync(house.folder)
    assert (synced.new_versions, troubles) == (0, [])
    assert fingerprint(fetch("models:/shapes@previous")) == versions_of(store)[1].tags[KEY]
    check_golden_answers(fetch("models:/shapes@previous"))


def test_a_params_file_of_other_code_is_shown_once(tracked: Any, cloned: Callable[..., Any]) -> None:
    tracked.register()
    before, text = shown(open_store("shapes")), (tracked.folder / "params.yaml").read_text()
    tracked.edit(lambda raw: raw.update(gone={"knob": 1}))
    tracked.commit()
    (tracked.folder / "params.yaml").write_text(text)
    (synced,), troubles = sync(tracked.folder)
    assert (synced.new_runs, synced.new_versions, troubles) == (0, 0, [])
    assert shown(open_store("shapes")) == before

    house = cloned()
    (house.folder / "params.yaml").write_text(text.replace("lr: 0.003", "lr: 0.004"))  # somebody goes on
    for new in (3, 0):
        (synced,), troubles = sync(house.folder)
        assert (synced.runs, synced.new_runs, synced.versions, troubles) == (3, new, 1, [])
    check_golden_answers(fetch("models:/shapes@champion"))


def test_a_card_of_other_code_is_told(tracked: Any) -> None:
    tracked.promote_twice()
    card = tracked.folder / "models" / "frozen" / "card.json"
    card.write_text(card.read_text().replace('"format": ', '"format": 99'))
    tracked.commit()
    (synced,), (trouble,) = sync(tracked.folder)
    assert "was written by another version of the code and is skipped: ModelError: models/frozen/card.json" in trouble
    assert (synced.runs, synced.new_runs) == (6, 0)


def test_nothing_to_show_is_told(tracked: Any) -> None:
    with pytest.raises(SyncError, match="There is nothing to show.*dvc repro"):
        sync(tracked.folder)


def test_a_folder_without_dvc_is_told(house: Any) -> None:
    with pytest.raises(SnapshotError, match="not a DVC repository.*dvc init"):
        sync(house.folder)
