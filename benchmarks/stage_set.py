"""What the benchmarks run on: photographs of the default preset as views, or as many generated ones as asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from meltpoint.images.augment import build_transform
from meltpoint.images.views import Views, open_views, write_views
from meltpoint.params.read import Params, parse_params
from meltpoint.parts import open_parts, write_parts
from meltpoint.shards import open_shards
from meltpoint.tables import read_classes, read_samples

PRESET = Path(__file__).parents[1] / "presets" / "elpv.yaml"
Changes = dict[str, Any]


def preset(**sections: Changes) -> Params:
    """The default preset with some keys of some sections changed; dots lead deeper: {"finetune.epochs": 2}."""
    raw: dict[str, Any] = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    for section, changes in sections.items():
        for path, value in changes.items():
            *above, key = path.split(".")
            place = raw[section]
            for name in above:
                place = place[name]
            place[key] = value
    return parse_params(raw, "the benchmark's params")


def photographs(params: Params, train: int, val: int, folder: Path) -> Views:
    """Views of the first photographs that `dvc repro download` has put into data/raw, one augmented view of each."""
    classes = read_classes(Path("data/classes.json"))
    samples = read_samples(Path("data/samples.csv"), classes).sample(train + val, random_state=0).sort_values("id")
    samples["split"] = np.random.default_rng(0).permutation(["train"] * train + ["val"] * val)
    row, read = next(iter(params.views.values())), open_shards(Path("data/raw")).read
    transform = build_transform(row.transforms, row.geometry)
    write_views(read, samples, classes, row.geometry, transform, 0, params.seed, folder)
    return open_views(folder)


def generated(count: int, size: int, folder: Path) -> Views:
    """`count` images of noise as a store of plain views, nine in ten for training; two classes told by brightness."""
    folder.mkdir(parents=True)
    rng, labels = np.random.default_rng(0), np.arange(count) % 2
    with write_parts(folder / "plain.npy", (count, size, size, 3), "|u1") as file:
        for start in range(0, count, 1000):
            noise = rng.integers(0, 200, (min(1000, count - start), size, size, 3), dtype=np.uint8)
            file.write((noise + 20 * labels[start : start + 1000, None, None, None].astype(np.uint8)).tobytes())
    table = pd.DataFrame({"id": np.arange(count), "bright": np.where(labels, "yes", "no")})
    table["path"] = [f"{number:06d}.png" for number in range(count)]
    table["split"] = np.where(np.arange(count) % 10 < 9, "train", "val")
    classes = {"bright": ["no", "yes"]}
    plain = open_parts(folder / "plain.npy")
    assert plain is not None
    return Views(folder, table, classes, size, 0, f"generated-{count}", plain, None)
