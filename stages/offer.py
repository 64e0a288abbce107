"""Stage `offer`: which exports are as good as the winner that they were made of, how large and how fast they are."""

from pathlib import Path

from meltpoint.compare.export_files import write_report
from meltpoint.errors import guarded
from meltpoint.export.winner import read_winner
from meltpoint.files import read_json
from meltpoint.memory import keep_freed_memory
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.tasks.offer import offer

EXPORTS, REPORTS = Path("exports"), Path("reports")


def main() -> None:
    """Ask all of them for the images of val and test, and say in three formats which hold."""
    keep_freed_memory()
    watch, params = Stopwatch("offer"), read_params()
    winner, formats = read_winner(EXPORTS / "winner.json"), read_json(Path("data/formats.json"))
    folders = (Path("models"), EXPORTS, REPORTS / "exports")
    offers = offer(winner, formats, folders, Path("data/raw"), params.evaluate, params.compare)
    write_report(offers, REPORTS)
    watch.close(offers.sentence, REPORTS / "exports.html")


guarded(main)
