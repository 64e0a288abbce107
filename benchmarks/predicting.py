"""`meltpoint predict FOLDER` on JPEG photographs against the loop that everybody writes: same network, same pixels.

The loop is a DataLoader with a worker process for each core, Pillow, albumentations, and timm's network as it is under
`inference_mode`. Both begin with an open model and the name of a folder; ours ends with lines of JSON, theirs with
probabilities. `draft`: of a model whose views let a JPEG be decoded at a reduced scale. Then what an image costs in
each part, in milliseconds of one core.

    python benchmarks/run.py predicting        # 192 pictures of each size
    python benchmarks/predicting.py 2000       # as many as you like
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from reporting import Row, Timed, side_by_side
from streaming import write_model

if TYPE_CHECKING:
    from meltpoint.model.model import Model
    from meltpoint.tasks.answerer import Answerer

IMAGES, ROUNDS, DIFFERENT = 192, 3, 64  # pictures that differ; the others are the same files again
EXTENTS = ((640, 480), (1024, 768))
BATCH, MOST = 32, 99  # classes of a head that are told: all
RIVAL = "a DataLoader loop"
Answers = dict[str, np.ndarray[Any, Any]]  # by head, in the order of the names of files


def measure(folder: Path, images: int = IMAGES) -> list[Row]:
    """Images a second of both, in turn, medians; and where the time goes."""
    import torch

    from meltpoint.model.model import load_model
    from meltpoint.tasks.answerer import open_answerer

    models = {"": folder / "plain", ", draft": folder / "drafted"}
    for name, path in models.items():
        torch.manual_seed(0)  # the same heads
        write_model(path, draft=bool(name))
    answerers = {name: open_answerer(path) for name, path in models.items()}
    network, rows = load_model(models[""])[0].eval(), list[Row]()
    network.to(memory_format=torch.contiguous_format)  # as timm makes it
    for width, height in EXTENTS:
        pictures = write_photographs(folder / f"{width}x{height}", (width, height), images)
        for name, answerer in answerers.items():
            what = f"predicting JPEG of {width}x{height}{name}, images a second"
            rows.append(_compare(what, answerer, network, pictures))
        rows += [_parts(answerer, pictures, f"{width}x{height}{name}") for name, answerer in answerers.items()]
    return rows


def write_photographs(folder: Path, extent: tuple[int, int], count: int) -> Path:
    """Parts of scikit-learn's two photographs side by side and mirrored, with the detail that they have."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder.mkdir(parents=True)
    (width, height), rng = extent, np.random.default_rng(0)
    first, second = load_sample_images().images
    both = np.concatenate([first, second], axis=1)
    large = np.concatenate([both, both[:, ::-1]], axis=0)  # (854, 1280, 3)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number >= DIFFERENT:
            path.hardlink_to(folder / f"{number % DIFFERENT:06d}.jpg")
            continue
        top, left = rng.integers(large.shape[0] - height + 1), rng.integers(large.shape[1] - width + 1)
        Image.fromarray(large[top : top + height, left : left + width]).save(path, quality=90)
    return folder


def _compare(what: str, answerer: "Answerer", network: "Model", pictures: Path) -> Row:
    """Both in turn; the largest difference of a probability, which for `draft` is that of other pixels."""
    files = sorted(pictures.iterdir())
    works = (lambda: _ours(answerer, pictures)), (lambda: _loop(network, answerer, files))
    cores: tuple[list[float], list[float]] = ([], [])

    def counted(side: int) -> Timed:
        before = _processors()
        timed = works[side]()
        cores[side].append(1000 * (_processors() - before) / len(files))
        return timed

    our, their = side_by_side(lambda: counted(0), lambda: counted(1), ROUNDS)
    apart = max(float(np.abs(our.result[head] - their.result[head]).max()) for head in their.result)
    size = np.mean([path.stat().st_size for path in files[:DIFFERENT]]) / 1e3
    note = (
        f"{len(files):,} files of {size:,.0f} kB, {os.cpu_count()} workers; answers differ by {apart:.0e} at most;"
        f" milliseconds of cores for an image: {median(cores[0]):.1f}, the loop {median(cores[1]):.1f}"
    )
    return Row(what, len(files) / our.seconds, len(files) / their.seconds, RIVAL, note)


def _ours(answerer: "Answerer", pictures: Path) -> Timed:
    """What the command does; the answers of all heads, (N, C), of its lines."""
    from meltpoint.predict.batch import Batch, run_batch
    from meltpoint.tasks.contract import load_display

    asked = Batch([str(pictures)], MOST, None, "json", None, None, None, window=False)
    start, out = time.perf_counter(), io.StringIO()
    run_batch(answerer, load_display(answerer.card.task), asked, out)
    seconds, said = time.perf_counter() - start, Answers()
    lines = [json.loads(line)["heads"] for line in out.getvalue().splitlines()]
    for head, names in answerer.card.classes.items():
        rows = [{choice["label"]: choice["probability"] for choice in line[head]["top"]} for line in lines]
        said[head] = np.array([[row[name] for name in names] for row in rows])
    return Timed(seconds, said)


def _processors() -> float:
    """Seconds of cores so far, of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _loop(network: "Model", answerer: "Answerer", files: list[Path]) -> Timed:
    """What everybody writes: the same pixels, by worker processes."""
    import albumentations as A  # noqa: N812 - its usual name
    import cv2
    import torch
    from albumentations.pytorch import ToTensorV2
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    heads, side, backbone = answerer.card.heads, answerer.card.images.side, network.backbone
    steps = [A.Resize(side, side, interpolation=cv2.INTER_AREA), A.Normalize(backbone.mean, backbone.std), ToTensorV2()]
    transform = A.Compose(steps)

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, number: int) -> torch.Tensor:
            pixels = np.asarray(Image.open(files[number]).convert("RGB"))
            tensor: torch.Tensor = transform(image=pixels)["image"]
            return tensor

    start, found = time.perf_counter(), list[dict[str, torch.Tensor]]()
    with torch.inference_mode():
        for images in DataLoader(Pictures(), batch_size=BATCH, num_workers=os.cpu_count() or 1):
            features = backbone.net(images)
            outputs = {name: head(features) for name, head in network.heads.items()}
            found.append({name: answerer.task.decode(outputs[name], own.head) for name, own in heads.items()})
    said = {head: torch.cat([part[head] for part in found]).numpy() for head in found[0]}
    return Timed(time.perf_counter() - start, said)


def _parts(answerer: "Answerer", pictures: Path, what: str) -> Row:
    """Milliseconds of one core that an image costs: decoding, resizing, the network; medians of rounds."""
    import torch

    from meltpoint.images.decode import decode
    from meltpoint.images.resize import resize

    images, files = answerer.card.images, sorted(pictures.iterdir())[:DIFFERENT]
    decoded = [decode(path, 100, smallest=images.smallest) for path in files]
    small = np.stack([resize(image, images) for image in decoded])

    def net() -> None:
        for start in range(0, len(small), 8):  # a part of a batch, which runs on one thread
            answerer.probabilities(small[start : start + 8])

    works: dict[str, Callable[[], Any]] = {
        "decode": lambda: [decode(path, 100, smallest=images.smallest) for path in files],
        "resize": lambda: [resize(image, images) for image in decoded],
        "network": net,
    }
    threads, spent = torch.get_num_threads(), {name: list[float]() for name in works}
    torch.set_num_threads(1)
    for _ in range(ROUNDS):
        for name, work in works.items():
            before = time.thread_time()
            work()
            spent[name].append(1000 * (time.thread_time() - before) / len(files))
    torch.set_num_threads(threads)
    each = {name: median(taken) for name, taken in spent.items()}
    note = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in each.items())
    return Row(f"{what}, milliseconds of a core for an image", sum(each.values()), None, "", note)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for row in measure(Path(place), int(sys.argv[1]) if sys.argv[1:] else IMAGES):
            print(row, flush=True)
