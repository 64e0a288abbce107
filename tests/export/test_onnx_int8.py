"""ONNX in 8 bits: probabilities are finer than that, and no processor overflows."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from saved_models import SIZE, plain_card, save

from meltpoint.export import onnx_int8, onnx_qat
from meltpoint.export.graph import build_graph
from meltpoint.params.exports import OnnxInt8Export, OnnxQatExport
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "settings"),
    [(onnx_int8, OnnxInt8Export(images=16)), (onnx_qat, OnnxQatExport(epochs=1, lr=1e-5))],
    ids=["onnx_int8", "onnx_qat"],
)
def test_two_products_fit_in_16_bits(written: Any, settings: Any, tmp_path: Path) -> None:
    """As processors without VNNI add them: 2 * 255 * 64 is under 2**15, with weights to 65 it is not."""
    if written is onnx_qat:
        pytest.importorskip("torchao")
    graph, card = build_graph(save(plain_card(), tmp_path / "model"), load_objective("classification").decode)
    images = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), dtype=np.uint8)
    written.write(graph, card, tmp_path, settings, lambda: iter([images]))
    found = onnx.load(tmp_path / "model.onnx").graph
    rounded = {one.name: onnx.numpy_helper.to_array(one) for one in found.initializer}
    weights = [one for one in rounded.values() if one.dtype == np.int8 and one.ndim > 1]
    assert weights
    assert max(np.abs(one.astype(int)).max() for one in weights) == 64
