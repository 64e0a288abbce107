"""Stage `fingerprint`: whether the files of source and weights are still those that were read. It runs each time."""

from pathlib import Path

from meltpoint.data.fingerprint import fingerprint
from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch

FINGERPRINT, WEIGHTS = Path("data/fingerprint.json"), Path("data/weights.json")


def main() -> None:
    """Look at names, sizes and times, at what weights hold, and write what they add up to."""
    watch, params = Stopwatch("fingerprint"), read_params()
    found = fingerprint(params.data, params.backbone.weights)
    write_json(FINGERPRINT, found.parts)
    write_json(WEIGHTS, found.weights)
    watch.close(found.sentence, FINGERPRINT)


guarded(main)
