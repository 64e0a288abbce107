"""What predicting costs on this machine: latency, throughput, size, memory. Images are noise, which costs the same."""

import time
from statistics import median

import numpy as np

from meltpoint.images.decode import Pixels
from meltpoint.params.judging import Evaluate
from meltpoint.predict.predictor import Predictor
from meltpoint.progress import megabytes, peak_megabytes, track

WARM_UP = 5  # predictions before the clock starts
REPEATS = 5  # batches for the throughput, of which the median counts


def measure(predictor: Predictor, settings: Evaluate) -> dict[str, float]:
    """From pixels in memory to probabilities in memory, preparation included.

    `latency_p50_ms` and `latency_p95_ms` of `settings.latency_runs` single images, `throughput_per_second` in batches
    of `settings.batch` or as many as fit, `parameters`, `trainable_parameters`, `megabytes` of the model folder (10**6
    bytes), and `peak_megabytes` this process has held.
    """
    size, count = predictor.card.images.side, predictor.fit_batch(settings.batch)
    noise = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for _ in range(WARM_UP):
        _seconds(predictor, noise[:1])
    single = [_seconds(predictor, noise[:1]) for _ in track(range(settings.latency_runs), "latency")]
    _seconds(predictor, noise)
    batch = median(_seconds(predictor, noise) for _ in track(range(REPEATS), "throughput", unit="batch"))
    p50, p95 = np.percentile(single, [50, 95])
    return {
        "latency_p50_ms": round(1000 * float(p50), 3),
        "latency_p95_ms": round(1000 * float(p95), 3),
        "throughput_per_second": round(count / batch, 2),
        "parameters": predictor.parameters,
        "trainable_parameters": predictor.card.trainable_parameters,
        "megabytes": round(megabytes(predictor.folder), 3),
        "peak_megabytes": round(peak_megabytes(), 1),
    }


def _seconds(predictor: Predictor, images: Pixels) -> float:
    start = time.perf_counter()
    predictor.probabilities(images)
    return time.perf_counter() - start
