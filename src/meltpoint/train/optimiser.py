"""How weights move: layer-wise learning rates, AdamW groups, warm-up and decline, the moving average of the weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from meltpoint.errors import UserError
from meltpoint.params.training import Schedule

MOMENTS = ("exp_avg", "exp_avg_sq")
POWER = 0.9  # of the schedule `poly`
FUSED = ("cpu", "cuda", "mps")  # devices with one kernel for all of AdamW


class UnfreezeError(UserError, ValueError):
    """More of a backbone is to be unfrozen than there is."""


def scale_stages(
    stages: Sequence[Sequence[str]], unfreeze: Literal["all"] | int, layer_decay: float
) -> dict[str, float]:
    """The learning rate of each unfrozen parameter, relative to the last stage's: names to 1, decay, decay**2 ...

    Args:
        stages: parameter names by depth, the stem first.
        unfreeze: how many of the last stages learn.
        layer_decay: how much slower each earlier stage learns.

    Raises:
        UnfreezeError: there are fewer stages.
    """
    count = len(stages) if unfreeze == "all" else unfreeze
    if count > len(stages):
        raise UnfreezeError(
            f"strategies: unfreeze is {unfreeze}, and this backbone has {len(stages)} stages, the stem counted."
            f" Give 1 to {len(stages)}, or all."
        )
    unfrozen = reversed(stages[len(stages) - count :])
    return {name: layer_decay**depth for depth, names in enumerate(unfrozen) for name in names}


def build_adamw(
    parameters: Mapping[str, nn.Parameter], scales: Mapping[str, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over named parameters, a group for each learning rate; biases and norms, of one dimension, do not decay.

    Each group notes its parameters' `names` and its `scale`; `set_rate` makes learning rates of it.
    """
    members: dict[tuple[float, bool], list[str]] = {}
    for name, parameter in parameters.items():
        members.setdefault((scales[name], parameter.ndim > 1), []).append(name)
    groups = [
        {
            "params": [parameters[name] for name in names],
            "names": names,
            "scale": scale,
            "weight_decay": weight_decay * decays,
        }
        for (scale, decays), names in members.items()
    ]
    devices = {parameter.device.type for parameter in parameters.values()}
    return torch.optim.AdamW(groups, lr=0.0, fused=devices <= set(FUSED))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step; groups get their share of it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def ramp(step: int, total: int, warmup: float, schedule: Schedule) -> float:
    """The learning rate of step 0 to total - 1 as a part of the highest: a linear warm-up, then down to 0.

    `warmup` is the part of all steps that warm up. Down it goes as half a cosine, or as (1 - t) ** 0.9 of the part t of
    the way (Chen et al.: DeepLab, TPAMI 2018).
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (math.floor(rising) + 1)
    falling, way = step - rising, max(1.0, total - rising)
    match schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * falling / way))
        case "poly":
            return float((1 - falling / way) ** POWER)
        case _:
            assert_never(schedule)


def read_moments(optimiser: torch.optim.AdamW) -> dict[str, Tensor]:
    """What AdamW remembers, as `exp_avg/<name>` and `exp_avg_sq/<name>`."""
    states = {name: optimiser.state[parameter] for name, parameter in _named(optimiser)}
    return {f"{moment}/{name}": state[moment] for name, state in states.items() if state for moment in MOMENTS}


def fill_moments(optimiser: torch.optim.AdamW, moments: Mapping[str, Tensor], step: int) -> None:
    """Give back what `read_moments` read after `step` steps."""
    for name, parameter in _named(optimiser):
        if f"{MOMENTS[0]}/{name}" in moments:
            state = {moment: torch.empty_like(parameter).copy_(moments[f"{moment}/{name}"]) for moment in MOMENTS}
            device = parameter.device if optimiser.defaults["fused"] else torch.device("cpu")
            optimiser.state[parameter] = {"step": torch.tensor(float(step), device=device), **state}


def _named(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimiser.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


class Average:
    """The exponential moving average of named parameters: average += (1 - decay) * (parameter - average) each step."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.values = {name: parameter.detach().clone() for name, parameter in parameters.items()} if decay else {}

    def update(self) -> None:
        """Take a step's new weights in."""
        if self.decay:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.values.values()), list(self.parameters.values()), 1 - self.decay)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Take values from a checkpoint; without any, start from the parameters as they are."""
        for name, value in self.values.items():
            value.copy_(values.get(name, self.parameters[name].detach()))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While the context lasts the parameters hold their average; with a decay of 0, themselves."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self.values.items():
            parameter = self.parameters[name]
            self.values[name], parameter.data = parameter.data, value
