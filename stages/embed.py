"""Stage `embed`: the frozen backbone runs over every view exactly once."""

from pathlib import Path

from meltpoint.errors import guarded
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.model.backbones import build_backbone
from meltpoint.params.read import read_params
from meltpoint.progress import Stopwatch, say
from meltpoint.train.embed import embed

FEATURES = Path("data/features")


def main() -> None:
    """Run the backbone over the views and keep what its taps give."""
    watch, params = Stopwatch("embed"), read_params()
    views = open_views(Path("data/views"))
    backbone = build_backbone(params.backbone, {head.reads for head in params.heads.values()}, views.size)
    say(f"{params.backbone.name}: {backbone.origin} (licence {backbone.licence})")
    features = embed(backbone, views, params.embed, FEATURES)
    write_json(Path("reports/costs/embed.json"), watch.costs())
    watch.close(features.sentence, FEATURES)


guarded(main)
