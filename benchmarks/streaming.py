"""Answering for a folder of JPEG files against decoding alone and inference alone, and what memory it takes.

The rates alone are measured with all cores. On a machine with an accelerator, decoding and inference run side by side,
and the bound is the slower of the two. Where both live on the same cores they cannot: an image then costs its decoding
and its inference, and no pipeline gets beyond 1 / (1/decode + 1/inference). Both bounds are told. So that the overlap
is seen without an accelerator too, one is played: inference that takes as long as decoding, and waits instead of
computing. Equal rates are the hardest case, for neither side has time to spare.

    python benchmarks/run.py streaming       # 1,000 files
    python benchmarks/streaming.py 10000     # as many as you like
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Pixels
from reporting import Row

if TYPE_CHECKING:
    from meltpoint.model.card import Card
    from meltpoint.predict.inputs import Picture, Source

IMAGES, MORE, ROUNDS, WIDTH, HEIGHT = 1000, 4, 3, 640, 480
DIFFERENT = 64  # pictures; the others are copies, which cost the same
MEMORY = "memory"


def measure(folder: Path, images: int = IMAGES) -> list[Row]:
    """Images a second, the three in turn, medians; and the memory of streaming so many images, and four times more."""
    pictures = write_pictures(folder / "pictures", images * MORE)
    model = write_model(folder / "model")
    few = subset(pictures, folder / "few", images)
    rates, device = _rates(model, few, images)
    slower = min(rates["decode"], rates["inference"])
    shared = 1 / (1 / rates["decode"] + 1 / rates["inference"])
    alone = (
        f"alone: decode {rates['decode']:,.0f}, inference {rates['inference']:,.0f} on {device}, {os.cpu_count()} cores"
    )
    note = f"{images:,} JPEG of {WIDTH}x{HEIGHT}; {alone}"
    memory = [_peak(model, place) for place in (few, pictures)]
    grown = f"MB of memory for {images * MORE:,} images, {memory[0]:,.0f} for {images:,}"
    played = f"the accelerator is played: {rates['played']:,.0f} images a second"
    busier = min(rates["decode"], rates["played"])
    return [
        Row("streaming, images a second", rates["stream"], slower, "the slower of the two alone", note),
        Row("streaming on shared cores", rates["stream"], shared, "both after each other", note),
        Row("streaming beside an accelerator", rates["overlap"], busier, "the slower of the two", played),
        Row("streaming, peak memory", memory[1], None, "", grown),
    ]


def write_pictures(folder: Path, count: int) -> Path:
    """JPEG files like photographs: smooth, with some grain; about 100 kB each."""
    from PIL import Image

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    first: list[Path] = []
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number >= DIFFERENT:
            path.hardlink_to(first[number % DIFFERENT])
            continue
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.normal(0, 8, (HEIGHT, WIDTH, 1)).astype(np.int16)
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(path, quality=88)
        first.append(path)
    return folder


def subset(pictures: Path, folder: Path, count: int) -> Path:
    """A folder with the first of the pictures."""
    folder.mkdir()
    for path in sorted(pictures.iterdir())[:count]:
        (folder / path.name).hardlink_to(path)
    return folder


def write_model(folder: Path, draft: bool = False) -> Path:
    """The default preset's backbone at its size, with untrained heads; `draft` as in a row of views."""
    from meltpoint.model.card import FORMAT, Card, HeadCard
    from meltpoint.model.model import build_model, save_model
    from meltpoint.tasks.classification.objective import count_outputs
    from stage_set import preset

    params = preset()
    outputs = {name: count_outputs(2, head.target) for name, head in params.heads.items()}
    model = build_model(params.recipe("frozen").encoder, params.heads, outputs, params.recipe("frozen").views.side)
    heads = {
        name: HeadCard(
            head=head,
            classes=["no", "yes"],
            outputs=outputs[name],
            threshold=None,
            unknown_below=None,
            names={},
            colours=None,
        )
        for name, head in params.heads.items()
    }
    card = Card(
        format=FORMAT, strategy="none", task="classification", backbone=params.recipe("frozen").encoder.backbone,
        images=params.recipe("frozen").views.geometry.model_copy(update={"draft": draft}),
        max_megapixels=100, mean=model.backbone.mean, std=model.backbone.std, heads=heads, tree=None,
        main_head=params.main_head, metric="accuracy", key="", data="", seed=0, licence="", trainable_parameters=0,
        versions={},
    )  # fmt: skip
    save_model(model, card, folder)
    return folder


def _read(source: "Source", card: "Card") -> "Picture":
    """As prediction reads it."""
    from meltpoint.predict.inputs import read_picture

    return read_picture(source, card, None, whole=False)


def _rates(model: Path, pictures: Path, count: int) -> tuple[dict[str, float], str]:
    """Images a second of each, and the device."""
    from meltpoint.predict.inputs import expand, stack_pixels
    from meltpoint.predict.predictor import BATCH, Predictor
    from meltpoint.prefetch import map_ahead
    from meltpoint.tasks.answerer import open_answerer

    answerer, waited = open_answerer(model), list[int]()
    batch = stack_pixels(_read(path, answerer.card) for path in sorted(pictures.iterdir())[:BATCH])

    def decode() -> None:
        for _ in map_ahead(lambda path: _read(path, answerer.card), expand(pictures), 2 * BATCH, None):
            pass

    def infer() -> None:
        for start in range(0, count, BATCH):
            answerer.probabilities(batch[: min(BATCH, count - start)])

    def stream() -> None:
        assert sum(answer.error is None for answer in answerer.stream(pictures)) == count

    def overlap() -> None:
        waited.clear()
        with patch.object(Predictor, "probabilities", wait):
            stream()
        assert sum(waited) == count, "the model ran instead"

    def wait(self: Predictor, images: Pixels, _: object) -> dict[str, NDArray[np.float32]]:
        waited.append(len(images))
        time.sleep(len(images) * each)
        return {head: np.full((len(images), len(names)), 0.5, np.float32) for head, names in self.card.classes.items()}

    for warm in (infer, decode):
        each = _seconds(warm) / count
    works = {"decode": decode, "inference": infer, "stream": stream, "overlap": overlap}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            seconds[name].append(_seconds(work))
    rates = {name: count / median(taken) for name, taken in seconds.items()}
    return rates | {"played": 1 / each}, str(answerer.predictor.device)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak(model: Path, pictures: Path) -> float:
    """Peak memory in MB of streaming a folder, in a process of its own."""
    command = [sys.executable, __file__, MEMORY, str(model), str(pictures)]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def _stream_once(model: Path, pictures: Path) -> None:
    from meltpoint.progress import peak_megabytes
    from meltpoint.tasks.answerer import open_answerer

    assert all(answer.error is None for answer in open_answerer(model).stream(pictures))
    print(json.dumps(peak_megabytes()))


if __name__ == "__main__":
    if sys.argv[1:2] == [MEMORY]:
        _stream_once(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as place:
            for row in measure(Path(place), int(sys.argv[1]) if sys.argv[1:] else IMAGES):
                print(row, flush=True)
