"""`make bench`: the speeds the docs quote. Name some to run only these: python benchmarks/run.py embedding stepping."""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

ALL = (
    "starting", "embedding", "probing", "closed_form", "stepping", "adapting", "idling", "growing", "streaming",
    "predicting", "evaluating", "equal", "serving", "backbones",
)  # fmt: skip
LONG = ("team", "clip_models")  # of an hour or some minutes, and of no photographs: only where they are named


def main() -> None:
    """Measure, and print a row for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=ALL, metavar="NAME", help=f"of {', '.join(ALL + LONG)}")
    names = parser.parse_args().names
    unknown = sorted(set(names) - {*ALL, *LONG})
    if unknown:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(ALL + LONG)}")
    if set(names) - set(LONG) and not Path("data/samples.csv").exists():
        raise SystemExit("The benchmarks run on the photographs of the default preset. Run first: dvc repro download")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for row in import_module(name).measure(Path(folder)):
                print(row, flush=True)


if __name__ == "__main__":
    main()
