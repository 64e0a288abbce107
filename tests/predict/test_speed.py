from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from meltpoint.params.judging import Evaluate
from meltpoint.predict.predictor import Predictor
from meltpoint.predict.speed import measure


def test_it_measures_single_images_and_batches_of_the_models_size(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def probabilities(images: np.ndarray[Any, Any]) -> dict[str, object]:
        assert images.dtype == np.uint8
        seen.append(images.shape)
        return {}

    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1500)
    card = SimpleNamespace(images=SimpleNamespace(side=16), trainable_parameters=3)
    predictor = SimpleNamespace(
        probabilities=probabilities, card=card, folder=tmp_path, parameters=8, fit_batch=lambda batch: batch - 1
    )
    settings = Evaluate(batch=5, calibration_bins=5, worst=1, latency_runs=6)
    costs = measure(cast(Predictor, predictor), settings)
    assert set(seen) == {(1, 16, 16, 3), (4, 16, 16, 3)}
    assert seen.count((1, 16, 16, 3)) > settings.latency_runs
    assert list(costs) == [
        "latency_p50_ms",
        "latency_p95_ms",
        "throughput_per_second",
        "parameters",
        "trainable_parameters",
        "megabytes",
        "peak_megabytes",
    ]
    assert (costs["parameters"], costs["trainable_parameters"], costs["megabytes"]) == (8, 3, 0.002)
    assert 0 <= costs["latency_p50_ms"] <= costs["latency_p95_ms"]
    assert costs["throughput_per_second"] > 0
    assert costs["peak_megabytes"] > 1
