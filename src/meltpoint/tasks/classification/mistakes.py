"""The worst mistakes of a head on test, to be looked at: where the true class got the least probability."""

from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.evaluate.predictions import answers_of, codes_of, probabilities_of
from meltpoint.images.contact_sheet import draw_sheet
from meltpoint.images.views import Views

COLUMNS = 6


def worst_mistakes(predictions: pd.DataFrame, head: str, classes: list[str]) -> pd.DataFrame:
    """The wrong answers of a head on test, worst first; ties by id.

    Columns: id, true, predicted (class names), confidence (the head's own probability of the
    answer), given (of the true class).
    """
    table = predictions[predictions["split"] == "test"]
    true, probabilities = codes_of(table, head, classes), probabilities_of(table, head, classes)
    predicted, rows = answers_of(table, head, classes), np.arange(len(table))
    mistakes = pd.DataFrame(
        {
            "id": table["id"].to_numpy(),
            "true": np.asarray(classes)[true],
            "predicted": np.asarray(classes)[predicted],
            "confidence": probabilities[rows, predicted],
            "given": probabilities[rows, true],
        }
    )
    wrong: pd.DataFrame = mistakes.loc[(true >= 0) & (predicted != true)]
    return wrong.sort_values(["given", "id"], ignore_index=True)


def draw_mistakes(mistakes: pd.DataFrame, views: Views, worst: int, title: str, path: Path) -> None:
    """The `worst` first mistakes as a contact sheet of plain views, each with its true and its predicted class."""
    shown = mistakes.head(worst)
    rows = np.searchsorted(views.samples["id"].to_numpy(), shown["id"].to_numpy())
    captions = [f"{row.true}\nread as {row.predicted}, {row.confidence:.0%}" for row in shown.itertuples()]
    draw_sheet([views.plain[row] for row in rows], captions, COLUMNS, title, path)
