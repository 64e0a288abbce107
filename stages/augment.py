"""Stage `augment`: every image decoded once into a uint8 store, plain and augmented."""

from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.files import read_json
from meltpoint.images.augment import build_transform
from meltpoint.images.preview import draw_augmented
from meltpoint.images.views import open_views, write_views
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.shards import open_shards
from meltpoint.tables import read_classes, read_splits

VIEWS = Path("data/views")


def main() -> None:
    """Resize and augment, then show what the augmentation does."""
    watch, params = Stopwatch("augment"), read_params()
    classes, palettes = read_classes(Path("data/classes.json")), read_json(Path("data/palettes.json"))
    depths = read_json(Path("data/depths.json"))
    samples = read_splits(Path("data/splits"), classes)
    transform, count = build_transform(params.augment.transforms, params.images), params.augment.views
    read = open_shards(Path("data/raw")).read
    write_views(read, samples, classes, params.images, transform, count, params.seed, VIEWS, palettes, depths)
    views = open_views(VIEWS)
    draw_augmented(views, transform, params.seed, Path("reports/augment.png"))
    watch.close(views.sentence, VIEWS)


guarded(main)
