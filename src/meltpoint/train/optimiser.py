"""How weights move: layer-wise learning rates, AdamW groups, warm-up and decline, the moving average of the weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from meltpoint.errors import UserError
from meltpoint.params.strategies import Schedule

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

    `set_rate` makes learning rates of the `scale` that each group notes.
    """
    members: dict[tuple[float, bool], list[str]] = {}
    for name, parameter in parameters.items():
        members.setdefault((scales[name], parameter.ndim > 1), []).append(name)
    groups = [
        {
            "params": [(name, parameters[name]) for name in names],
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


def read_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors of the optimiser's `state_dict`, as `<number of the parameter>/<name>`."""
    states = optimiser.state_dict()["state"].items()
    return {f"{number}/{name}": value for number, state in states for name, value in state.items()}


def fill_state(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what `read_state` read, in the memory format of the parameters: fused AdamW runs over memory in order."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        like = parameters[int(number)]
        own = value if value.shape != like.shape else torch.empty_like(like).copy_(value)
        state.setdefault(int(number), {})[name] = own
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


class Average:
    """The exponential moving average of named parameters: average += (1 - decay) * (parameter - average) each step."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.names, self.learning, self.averaged = list(parameters), nn.ParameterList(parameters.values()), None
        if decay:
            self.averaged = AveragedModel(self.learning, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
            self.update()  # the first one copies

    @property
    def values(self) -> dict[str, nn.Parameter]:
        """By the parameters' names; with a decay of 0 there are none."""
        return {} if self.averaged is None else dict(zip(self.names, self.averaged.parameters(), strict=True))

    def update(self) -> None:
        """Add a step's new weights."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.learning)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Take values from a checkpoint."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While the context lasts the parameters hold their average; with a decay of 0, themselves."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, value in zip(self.learning, self.values.values(), strict=False):
            parameter.data, value.data = value.data, parameter.data
