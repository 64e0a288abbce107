"""Copies of heads that differ in their weight decay alone, stacked so that one pass fits them all."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class Wide(nn.Linear):
    """A linear layer written so that `vmap` over its weights makes one product of all copies: a third of the time."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to (N, K)."""
        product = (self.weight @ features.mT).mT
        return product if self.bias is None else product + self.bias


class StackedHeads:
    """Copies of every head, one for each weight decay, stacked: a parameter of shape (...) is one of shape (R, ...)."""

    def __init__(self, heads: nn.ModuleDict, taps: Mapping[str, str], decays: Sequence[float]) -> None:
        self.originals, self.heads = heads, copy.deepcopy(heads)
        for name, layer in list(heads.named_modules()):
            if type(layer) is nn.Linear:
                self.heads.set_submodule(name, Wide(layer.in_features, layer.out_features, layer.bias is not None))
        self.taps, self.decays = taps, torch.tensor(decays)
        self.parameters = {
            f"{head}.{name}": nn.Parameter(value.detach().expand(len(decays), *value.shape).clone())
            for head, module in heads.items()
            for name, value in module.named_parameters()
        }

    def fill(self, parameters: Mapping[str, Tensor]) -> None:
        """Take the parameters of a checkpoint."""
        with torch.no_grad():
            for name, value in parameters.items():
                self.parameters[name].copy_(value)

    def outputs(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features (N, D) for each tap to outputs (R, N, K) of each head."""

        def run(parameters: dict[str, Tensor], head: str) -> Tensor:
            output: Tensor = functional_call(self.heads[head], parameters, (features[self.taps[head]],))
            return output

        return {head: vmap(partial(run, head=head), randomness="different")(self._of(head)) for head in self.heads}

    def decay(self, rate: float) -> None:
        """Decoupled weight decay (Loshchilov and Hutter, ICLR 2019): w -= rate * decay * w; biases keep their size."""
        with torch.no_grad():
            for parameter in self.parameters.values():
                if parameter.ndim > 2:
                    parameter.mul_((1 - rate * self.decays.to(parameter.device)).view(-1, *[1] * (parameter.ndim - 1)))

    def take(self, chosen: Mapping[str, int]) -> nn.ModuleDict:
        """The heads, each with the weights at its chosen place in the stack."""
        heads = copy.deepcopy(self.originals)
        for head, module in heads.items():
            module.load_state_dict(
                {name: value[chosen[head]].detach() for name, value in self._of(head).items()}, strict=False
            )
        return heads

    def _of(self, head: str) -> dict[str, Tensor]:
        start = f"{head}."
        return {name.removeprefix(start): value for name, value in self.parameters.items() if name.startswith(start)}
