"""The worst mistakes of a head of tags on test, to be looked at: tags that it missed, and tags that it made up."""

from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint.evaluate.predictions import probabilities_of
from meltpoint.images.contact_sheet import draw_sheet
from meltpoint.images.views import Views
from meltpoint.model.card import HeadCard
from meltpoint.tables import answer_column, label_column, read_tags

COLUMNS = 6
NAMED = 3  # tags of a kind in a caption
LEAST = 1e-7  # of a probability whose logarithm is taken


def worst_mistakes(predictions: pd.DataFrame, head: str, card: HeadCard) -> pd.DataFrame:
    """The test images with a wrong tag, worst first; ties by id.

    Columns: id, missed and wrong (names, joined by commas), loss (the summed -log of the probabilities that the wrong
    cells got for what is true).
    """
    table = predictions[predictions["split"] == "test"]
    truth = read_tags(table[label_column(head)], card.classes)
    said = read_tags(table[answer_column(head)], card.classes) == 1
    shares = np.clip(probabilities_of(table, head, card.classes), LEAST, 1 - LEAST)
    missed, wrong = (truth == 1) & ~said, (truth == 0) & said
    loss = -(np.log(shares) * missed + np.log(1 - shares) * wrong).sum(1)
    names = np.array(card.classes, dtype=object)
    mistakes = pd.DataFrame(
        {
            "id": table["id"].to_numpy(),
            "missed": [", ".join(names[row]) for row in missed],
            "wrong": [", ".join(names[row]) for row in wrong],
            "loss": loss,
        }
    )
    found: pd.DataFrame = mistakes.loc[missed.any(1) | wrong.any(1)]
    return found.sort_values(["loss", "id"], ascending=[False, True], ignore_index=True)


def draw_mistakes(mistakes: pd.DataFrame, views: Views, worst: int, title: str, path: Path) -> None:
    """The `worst` first mistakes as a contact sheet of plain views, each with the tags that are missing or too many."""
    shown = mistakes.head(worst)
    rows = np.searchsorted(views.samples["id"].to_numpy(), shown["id"].to_numpy())
    captions = [f"missed: {_short(row.missed)}\nwrong: {_short(row.wrong)}" for row in shown.itertuples()]
    draw_sheet([views.plain[row] for row in rows], captions, COLUMNS, title, path)


def _short(names: object) -> str:
    parts = str(names).split(", ")
    return ", ".join(parts[:NAMED]) + (f" +{len(parts) - NAMED}" if len(parts) > NAMED else "") or "none"
