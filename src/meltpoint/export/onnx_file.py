"""ONNX files: how torch writes them, and how onnxruntime runs them, without torch."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meltpoint.arrays import Forward, Pixels, Probabilities
from meltpoint.export.folder import ExportError
from meltpoint.model.card import Card

if TYPE_CHECKING:
    from torch import nn

FILE = "model.onnx"
IMAGES = "images"  # the input
OPSET = 20
LARGE = 1.5e9  # bytes of weights from which on they are in a file beside it: protobuf ends at 2 GB


def write_onnx(graph: "nn.Module", card: Card, path: Path) -> None:
    """Write a graph as `path`, for any number of images; its outputs are called as the heads.

    Raises:
        ExportError: the model does something that ONNX, or torch's exporter, cannot express.
    """
    import torch
    from torch.onnx import OnnxExporterError

    example = torch.zeros(2, card.images.side, card.images.side, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph, (example,), dynamo=True, opset_version=OPSET, verbose=False, input_names=[IMAGES],
            output_names=list(card.heads), dynamic_shapes=({0: torch.export.Dim("n")},),
        )  # fmt: skip
    except OnnxExporterError as error:
        raise ExportError(
            f"The model {card.strategy!r} cannot be written as ONNX: {str(error).strip().splitlines()[0]}. Remove"
            " export.onnx and the formats made of it, or compare strategies with another encoder or head."
        ) from error
    assert program is not None
    shape = program.model.graph.inputs[0].shape
    if shape is None or isinstance(shape[0], int):  # a layer asks how many images there are, as a number
        raise ExportError(
            f"The model {card.strategy!r} cannot be written as ONNX for any number of images: a layer fixes it. Remove"
            " export.onnx and the formats made of it, or compare strategies with another encoder or head."
        )
    large = sum(one.nbytes for one in graph.state_dict().values()) > LARGE
    program.save(path, external_data=large)


def open_onnx(path: Path, card: Card) -> Forward:
    """The forward pass of an ONNX file, on the CPU. Its threads sleep when there is nothing to do.

    Raises:
        ExportError: the file cannot be run.
    """
    import onnxruntime  # type: ignore[import-untyped]

    onnxruntime.disable_telemetry_events()  # which it sends to its makers otherwise
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - kinds of its own, one for each code
        raise ExportError(
            f"{path} cannot be run by onnxruntime: {str(error).splitlines()[0]}. Make it again: dvc repro"
        ) from None
    heads = list(card.heads)

    def forward(images: Pixels) -> Probabilities:
        found = session.run(heads, {IMAGES: np.ascontiguousarray(images)})
        return dict(zip(heads, found, strict=True))

    return forward
