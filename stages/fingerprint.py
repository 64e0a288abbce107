"""Stage `fingerprint`: whether source, weights and taps are still those that were read. It runs each time."""

from pathlib import Path

from meltpoint.data.fingerprint import fingerprint_sources
from meltpoint.errors import guarded
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch

DATA = Path("data")


def main() -> None:
    """Look at names, sizes and times, at what weights hold and heads tap, and write what they add up to."""
    watch, params = Stopwatch("fingerprint"), read_params()
    weights = {name: encoder.weights for name, encoder in params.encoders.items()}
    found = fingerprint_sources(params.data, weights, params.taps, params.queries, params.exports)
    found.write(DATA)
    watch.close(found.sentence, DATA)


guarded(main)
