"""Format `openvino`: the files of Intel's runtime, made of ONNX; any number of images."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.arrays import Forward, Pixels, Probabilities
from meltpoint.export.folder import ExportError
from meltpoint.export.onnx_file import FILE as ONNX
from meltpoint.export.onnx_file import write_onnx
from meltpoint.export.runtimes import extra, reason_of
from meltpoint.model.card import Card
from meltpoint.params.exports import OpenvinoExport

if TYPE_CHECKING:
    from torch import nn

FILE = "model.xml"  # its weights are in model.bin
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # where a CPU has bfloat16, it would be taken, and answers differ by 0.05


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: OpenvinoExport,
    calibration: Callable[[], Iterator[Pixels]],  # noqa: ARG001 - the words of every format
) -> None:
    """Write model.xml and model.bin.

    Raises:
        ExportError: the extra `openvino` is not installed, ONNX cannot express the model, or there is no room for it.
    """
    openvino = _load_openvino()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        write_onnx(graph, card, Path(work) / ONNX, settings.resize)
        model = openvino.convert_model(Path(work) / ONNX)
        try:
            openvino.save_model(model, folder / FILE, compress_to_fp16=settings.half)
        except RuntimeError as error:  # its streams do not say why
            raise ExportError(
                f"{folder / FILE} cannot be written by OpenVINO: {reason_of(error)}. It does not say why;"
                " often the disk is full. No file is half written. Make room, and run the same command."
            ) from error


def open_forward(folder: Path, card: Card, settings: OpenvinoExport) -> Forward:  # noqa: ARG001
    """The forward pass, on the CPU in float32, without torch.

    Raises:
        ExportError: the extra `openvino` is not installed, or the files cannot be run.
    """
    openvino = _load_openvino()
    try:
        compiled = openvino.Core().compile_model(folder / FILE, "CPU", EXACT)
    except RuntimeError as error:
        raise ExportError(
            f"{folder / FILE} cannot be run by OpenVINO: {reason_of(error)}. Make it again: dvc repro"
        ) from None

    def forward(images: Pixels) -> Probabilities:
        found = compiled(np.ascontiguousarray(images))
        return {name: np.array(found[name]) for name in card.heads}

    return forward


def _load_openvino() -> Any:
    """The package openvino; it tells its makers when it is imported, unless it does not find what it does that with."""
    nothing: Any = None  # in place of a module: to import that is an ImportError, and OpenVINO goes on without
    sys.modules.setdefault("openvino_telemetry", nothing)
    with extra("openvino", "An export for OpenVINO"):
        return import_module("openvino")
