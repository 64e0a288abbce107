"""ONNX files: how torch writes them, and how onnxruntime runs them, without torch."""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.arrays import Forward, Pixels, Probabilities
from meltpoint.export.folder import ExportError
from meltpoint.export.runtimes import free_sizes, reason_of
from meltpoint.model.card import Card

if TYPE_CHECKING:
    from torch import nn

FILE = "model.onnx"
IMAGES = "images"  # the input
RESIZED, CORE = "resized", "core."  # what the front of a file gives, and how names behind it begin
OPSET = 20
SEVEN_BITS = 64  # the largest weight in 8 bits: x86 without VNNI adds two products in 16 bits, and cuts off more
LARGE = 1.5e9  # bytes of weights from which on they are in a file beside it: protobuf ends at 2 GB


def write_onnx(graph: "nn.Module", card: Card, path: Path, resize: bool = False) -> None:
    """Write a graph as `path`, for any number of images, with `resize` of any size; outputs are called as the heads.

    Raises:
        ExportError: the model does something that ONNX, or torch's exporter, cannot express.
    """
    from torch.onnx import OnnxExporterError

    if resize:
        from meltpoint.export.resizing import Resized

        graph = Resized(graph, card.images)
    try:
        program = _to_onnx(graph, card, list(card.heads), resize)
    except OnnxExporterError as error:
        raise ExportError(
            f"The model {card.strategy!r} cannot be written as ONNX: {reason_of(error)}. Remove"
            " export.onnx and the formats made of it, or compare strategies with another encoder or head."
        ) from error
    shape = program.model.graph.inputs[0].shape
    if shape is None or isinstance(shape[0], int):  # a layer asks how many images there are, as a number
        raise ExportError(
            f"The model {card.strategy!r} cannot be written as ONNX for any number of images: a layer fixes it. Remove"
            " export.onnx and the formats made of it, or compare strategies with another encoder or head."
        )
    large = sum(one.nbytes for one in graph.state_dict().values()) > LARGE
    program.save(path, external_data=large)


def put_resizing(path: Path, card: Card) -> None:
    """Replace the ONNX file of images (N, S, S, 3) by one that resizes pictures (N, H, W, 3) first.

    This is for files in 8 bits: their resizing stays in float32.
    """
    import onnx

    from meltpoint.export.resizing import Resizing

    front = _to_onnx(Resizing(card.images), card, [RESIZED], resize=True).model_proto
    core = onnx.compose.add_prefix(onnx.load(path), CORE, rename_outputs=False)
    front.ir_version = core.ir_version
    onnx.save(onnx.compose.merge_models(front, core, [(RESIZED, f"{CORE}{IMAGES}")]), path)


def load_onnxruntime(part: str = "") -> Any:
    """The package onnxruntime, or a part of it, as ".quantization"; it sends its makers nothing.

    Its own switch comes too late for what it sends and writes to the home folder while it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import_module("onnxruntime").disable_telemetry_events()
    return import_module(f"onnxruntime{part}")


def open_onnx(path: Path, card: Card) -> Forward:
    """The forward pass of an ONNX file, on the CPU. Its threads sleep when there is nothing to do.

    Raises:
        ExportError: the file cannot be run.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - kinds of its own, one for each code
        raise ExportError(
            f"{path} cannot be run by onnxruntime: {reason_of(error)}. Make it again: dvc repro"
        ) from None
    heads = list(card.heads)

    def forward(images: Pixels) -> Probabilities:
        found = session.run(heads, {IMAGES: np.ascontiguousarray(images)})
        return dict(zip(heads, found, strict=True))

    return forward


def _to_onnx(graph: "nn.Module", card: Card, outputs: list[str], resize: bool) -> Any:
    import torch

    example, shapes = free_sizes(card, resize)
    program = torch.onnx.export(
        graph, example, dynamo=True, opset_version=OPSET, verbose=False, input_names=[IMAGES], output_names=outputs,
        dynamic_shapes=shapes,
    )  # fmt: skip
    assert program is not None
    return program
