"""Stage `download`: a complete, verified dataset in data/raw and its manifest, or nothing."""

from pathlib import Path

from meltpoint.data.download import download_dataset
from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.images.decode import inspect
from meltpoint.images.mask_files import normalise
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.tables import write_samples


def main() -> None:
    """Read the source, decode every image once, write the manifest."""
    watch, params = Stopwatch("download"), read_params()
    collected = download_dataset(params.data, Path("data/raw"), Path("reports/data.json"), inspect, normalise)
    write_json(Path("data/classes.json"), collected.classes)
    write_json(Path("data/names.json"), collected.names)
    write_json(Path("data/descriptions.json"), collected.descriptions)
    write_json(Path("data/palettes.json"), collected.palettes)
    write_json(Path("data/depths.json"), collected.depths)
    write_samples(collected.samples, Path("data/samples.csv"))
    watch.close(collected.sentence, Path("data/raw"))


guarded(main)
