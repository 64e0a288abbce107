"""Running a network for its outputs only: on the best device there is, on a CPU in parts that stay in its cache."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

Outputs = dict[str, Tensor]

# The activations of so many pixels stay in a CPU's last-level cache. A part of them runs on one thread, so that threads
# never wait for each other: on two cores, EfficientNet-Lite0 in parts of half or double the size is up to 20% slower.
PIXELS = 2**17


def inference_device() -> torch.device:
    """The accelerator that torch finds (CUDA, MPS ...), else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def fills_cache(images: Tensor) -> bool:
    """Whether images (N, S, S, 3) are more than a CPU is given at once."""
    return len(images) > _at_once(images)


def infer(forward: Callable[[Tensor], Outputs], images: Tensor, device: torch.device) -> Outputs:
    """`forward` of images uint8 (N, S, S, 3), N >= 1, without gradients: each output (N, ...), on the device.

    `forward` treats each image by itself, and keeps no state: on a CPU several threads call it.
    """

    def run(part: Tensor) -> Outputs:
        with torch.inference_mode():
            return forward(part)

    size = _at_once(images)
    if device.type != "cpu" or len(images) <= size:
        return run(images)
    threads = torch.get_num_threads()  # one part on each of as many threads as torch would use together
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(run, torch.split(images, size)))
    finally:
        torch.set_num_threads(threads)  # the workers' 1 is also what MKL and later threads would take
    with torch.inference_mode():
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _at_once(images: Tensor) -> int:
    return max(1, PIXELS // (images.shape[1] * images.shape[2]))
