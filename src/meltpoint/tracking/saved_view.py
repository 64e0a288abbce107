"""A view of the experiment that MLflow's pages offer by name: the columns that matter, wide enough to read.

A saved view is a tag of the experiment that holds JSON, as the pages themselves write it when a person saves one.
"""

import json
from collections.abc import Sequence

from meltpoint.tracking.store import Store

VIEW, TITLE = "meltpoint", "Strategies side by side"
SAVED = "mlflow.sharedViewState."  # and the name of a view: a tag
SINCE = 1_767_225_600_000  # "created at", in ms: the same each time, so that saving again changes nothing
COSTS = ("cost/train_seconds", "cost/latency_p50_ms", "cost/trainable_parameters")
WIDTHS = {"attributes.`Run Name`": 330, "attributes.`Models`": 120}  # pixels
WIDE = 170


def save_view(store: Store, main: str, heads: Sequence[str]) -> None:
    """Save the view; `main` is the "head/metric" that decides, `heads` are all heads."""
    head, metric = main.split("/")
    scores = [f"test/{main}", f"val/{main}", *(f"test/{other}/{metric}" for other in heads if other != head)]
    metrics = [f"metrics.`{name}`" for name in (*scores, *COSTS)]
    columns = [*metrics, "tags.`winner`", "attributes.`Models`"]
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {**WIDTHS, **dict.fromkeys(metrics, WIDE)},
    }
    envelope = {"name": TITLE, "createdAt": SINCE, "updatedAt": SINCE, "state": json.dumps(state)}
    store.client.set_experiment_tag(store.experiment, f"{SAVED}{VIEW}", json.dumps(envelope))


def address(server: str, experiment: str) -> str:
    """Where a browser finds the view."""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
