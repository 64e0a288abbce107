"""Stage `augment@VIEWS`: every image decoded once into a uint8 store, plain and augmented."""

import sys
from pathlib import Path

from meltpoint.errors import asked_row, guarded
from meltpoint.files import read_json
from meltpoint.images.augment import build_transform
from meltpoint.images.preview import draw_augmented
from meltpoint.images.views import open_views, write_views
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.shards import open_shards
from meltpoint.tables import read_classes, read_splits


def main() -> None:
    """Resize and augment, then show what the augmentation does."""
    params = read_params()
    name = asked_row(sys.argv, params.views)
    watch, folder = Stopwatch(f"augment@{name}"), Path("data/views") / name
    classes, palettes = read_classes(Path("data/classes.json")), read_json(Path("data/palettes.json"))
    depths = read_json(Path("data/depths.json"))
    samples = read_splits(Path("data/splits"), classes)
    row, read, seed = params.views[name], open_shards(Path("data/raw")).read, params.seed
    transform = build_transform(row.transforms, row.geometry)
    write_views(read, samples, classes, row.geometry, transform, row.copies, seed, folder, palettes, depths)
    views = open_views(folder)
    draw_augmented(views, transform, seed, Path(f"reports/augment/{name}.png"))
    watch.close(views.sentence, folder)


guarded(main)
