"""Any timm backbone behind one call: normalised images in, one pooled vector for each tap out."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.nets import BackboneError
from meltpoint.model.weights import load_weights
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import FileWeights, HubWeights, PackageWeights, Tap

FINAL = "final"
Channels = tuple[float, float, float]  # red, green, blue


@dataclass(frozen=True)
class FeatureSpec:
    """What a tap gives: vectors of `channels`, the mean over `grid` cells `stride` pixels apart.

    `grid` is (rows, columns); None where the backbone pools in a way of its own.
    """

    channels: int
    stride: int
    grid: tuple[int, int] | None


def tap_key(tap: Tap) -> str:
    """The name of a tap in dicts and files: "final", "-2"."""
    return str(tap)


class Backbone(nn.Module):
    """A timm model without its classifier. BatchNorm uses its stored statistics always, in training too.

    Attributes: `params` it was built from, `size` of its images in pixels, `specs` by tap key, `mean` and `std` of the
    three channels, `indices` of the tapped stages by tap key, `licence` and `origin` of the weights in words.
    """

    channel_mean: Tensor
    channel_std: Tensor

    def __init__(self, net: nn.Module, params: BackboneParams, specs: dict[str, FeatureSpec], size: int) -> None:
        super().__init__()
        self.net, self.params, self.specs, self.size = net, params, specs, size
        self.mean, self.std = _normalisation(net, params)
        self.licence, self.origin = "none", "random weights"
        self.register_buffer("channel_mean", 255 * torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("channel_std", 255 * torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        n_stages = nets.count_stages(net)
        self.indices = {key: int(key) % n_stages for key in specs if key != FINAL}

    def prepare(self, images: Tensor) -> Tensor:
        """Images uint8 (N, S, S, 3) to normalised float32 (N, 3, S, S), channels last in memory, on this device."""
        channels_first = images.to(self.channel_mean.device, non_blocking=True).permute(0, 3, 1, 2)
        return channels_first.float().sub_(self.channel_mean).div_(self.channel_std)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images float (N, 3, S, S) to pooled features float (N, D) for each tap key."""
        indices = sorted(set(self.indices.values()))
        last, maps = nets.run_net(self.net, images, indices, whole=FINAL in self.specs)
        features = {key: maps[indices.index(index)].mean((2, 3)) for key, index in self.indices.items()}
        if FINAL in self.specs:
            features[FINAL] = nets.pre_logits(self.net, last)
        return features

    def train(self, mode: bool = True) -> "Backbone":
        """As nn.Module's, but layers with running statistics stay in eval, as they were when heads were fitted."""
        super().train(mode)
        for module in self.modules():
            if isinstance(getattr(module, "running_var", None), Tensor):
                module.eval()
        return self

    def stages(self) -> list[list[str]]:
        """Names of this module's parameters by depth, stem first, last stage last; each stands in exactly one list.

        A group without a single weight matrix (the last norm) belongs to the stage before it.
        """
        dimensions = {name: parameter.ndim for name, parameter in self.net.named_parameters()}
        stages: list[list[str]] = []
        for names in nets.group_by_depth(self.net):
            if stages and max(dimensions[name] for name in names) < 2:
                stages[-1] += names
            else:
                stages.append(names)
        return [[f"net.{name}" for name in names] for names in stages]


def build_backbone(params: BackboneParams, taps: Collection[Tap], size: int, pretrained: bool = True) -> Backbone:
    """A backbone in eval mode for square images of `size` pixels, its weights channels last in memory.

    `pretrained=False` leaves the weights random, for a caller that loads saved ones.

    Raises:
        BackboneError: unknown name, argument or tap, or an image size that this backbone cannot take.
        WeightsError: the weights cannot be fetched, read or matched.
    """
    from_hub = pretrained and isinstance(params.weights, HubWeights)
    net = nets.create_net(params, size, from_hub)
    backbone = Backbone(net, params, _select(params.name, _measure(net, params, size), taps), size)
    if from_hub:
        config = nets.pretrained_config(net)
        backbone.licence = str(config.get("license") or "unknown")
        backbone.origin = f"timm's weights {config.get('hf_hub_id') or params.name}"
    elif pretrained and isinstance(params.weights, FileWeights | PackageWeights):
        backbone.origin = load_weights(net, params.weights).sentence
        backbone.licence = params.weights.licence
    if FINAL not in backbone.specs:
        nets.prune_net(net, sorted(set(backbone.indices.values())))
    net.to(memory_format=torch.channels_last)
    return backbone.eval()


def _measure(net: nn.Module, params: BackboneParams, size: int) -> dict[str, FeatureSpec]:
    """What every tap gives, by stage index and "final": measured on one blank image rather than looked up."""
    try:
        with torch.inference_mode():
            indices = list(range(nets.count_stages(net)))
            last, maps = nets.run_net(net, torch.zeros(1, 3, size, size), indices, whole=True)
            final = nets.pre_logits(net, last)
    except Exception as error:  # a wrong size shows in any of timm's layers: assertion, shape or value error
        raise nets.wrong_size(params, size, error) from error
    specs: dict[str, FeatureSpec] = {}
    for index, features in enumerate(maps):
        _, channels, rows, columns = features.shape
        specs[str(index)] = FeatureSpec(channels, round(size / rows), (rows, columns))
    stride = specs[str(len(maps) - 1)].stride if maps else size
    return specs | {FINAL: FeatureSpec(final.shape[1], stride, None)}


def _select(name: str, specs: dict[str, FeatureSpec], taps: Collection[Tap]) -> dict[str, FeatureSpec]:
    """The specs of the wanted taps, by tap key."""
    n_stages = len(specs) - 1
    selected: dict[str, FeatureSpec] = {}
    for tap in sorted(taps, key=tap_key):
        if isinstance(tap, int) and not -n_stages <= tap < n_stages:
            known = ", ".join(f"{key} ({spec.channels} channels)" for key, spec in specs.items())
            raise BackboneError(
                f"{name} has no tap {tap}. It has {known}; -1 is the last of the numbered ones. Correct the head's tap."
            )
        selected[tap_key(tap)] = specs[str(tap % n_stages) if isinstance(tap, int) else tap]
    return selected


def _normalisation(net: nn.Module, params: BackboneParams) -> tuple[Channels, Channels]:
    """Mean and std of the channels, of pixels from 0 to 1; as pretrained where params leave it open."""
    config = nets.pretrained_config(net)
    mean, std = tuple(params.mean or config["mean"]), tuple(params.std or config["std"])
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise BackboneError(
            f"backbone.mean {list(mean)} and backbone.std {list(std)} have to be three numbers each (red, green, blue),"
            " std above 0. Correct them, or write null for those of the pretraining."
        )
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
