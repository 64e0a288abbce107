"""Format `onnx`: one file for onnxruntime and other runtimes, float32, any number of images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.arrays import Forward, Pixels
from meltpoint.export.onnx_file import FILE, open_onnx, write_onnx
from meltpoint.model.card import Card
from meltpoint.params.exports import OnnxExport

if TYPE_CHECKING:
    from torch import nn


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: OnnxExport,
    calibration: Callable[[], Iterator[Pixels]],  # noqa: ARG001 - the words of every format
) -> None:
    """Write model.onnx.

    Raises:
        ExportError: ONNX cannot express the model.
    """
    write_onnx(graph, card, folder / FILE, settings.resize)


def open_forward(folder: Path, card: Card, settings: OnnxExport) -> Forward:  # noqa: ARG001
    """The forward pass, without torch."""
    return open_onnx(folder / FILE, card)
