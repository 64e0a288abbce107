"""A loss that is no number stops a training, and says where to look."""

import math
from collections.abc import Sequence

from meltpoint.errors import UserError
from meltpoint.train.problem import Part

SHOWN = 8  # images of a batch that a message names with their paths


class TrainingError(UserError, RuntimeError):
    """Training cannot go on."""


def check_finite(loss: float, step: int, epoch: int, rate: float, images: Part, numbers: Sequence[int]) -> None:
    """Stop when the loss of a step is NaN or infinite; `numbers` say which of `images` stood in the batch.

    Raises:
        TrainingError: it is; step, epoch, learning rate and the batch's images are named.
    """
    if math.isfinite(loss):
        return
    ids = ", ".join(str(images.ids[number]) for number in numbers)
    paths = "\n".join(f"  {images.ids[number]}: {images.paths[number]}" for number in numbers[:SHOWN])
    more = f"\n  and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    raise TrainingError(
        f"The loss is {loss} in step {step}, epoch {epoch + 1}, with the learning rate {rate:.3g}. It has to be"
        f" a finite number. The batch held the images with the ids {ids}:\n{paths}{more}\n"
        "Look at these images; if they are sound, lower `lr` or `clip`, lengthen `warmup`, or set train.precision to"
        " fp32."
    )


def check_val(loss: float, step: int, epoch: int) -> None:
    """Stop when the loss on val is NaN or infinite.

    Raises:
        TrainingError: it is.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss on val is {loss} after {epoch} epochs ({step} steps). It has to be a finite number; the weights"
            " have grown too large. Lower `lr`, lengthen `warmup`, lower `clip`, or set train.precision to fp32."
        )
