"""Stage `fingerprint`: whether the files of the source are still those that were brought in. It runs each time."""

from pathlib import Path

from meltpoint.data.fingerprint import fingerprint
from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch

FINGERPRINT = Path("data/fingerprint.json")


def main() -> None:
    """Look at names, sizes and times, and write what they add up to."""
    watch, params = Stopwatch("fingerprint"), read_params()
    found = fingerprint(params.data)
    write_json(FINGERPRINT, found.parts)
    watch.close(found.sentence, FINGERPRINT)


guarded(main)
