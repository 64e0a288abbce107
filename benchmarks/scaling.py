"""What each stage costs for so many generated images of 64 px: seconds, processor seconds, peak memory, disk.

The images are in tar shards, as WebDataset writes them, or each is a file in the folder of its class. The stages are
those of dvc.yaml, one process after the other, on one thread of numbers; the encoder is tiny, as it is not what is
measured. Of every hundred images one is a darker copy of the one before.

    python benchmarks/scaling.py 100000                 # the table of docs/growing.md
    python benchmarks/scaling.py 1000000 --tables 64    # hashes meet in tables: `split.duplicates.tables`
    python benchmarks/scaling.py 100000 --source folder --stages fingerprint download split
    python benchmarks/scaling.py 10000 --at /tmp/here   # in a folder that stays
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from meltpoint.arrays import Pixels
from meltpoint.progress import megabytes

ROOT = Path(__file__).parents[1]
SOURCES: dict[str, dict[str, Any]] = {
    "shards": {"kind": "webdataset", "path": "shards", "shards": {"all": "*.tar"}},
    "folder": {"kind": "folder", "path": "folder"},
}
SIDE, SHARD, COPIED, CLASSES = 64, 10_000, 100, ("dark", "light", "red", "blue")
STAGES = {
    "fingerprint": (), "download": (), "split": (), "augment": ("small",), "embed": ("tiny",), "train": ("frozen",),
    "evaluate": ("frozen",), "speed": (), "compare": (),
}  # fmt: skip
MADE = {
    "download": "data/raw", "split": "data/splits", "augment": "data/views", "embed": "data/features",
    "train": "models", "evaluate": "reports/strategies",
}  # fmt: skip
HEAD = "| stage | seconds | processor seconds | microseconds an image | peak memory, MB | disk, MB |"
LINE = "|---|---|---|---|---|---|"


Picture = tuple[int, Pixels, str]  # the number, the pixels (SIDE, SIDE, 3) and the class


@dataclass(frozen=True)
class Cost:
    """What a stage cost: seconds on the clock and of processors, units of 10**6 bytes of memory and of disk."""

    stage: str
    seconds: float
    used: float
    memory: float
    disk: float

    def row(self, count: int) -> str:
        """A line of the table."""
        return (
            f"| `{self.stage}` | {self.seconds:,.0f} | {self.used:,.0f} | {self.used / count * 1e6:,.0f}"
            f" | {self.memory:,.0f} | {self.disk:,.0f} |"
        )


def write_images(count: int, source: str, folder: Path) -> None:
    """So many JPEG of coloured noise, in tars, each with its class, or as files in the folders of their classes."""
    write = _write_shard if source == "shards" else _write_files
    folder.mkdir(parents=True)
    for first in range(0, count, SHARD):
        write(folder, first, _pictures(first, min(SHARD, count - first)))


def _write_shard(folder: Path, first: int, pictures: Iterable[Picture]) -> None:
    with tarfile.open(folder / f"{first // SHARD:05}.tar", "w") as tar:
        for number, picture, name in pictures:
            for suffix, file in (("jpg", _jpeg(picture)), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{number:08}.{suffix}")
                member.size = len(file)
                tar.addfile(member, BytesIO(file))


def _write_files(folder: Path, first: int, pictures: Iterable[Picture]) -> None:  # noqa: ARG001 - as `_write_shard`
    for number, picture, name in pictures:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{number:08}.jpg").write_bytes(_jpeg(picture))


def _jpeg(picture: Pixels) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _pictures(first: int, count: int) -> Iterator[Picture]:
    """The number, the pixels (SIDE, SIDE, 3) and the class of each picture of a shard."""
    rng = np.random.default_rng(first)
    noise = rng.integers(60, 190, (count, SIDE // 4, SIDE // 4, 3), dtype=np.uint8)
    kinds = rng.integers(0, len(CLASSES), count)
    shift = np.array([[-20, -20, -20], [20, 20, 20], [-10, -10, 20], [20, -10, -10]])
    for place in range(count):
        copy = place % COPIED == 1
        kind = int(kinds[place - copy])
        coarse = (noise[place - copy] + shift[kind]).astype(np.uint8)
        picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        yield first + place, np.asarray((picture * 0.8).astype(np.uint8) if copy else picture), CLASSES[kind]


def write_params(folder: Path, source: str, tables: int | None) -> None:
    """A params.yaml for the images: the default preset with other data, one view, a tiny encoder, one strategy."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    raw["data"]["source"] = SOURCES[source]
    raw["data"]["labels"] = {"kind": {"kind": "names", "column": "cls" if source == "shards" else "class"}}
    raw["split"] |= {"official": False}
    raw["split"]["duplicates"] |= {} if tables is None else {"tables": tables}
    raw["views"] = {"small": {"side": SIDE, "resize": "squash", "interpolation": "area"}}
    tiny = {"views": "small", "name": "test_efficientnet", "weights": {"kind": "random"}}
    raw["encoders"] = {"tiny": tiny | {"mean": [0.5] * 3, "std": [0.25] * 3}}
    raw["heads"] = {"kind": {"label": "kind", "main": True}}
    probe = raw["strategies"]["frozen"]["probe"] | {"epochs": 10, "batch": 1024}
    raw["strategies"] = {"frozen": {"kind": "frozen", "encoder": "tiny", "probe": probe}}
    raw["register"] = {"name": "scaling"}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")


def run(stage: str, folder: Path) -> Cost:
    """Run a stage of dvc.yaml in a process of its own."""
    command = [sys.executable, str(ROOT / "stages" / f"{stage}.py"), *STAGES[stage]]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"The stage {stage} has failed.")
    disk = megabytes(folder / MADE[stage]) if stage in MADE else 0.0
    return Cost(stage, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, disk)


def main() -> None:
    """Make the images, run the stages, print a row for each as soon as it has ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int)
    parser.add_argument("--source", choices=[*SOURCES], default="shards", help="default: shards")
    parser.add_argument("--tables", type=int, help="of the search for near-duplicates; default: all with all")
    parser.add_argument("--stages", nargs="*", choices=[*STAGES], default=[*STAGES], help="default: all")
    parser.add_argument("--at", type=Path, help="a folder that stays; default: one that is removed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.at or Path(temporary)
        made = folder / SOURCES[asked.source]["path"]
        if not made.exists():
            start = time.process_time()
            write_images(asked.images, asked.source, made)
            print(f"{asked.images:,} images, {megabytes(made):,.0f} MB, written in"
                  f" {time.process_time() - start:,.0f} processor seconds\n", flush=True)  # fmt: skip
        write_params(folder, asked.source, asked.tables)
        print(f"{HEAD}\n{LINE}", flush=True)
        for stage in asked.stages:
            print(run(stage, folder).row(asked.images), flush=True)


if __name__ == "__main__":
    main()
