"""The view that MLflow's pages offer by name has the shape that they write themselves."""

import json
from typing import Any

from meltpoint.tracking.saved_view import address, save_view
from meltpoint.tracking.store import open_store


def test_the_view_is_saved_once_with_the_deciding_metric_first(house: Any) -> None:
    store = open_store("shapes")
    for _ in range(2):
        save_view(store, "shape/f1", ["colour", "shape"])
    tags = store.client.get_experiment(store.experiment).tags
    saved = [json.loads(value) for name, value in tags.items() if name.startswith("mlflow.sharedViewState.")]
    assert [(type(view["name"]), type(view["createdAt"])) for view in saved] == [(str, int)]
    state = json.loads(saved[0]["state"])
    assert state["selectedColumns"][:3] == [
        "metrics.`test/shape/f1`",
        "metrics.`val/shape/f1`",
        "metrics.`test/colour/f1`",
    ]
    assert set(state["columnWidths"]) <= set(state["columnOrder"])
    assert "viewStateShareKey=meltpoint" in address("http://127.0.0.1:5000", store.experiment)
