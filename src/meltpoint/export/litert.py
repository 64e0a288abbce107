"""Format `litert`: a .tflite file for telephones, one image at a time; float32, or weights in 8 bits.

Of an 8-bit network only convolutions, additions and matrix products are rounded. The layers of the heads after them are
a thousandth of the work, and rounding those makes whole heads give one answer to all images.
"""

import errno
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Forward, Pixels
from meltpoint.export.folder import ExportError
from meltpoint.export.runtimes import extra, one_by_one, reason_of, trace_one
from meltpoint.export.torch_export import write_archive
from meltpoint.model.card import Card
from meltpoint.params.exports import LitertExport

if TYPE_CHECKING:
    from torch import nn

FILE = "model.tflite"
SIGNATURE, IMAGES = "serving_default", "args_0"  # as the converter calls them
CONVERTER = Path(sys.prefix) / "litert" / "bin" / "python"  # of `make litert`; its packages do not go with ours
CONVERT = """
import sys, torch, litert_torch
program = torch.export.load(sys.argv[1])
images = torch.zeros(1, int(sys.argv[3]), int(sys.argv[3]), 3, dtype=torch.uint8)
litert_torch.convert(program.module(), (images,)).export(sys.argv[2])
"""


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: LitertExport,
    calibration: Callable[[], Iterator[Pixels]],
) -> None:
    """Write model.tflite: converted by a process in an environment of its own, then rounded here.

    Raises:
        ExportError: that environment, or the extra `litert`, is not installed; LiteRT cannot express the model.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        plain = Path(work) / FILE
        _convert(graph, card, plain)
        rounded = _round(plain, settings, calibration)
        (folder / FILE).write_bytes(rounded or plain.read_bytes())


def open_forward(folder: Path, card: Card, settings: LitertExport) -> Forward:  # noqa: ARG001
    """The forward pass, on the CPU, without torch.

    Raises:
        ExportError: the extra `litert` is not installed, or the file cannot be run.
    """
    with extra("litert", "An export as LiteRT"):
        from ai_edge_litert.interpreter import Interpreter
    try:
        interpreter = Interpreter(str(folder / FILE), num_threads=os.cpu_count())
        runner = interpreter.get_signature_runner(SIGNATURE)
    except (ValueError, RuntimeError) as error:
        raise ExportError(
            f"{folder / FILE} cannot be run by LiteRT: {reason_of(error)}. Make it again: dvc repro"
        ) from None

    def answer(image: Pixels) -> Sequence[NDArray[np.float32]]:
        found = runner(**{IMAGES: image})
        return [found[f"output_{number}"] for number in range(len(card.heads))]

    return one_by_one(answer, card)


def _convert(graph: "nn.Module", card: Card, path: Path) -> None:
    """Write a graph as float32. It crosses to the other process as an archive of torch.export without a pickle."""
    if not CONVERTER.exists():
        raise ExportError(
            f"An export as LiteRT is written by litert-torch in an environment of its own, and there is none at"
            f" {CONVERTER.parents[1]}. Make it, 7 GB of disk: make litert"
        )
    archive = path.with_suffix(".pt2")
    write_archive(trace_one(graph, card), archive)
    words = [str(CONVERTER), "-I", "-c", CONVERT, str(archive), str(path), str(card.images.side)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in reason:  # as Python says it, or LLVM
                raise OSError(number, os.strerror(number), str(path))
        raise ExportError(
            f"The model {card.strategy!r} cannot be written as LiteRT: {reason}. Remove export.litert, or compare"
            " strategies with another encoder or head."
        )


def _round(path: Path, settings: LitertExport, calibration: Callable[[], Iterator[Pixels]]) -> bytes | None:
    """The file with weights of 8 bits, and activations as `settings` say; None for float32."""
    if settings.precision == "float32":
        return None
    with extra("litert", "An export as LiteRT in 8 bits"):
        from ai_edge_quantizer.qtyping import TFLOperationName as Operation
        from ai_edge_quantizer.quantizer import Quantizer
        from ai_edge_quantizer.recipe_manager import RecipeManager

    recipe, anywhere = RecipeManager(), ".*"
    maps = (Operation.CONV_2D, Operation.DEPTHWISE_CONV_2D, Operation.ADD)
    match settings.precision:
        case "dynamic":
            recipe.add_dynamic_config(anywhere, Operation.ALL_SUPPORTED, num_bits=8)
        case "int8" | "int16":
            bits = int(settings.precision.removeprefix("int"))
            for operation in maps:
                recipe.add_static_config(anywhere, operation, activation_num_bits=bits, weight_num_bits=8)
            recipe.add_dynamic_config(anywhere, Operation.FULLY_CONNECTED, num_bits=8)
    quantizer: Any = Quantizer(str(path), recipe.get_quantization_recipe())
    images = islice((image for batch in calibration() for image in batch), settings.images)
    seen = [{IMAGES: np.ascontiguousarray(image[None])} for image in images]
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it tells all it does
        warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        ranges = quantizer.calibrate({SIGNATURE: seen}, num_threads=1) if quantizer.need_calibration else None
        return bytes(quantizer.quantize(ranges).quantized_model)
