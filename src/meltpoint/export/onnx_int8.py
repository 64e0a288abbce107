"""Format `onnx_int8`: ONNX with weights and activations in 8 bits, whose ranges are learnt from training views.

Weights use 7 of them (`SEVEN_BITS`, onnxruntime's `reduce_range`), so that no sum is cut off on x86 without VNNI.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.arrays import Forward, Pixels
from meltpoint.export.onnx_file import FILE, IMAGES, load_onnxruntime, open_onnx, put_resizing, write_onnx
from meltpoint.model.card import Card
from meltpoint.params.exports import OnnxInt8Export

if TYPE_CHECKING:
    from torch import nn

PRODUCTS = {"Conv", "Gemm", "MatMul"}


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: OnnxInt8Export,
    calibration: Callable[[], Iterator[Pixels]],
) -> None:
    """Write model.onnx, quantised as QDQ: weights for each channel, activations by their range on some views.

    Raises:
        ExportError: ONNX cannot express the model.
    """
    quantization = load_onnxruntime(".quantization")
    prepare = load_onnxruntime(".quantization.shape_inference").quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        """Batches as onnxruntime asks for them."""

        def __init__(self) -> None:
            self.batches = _some(calibration(), settings.images)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {IMAGES: batch}

    with tempfile.TemporaryDirectory(dir=folder) as work:
        plain, prepared = Path(work) / "plain.onnx", Path(work) / "prepared.onnx"
        write_onnx(graph, card, plain)
        prepare(str(plain), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared), str(folder / FILE), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8, reduce_range=True,
            nodes_to_exclude=_after_products(prepared),
        )  # fmt: skip
    if settings.resize:
        put_resizing(folder / FILE, card)


def open_forward(folder: Path, card: Card, settings: OnnxInt8Export) -> Forward:  # noqa: ARG001
    """The forward pass, without torch."""
    return open_onnx(folder / FILE, card)


def _after_products(path: Path) -> list[str]:
    """The nodes after the last product with weights of each output: rounded, a probability would be one of 256."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    maker = {made: node for node in graph.node for made in node.output}
    names, ahead = set[str](), [output.name for output in graph.output]
    while ahead:
        node = maker.get(ahead.pop())
        if node is not None and node.name not in names and node.op_type not in PRODUCTS:
            names.add(node.name)
            ahead += node.input
    return sorted(names - {""})


def _some(batches: Iterator[Pixels], images: int) -> Iterator[Pixels]:
    """The first so many images."""
    for batch in batches:
        if images <= 0:
            return
        yield np.ascontiguousarray(batch[:images])
        images -= len(batch)
