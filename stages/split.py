"""Stage `split`: train, val and test without leaks: groups, and near-duplicates that are found, never cross."""

from functools import partial
from pathlib import Path

from meltpoint.data.duplicates import find_duplicates
from meltpoint.data.split import split_samples
from meltpoint.errors import guarded
from meltpoint.files import read_json, write_json
from meltpoint.images.contact_sheet import draw_pairs
from meltpoint.images.decode import read_grey
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.shards import open_shards
from meltpoint.tables import read_classes, read_samples, write_splits


def main() -> None:
    """Find the duplicates, group them, split, and show what was found."""
    watch, params, classes = Stopwatch("split"), read_params(), read_classes(Path("data/classes.json"))
    depths = read_json(Path("data/depths.json"))
    samples = read_samples(Path("data/samples.csv"), classes)
    raw = open_shards(Path("data/raw"))
    read = partial(read_grey, read=raw.read, depths=depths)
    pairs = find_duplicates(samples["path"].tolist(), read, params.split.duplicates, Path("data"))
    result = split_samples(samples, classes, pairs, params.split)
    write_splits(result.samples, Path("data/splits"))
    draw_pairs(raw.read, samples, pairs, result.parted, Path("reports/duplicates.png"), depths)
    write_json(Path("reports/split.json"), result.report)
    watch.close(result.sentence, Path("data/splits"))


guarded(main)
