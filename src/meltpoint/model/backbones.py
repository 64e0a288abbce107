"""Any backbone behind one call: normalised images in, a vector or a map for each tap out."""

import copy
from collections.abc import Collection
from contextlib import suppress

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.convolution import Convolution, copy_last_convolution
from meltpoint.model.library import Parts, load_library
from meltpoint.model.nets import BackboneError, Block
from meltpoint.model.taps import FINAL, FINAL_MAP, PATCHES, FeatureSpec, select_specs, tap_places
from meltpoint.model.upsample import join_maps
from meltpoint.params.checks import check_arguments
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import GridTap, MapTap, Reading, TokenTap

Channels = tuple[float, float, float]  # red, green, blue


def tap_key(tap: Reading) -> str:
    """The name of a tap in dicts and files: "final", "-2", "-2.class+patches", "-2.map", "grid.-4.-1"."""
    match tap:
        case TokenTap():
            return f"{tap.at}.{'+'.join(tap.pool)}"
        case MapTap():
            return f"{tap.at}.map"
        case GridTap():
            return ".".join(["grid", *map(str, tap.at)])
        case _:
            return str(tap)


class Backbone(nn.Module):
    """A model without its classifier, in timm's shape. BatchNorm uses its stored statistics always, in training too.

    Attributes: `params` it was built from, `size` of its images in pixels, `padded` that of what the net is given,
    `taps` and `specs` by tap key, `mean` and `std` of the three channels, `indices` of the tapped stages by tap key,
    `licence` and `origin` of the weights in words, `convolutions` to copy by tap key.
    """

    channel_mean: Tensor
    channel_std: Tensor

    def __init__(self, parts: Parts, params: BackboneParams, taps: dict[str, Reading], size: int, padded: int) -> None:
        super().__init__()
        net, self.joint = parts.net, parts.joint
        params = params if parts.args is None else params.model_copy(update={"args": parts.args})
        self.net, self.params, self.taps, self.size, self.padded = net, params, taps, size, padded
        measured = _measure(parts, load_library(params).tower(params), padded)
        self.specs = select_specs(params.name, net, measured, taps)
        self.convolutions: dict[str, Convolution] = {}  # a plain dict: they belong to the heads that copy them
        self.mean, self.std = _normalisation(net, params)
        self.licence, self.origin = parts.licence, parts.origin
        self.register_buffer("channel_mean", 255 * torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("channel_std", 255 * torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        places, n_stages = {key: tap_places(tap) for key, tap in taps.items()}, nets.count_stages(net)
        self.indices = {key: tuple(at % n_stages for at in places[key]) for key in places if places[key]}

    def prepare(self, images: Tensor) -> Tensor:
        """Images uint8 (N, S, S, 3) to normalised float32 (N, 3, P, P), channels last in memory, on this device.

        What is `padded`, on the right and below, is 0, the mean colour.
        """
        channels_first = images.to(self.channel_mean.device, non_blocking=True).permute(0, 3, 1, 2)
        normalised = channels_first.float().sub_(self.channel_mean).div_(self.channel_std)
        missing = self.padded - self.size
        return F.pad(normalised, (0, missing, 0, missing)) if missing else normalised

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images float (N, 3, P, P) to features float (N, *spec.shape) for each tap key."""
        return self.read(*nets.run_net(self.net, images, self.all_indices(), whole=self.whole))

    def read(self, last: Tensor, given: list[Block]) -> dict[str, Tensor]:
        """The features for each tap key, of what `nets.run_net` gives of `all_indices`."""
        blocks = dict(zip(self.all_indices(), given, strict=True))
        features = {}
        for key, own in self.indices.items():
            features[key] = _read(self.taps[key], self.specs[key], [blocks[index] for index in own])
        if FINAL in self.specs:
            features[FINAL] = self.joint(nets.pre_logits(self.net, last))
        if FINAL_MAP in self.specs:
            features[FINAL_MAP] = nets.last_map(self.net, last)
        return features

    @property
    def whole(self) -> bool:
        """Whether images pass the net to its end."""
        return FINAL in self.specs or FINAL_MAP in self.specs

    def all_indices(self) -> list[int]:
        """The stages or blocks that any tap reads, in order of depth."""
        return sorted({index for own in self.indices.values() for index in own})

    def copy_convolution(self, at: int) -> Convolution:
        """The convolution and activation after the stage `at`, which is tapped by its map, for a head to train.

        It is the last one of the pretrained net that takes so many channels, the BatchNorm after it folded in.
        """
        return copy.deepcopy(self.convolutions[tap_key(MapTap(at=at))])

    def train(self, mode: bool = True) -> "Backbone":
        """As nn.Module's, but layers with running statistics stay in eval, as they were when heads were fitted."""
        super().train(mode)
        nets.forget_biases(self.net)
        for module in self.modules():
            if isinstance(getattr(module, "running_var", None), Tensor):
                module.eval()
        return self

    def stages(self) -> list[list[str]]:
        """Names of this module's parameters by depth, stem first, last stage last; each is in exactly one list.

        A group without a single weight matrix (the last norm) belongs to the stage before it.
        """
        dimensions = {name: parameter.ndim for name, parameter in self.net.named_parameters()}
        stages: list[list[str]] = []
        for names in nets.group_by_depth(self.net):
            if stages and max(dimensions[name] for name in names) < 2:
                stages[-1] += names
            else:
                stages.append(names)
        named = [[f"net.{name}" for name in names] for names in stages]
        named[-1] += [f"joint.{name}" for name, _ in self.joint.named_parameters()]
        return named


def build_backbone(params: BackboneParams, taps: Collection[Reading], size: int, pretrained: bool = True) -> Backbone:
    """A backbone in eval mode for square images of `size` pixels, its weights channels last in memory.

    Where all taps are grids, images of any size are padded to one that the net takes. `pretrained=False` leaves the
    weights random, for a caller that loads saved ones.

    Raises:
        BackboneError: unknown name, argument or tap, an image size that this backbone cannot take, or a map without
            a convolution that could read it.
        WeightsError: the weights cannot be fetched, read or matched.
    """
    if errors := list(check_arguments(params.args, "args")):
        raise BackboneError("; ".join(errors))
    library = load_library(params)
    padded = nets.next_size(library.tower(params), size) if all(isinstance(tap, GridTap) for tap in taps) else size
    parts = library.build(params, padded, pretrained)
    backbone = Backbone(parts, params, {tap_key(tap): tap for tap in sorted(taps, key=tap_key)}, size, padded)
    for key, tap in backbone.taps.items():
        if isinstance(tap, MapTap):
            backbone.convolutions[key] = _copy_convolution(backbone, tap)
    if not backbone.whole:
        nets.prune_net(parts.net, backbone.all_indices())
    if FINAL not in backbone.specs:
        backbone.joint = nn.Identity()
    own = [name for name, _ in backbone.named_parameters()]
    staged = [name for names in backbone.stages() for name in names]
    if sorted(staged) != sorted(own):  # fine-tuning would fail later, so it is checked before an image is read
        wrong = sorted({one for one in {*staged, *own} if staged.count(one) != 1})
        raise BackboneError(
            f"{params.name} cannot be split into stages, by which it is frozen and unfrozen: of its {len(own)}"
            f" parameters {len(wrong)} are in no stage or in two, for example {wrong[:3]}. Use another backbone:"
            " timm.list_models() lists them."
        )
    parts.net.to(memory_format=torch.channels_last)
    return backbone.eval()


def _read(tap: Reading, spec: FeatureSpec, blocks: list[Block]) -> Tensor:
    """What a tap gives of its stages or blocks: float (N, *spec.shape)."""
    cells = blocks[0].cells
    match tap:
        case GridTap():
            assert spec.grid is not None
            return join_maps([block.cells for block in blocks], spec.grid)
        case MapTap():
            return cells
        case TokenTap():
            return torch.cat(
                [cells.mean((2, 3)) if kind == PATCHES else blocks[0].tokens[kind].mean(1) for kind in tap.pool], 1
            )
        case _:
            return cells.mean((2, 3))


def _measure(parts: Parts, params: BackboneParams, size: int) -> dict[str, FeatureSpec]:
    """What every tap gives, by stage index and "final": measured on one blank image rather than looked up."""
    net = parts.net
    try:
        with torch.inference_mode():
            indices = list(range(nets.count_stages(net)))
            last, blocks = nets.run_net(net, torch.zeros(1, 3, size, size), indices, whole=True)
            final = parts.joint(nets.pre_logits(net, last))
    except Exception as error:  # a wrong size shows in any of timm's layers: assertion, shape or value error
        raise nets.wrong_size(params, size, error) from error
    specs: dict[str, FeatureSpec] = {}
    for index, block in enumerate(blocks):
        _, channels, rows, columns = block.cells.shape
        specs[str(index)] = FeatureSpec(channels, round(size / rows), (rows, columns), pooled=True, dtype="float32")
    stride = specs[str(len(blocks) - 1)].stride if blocks else size
    specs |= {FINAL: FeatureSpec(final.shape[1], stride, None, pooled=True, dtype="float32")}
    with suppress(ValueError):  # of a net without one, which only a head that reads it minds
        _, channels, rows, columns = nets.last_map(net, last).shape
        specs[FINAL_MAP] = FeatureSpec(channels, round(size / rows), (rows, columns), pooled=False, dtype="float16")
    return specs


def _copy_convolution(backbone: Backbone, tap: MapTap) -> Convolution:
    net, channels = backbone.net, backbone.specs[tap_key(tap)].channels

    def run() -> None:
        with torch.inference_mode():
            last, _ = nets.run_net(net, torch.zeros(1, 3, backbone.size, backbone.size), [], whole=True)
            backbone.joint(nets.pre_logits(net, last))

    found = copy_last_convolution(net, channels, run)
    if found is None:
        raise BackboneError(
            f"{backbone.params.name} has no convolution that takes the {channels} channels of tap {tap.at}, and a head"
            " of kind conv begins with a copy of one. Heads of kind linear or mlp work with any backbone: correct the"
            " head's kind, or its tap, or take another CNN."
        )
    return found


def _normalisation(net: nn.Module, params: BackboneParams) -> tuple[Channels, Channels]:
    """Mean and std of the channels, of pixels from 0 to 1; as pretrained where params leave it open."""
    config = nets.pretrained_config(net)
    mean, std = tuple(params.mean or config["mean"]), tuple(params.std or config["std"])
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise BackboneError(
            f"mean {list(mean)} and std {list(std)} of {params.name} have to be three numbers each (red, green, blue),"
            " std above 0. Correct them, or write null for those of the pretraining."
        )
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
