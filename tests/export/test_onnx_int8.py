"""ONNX in 8 bits."""

from pathlib import Path

import numpy as np
import pytest
from saved_models import SIZE, plain_card, save

from meltpoint.export import onnx_int8
from meltpoint.export.graph import build_graph
from meltpoint.params.exports import OnnxInt8Export
from meltpoint.tasks.contract import load_objective


@pytest.mark.slow
def test_probabilities_are_not_rounded_to_8_bits(tmp_path: Path) -> None:
    graph, card = build_graph(save(plain_card(), tmp_path / "model"), load_objective("classification").decode)
    images = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), dtype=np.uint8)
    settings = OnnxInt8Export(images=16)
    onnx_int8.write(graph, card, tmp_path, settings, lambda: iter([images]))
    for found in onnx_int8.open_forward(tmp_path, card, settings)(images).values():
        assert np.allclose(found.sum(1), 1, atol=1e-6)
        steps = found * 255
        assert np.abs(steps - steps.round()).max() > 0.01, "a rounded probability is n / 255"
