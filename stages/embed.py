"""Stage `embed@ENCODER`: the frozen encoder runs over every one of its views exactly once."""

import sys
from pathlib import Path

from meltpoint.errors import asked_row, guarded
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.memory import keep_freed_memory
from meltpoint.model.backbones import build_backbone
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch
from meltpoint.terminal import say
from meltpoint.train.embed import embed


def main() -> None:
    """Run the encoder over its views and keep what its taps give."""
    keep_freed_memory()
    params = read_params()
    name = asked_row(sys.argv, params.encoders)
    watch, folder = Stopwatch(f"embed@{name}"), Path("data/features") / name
    encoder = params.encoders[name]
    views = open_views(Path("data/views") / encoder.views)
    backbone = build_backbone(encoder, params.readings(name), views.size)
    say(f"{encoder.name}: {backbone.origin} (licence {backbone.licence})")
    features = embed(backbone, views, params.embed, folder)
    write_json(Path(f"reports/costs/embed-{name}.json"), watch.costs())
    watch.close(features.sentence, folder)


guarded(main)
