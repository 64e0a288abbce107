"""Stage `export@FORMAT`: the winner in another format, pixels in and probabilities out."""

import sys
from pathlib import Path

from meltpoint.errors import asked_row, guarded
from meltpoint.export.folder import write_export
from meltpoint.export.winner import read_winner
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card, views_of
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.tasks.contract import load_objective

EXPORTS = Path("exports")


def main() -> None:
    """Write the model of the winner in the format that is asked for."""
    params = read_params()
    name = asked_row(sys.argv, params.export.asked)
    watch, winner = Stopwatch(f"export@{name}"), read_winner(EXPORTS / "winner.json")
    model = Path("models") / winner.strategy
    card = read_card(model)
    decode, views = load_objective(card.task).decode, open_views(views_of(card))
    write_export(model, winner.fingerprint, name, params.export.asked[name], decode, views, EXPORTS / name)
    watch.close(f"{winner.strategy} as {name}", EXPORTS / name)


guarded(main)
