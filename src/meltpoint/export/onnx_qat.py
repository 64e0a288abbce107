"""Format `onnx_qat`: ONNX in 8 bits, trained a few epochs with its rounding to give the winner's own answers.

Quantisation-aware training (Jacob et al.: Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018) by torchao. It needs no labels: its targets are the winner's answers.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meltpoint.arrays import Forward, Pixels
from meltpoint.export.onnx_file import FILE, SEVEN_BITS, open_onnx, write_onnx
from meltpoint.export.runtimes import extra, free_sizes
from meltpoint.model.card import Card
from meltpoint.params.exports import OnnxQatExport
from meltpoint.terminal import say

if TYPE_CHECKING:
    from torch import Tensor, nn


def write(
    graph: "nn.Module",
    card: Card,
    folder: Path,
    settings: OnnxQatExport,
    calibration: Callable[[], Iterator[Pixels]],
) -> None:
    """Write model.onnx, trained on all plain views of training images, batch by batch in the same order.

    Raises:
        ExportError: the extra `qat` is not installed, or ONNX cannot express the model.
    """
    import torch

    with extra("qat", "Training in 8 bits"):
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

    example, shapes = free_sizes(card, resize=False)
    student = copy.deepcopy(graph).requires_grad_(True)
    program = torch.export.export(student, example, dynamic_shapes=shapes)
    settled = get_default_x86_inductor_quantization_config(is_qat=True)
    weight = replace(settled.weight, quant_min=-SEVEN_BITS, quant_max=SEVEN_BITS)
    quantizer = X86InductorQuantizer().set_global(replace(settled, weight=weight))
    rounded = prepare_qat_pt2e(program.module(), quantizer)
    _train(rounded, graph, settings, calibration)
    network = convert_pt2e(rounded)
    for module in network.modules():
        module.training = False  # as it was traced; of such a module `eval` is refused
    write_onnx(network, card, folder / FILE, settings.resize)


def open_forward(folder: Path, card: Card, settings: OnnxQatExport) -> Forward:  # noqa: ARG001
    """The forward pass, without torch."""
    return open_onnx(folder / FILE, card)


def _train(
    student: "nn.Module",
    teacher: "nn.Module",
    settings: OnnxQatExport,
    calibration: Callable[[], Iterator[Pixels]],
) -> None:
    """Adam, the learning rate falling as a cosine from batch to batch."""
    import torch

    steps = settings.epochs * sum(1 for _ in calibration())
    optimiser = torch.optim.Adam(student.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(settings.epochs):
        losses = []
        for pixels in calibration():
            images = torch.from_numpy(np.array(pixels))
            with torch.no_grad():
                wanted = teacher(images)
            loss = sum((divergence(*pair) for pair in zip(student(images), wanted, strict=True)), torch.zeros(()))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        say(f"epoch {epoch + 1} of {settings.epochs}: {np.mean(losses):.4f} from the winner's answers")


def divergence(said: "Tensor", wanted: "Tensor") -> "Tensor":
    """How far probabilities (N, K, ...) are from others: the mean Kullback-Leibler divergence, each class by itself."""
    from torch.nn.functional import binary_cross_entropy

    return binary_cross_entropy(said, wanted) - binary_cross_entropy(wanted, wanted)
