"""timm's models behind a handful of calls: made for one image size, run up to the stages that are wanted."""

import difflib
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters
from torch import Tensor, nn

from meltpoint.errors import UserError
from meltpoint.model.weights import WeightsError
from meltpoint.params.model import HUBS
from meltpoint.params.model import Backbone as BackboneParams


class BackboneError(UserError, ValueError):
    """There is no such backbone, argument or tap, or it cannot take images of that size."""


class BorderError(ValueError):
    """Patches would leave out pixels at the border of an image; some nets do so with those they were pretrained on."""


def create_net(params: BackboneParams, size: int, from_hub: bool, classifier: bool = False) -> nn.Module:
    """A timm model in eval mode, with or without its classifier; one that knows only one image size is given ours.

    Raises:
        BackboneError: unknown name or argument, or an image size it cannot take; the nearest right ones are named.
        WeightsError: it could be made without weights, but the hub does not answer, or has none that fit.
    """
    _check_name(params.name)
    try:
        return _instantiate(params, size, from_hub, classifier)
    except Exception as error:
        fault = _fault(params, size) if from_hub else error
        if isinstance(fault, TypeError):
            raise BackboneError(
                f"{params.name} cannot be made with args {params.args}: {fault}. timm's documentation of the model"
                " lists its arguments; correct them."
            ) from fault
        if fault is not None:
            raise wrong_size(params, size, fault) from fault
        reason = str(error).partition("\n")[0].rstrip(".:") or type(error).__name__  # half a dozen libraries raise it
        if "loading state_dict" in reason:
            raise WeightsError(
                f"timm's weights of {params.name} do not fit a net that is made with args {params.args}:"
                f" {' '.join(str(error).split())[:300]}. Remove the arguments that change its shapes, or give a file"
                " that fits: weights: {kind: file, path: ..., match: name, licence: ...}."
            ) from error
        raise WeightsError(
            f"timm's weights of {params.name} could not be fetched: {reason}. Check the network and the name, or give a"
            " file: weights: {kind: file, path: ..., match: name, licence: ...}."
        ) from error


@dataclass(frozen=True)
class Block:
    """What a stage or block gives: a map (N, C, H, W) of cells or patches, and other tokens (N, T, C) by their kind."""

    cells: Tensor
    tokens: dict[str, Tensor]


def run_net(net: nn.Module, images: Tensor, indices: list[int], whole: bool) -> tuple[Tensor, list[Block]]:
    """The last features as the net shapes them, and what the stages or blocks `indices` give, in order of depth.

    Images are normalised float (N, 3, S, S). Without `whole` it stops at the last wanted stage. Blocks of tokens pass
    the net's last norm, as in the linear evaluation of DINOv2 (Oquab et al., TMLR 2024, appendix B.3): they are made
    for it.
    """
    anything = cast(Any, net)
    if not indices:
        return anything.forward_features(images), []
    options: dict[str, Any] = {}
    if has_tokens(net):
        options = {"norm": True, "return_prefix_tokens": anything.num_prefix_tokens > 0}
    if whole:
        last, given = anything.forward_intermediates(images, indices=indices, **options)
    else:
        given = anything.forward_intermediates(
            images, indices=indices, intermediates_only=True, stop_early=True, **options
        )
        last = None
    counts = count_tokens(net)  # timm puts class tokens first, then registers
    blocks = [
        Block(one[0], dict(zip(counts, torch.split(one[1], list(counts.values()), 1), strict=True)))
        if isinstance(one, tuple)
        else Block(one, {})
        for one in given
    ]
    return blocks[-1].cells if last is None else last, blocks


def has_tokens(net: nn.Module) -> bool:
    """Whether its blocks are sequences of tokens, as those of a ViT, all as wide as the last norm."""
    return "return_prefix_tokens" in signature(cast(Any, net).forward_intermediates).parameters


def count_tokens(net: nn.Module) -> dict[str, int]:
    """How many tokens besides patches there are in a block, by kind; a distilled DeiT has two class tokens."""
    if not count_stages(net) or not has_tokens(net):
        return {}
    registers = getattr(net, "reg_token", None)
    count = 0 if registers is None else registers.shape[1]
    kinds = {"class": int(cast(Any, net).num_prefix_tokens) - count, "registers": count}
    return {kind: number for kind, number in kinds.items() if number}


class _Forgotten(dict[str, Tensor]):
    """Holds what was put in last, and says that it holds nothing."""

    def __contains__(self, key: object) -> bool:
        return False


def forget_biases(net: nn.Module) -> None:
    """Let LeViT and its kin compute their attention's biases each time: in eval they would keep those of old weights.

    Weights change in eval, too: where they are filled from a checkpoint, or give way to their moving average.
    """
    for module in net.modules():
        if hasattr(module, "attention_bias_cache"):
            cast(Any, module).attention_bias_cache = _Forgotten()


def pre_logits(net: nn.Module, last: Tensor) -> Tensor:
    """What the pretrained classifier saw: (N, D)."""
    pooled = cast(Tensor, cast(Any, net).forward_head(last, pre_logits=True))
    if pooled.ndim != 2:
        raise ValueError(f"features of shape {tuple(pooled.shape)}; args have to leave the pooling on")
    return pooled


def last_map(net: nn.Module, last: Tensor) -> Tensor:
    """The last features as a map (N, C, H, W), without class tokens and registers.

    Raises:
        ValueError: they are no map of cells.
    """
    anything = cast(Any, net)
    if not isinstance(last, Tensor):
        raise ValueError("features in several parts")
    if last.ndim == 3 and has_tokens(net):
        cells = last[:, int(anything.num_prefix_tokens) :]
        side = round(cells.shape[1] ** 0.5)
        if side**2 == cells.shape[1]:
            return torch.unflatten(cells.mT, 2, (side, side))
    if last.ndim == 4:
        return last.permute(0, 3, 1, 2) if str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC") else last
    raise ValueError(f"features of shape {tuple(last.shape)}")


def count_stages(net: nn.Module) -> int:
    """How many stages (CNN) or blocks (ViT) can be tapped; 0 where timm cannot look inside."""
    return len(cast(Any, net).feature_info) if hasattr(net, "forward_intermediates") else 0


def group_by_depth(net: nn.Module) -> list[list[str]]:
    """Names of the parameters as timm groups them for layer-wise learning rates: stem, stages or blocks, the rest.

    Where timm does not group them, each numbered part (`stages.0`) is a group, and what stands before, between and
    after those: a net holds its parts in the order in which images pass them.
    """
    try:
        grouped = group_parameters(net, cast(Any, net).group_matcher(coarse=True))
        return [list(grouped[depth]) for depth in sorted(grouped)]
    except Exception:  # noqa: BLE001 - poolformer has no such method, rdnet's refuses
        groups: dict[str, list[str]] = {}
        for name, _ in net.named_parameters():
            part, _, rest = name.partition(".")
            number = rest.partition(".")[0]
            groups.setdefault(f"{part}.{number}" if number.isdigit() else part, []).append(name)
        return list(groups.values())


def prune_net(net: nn.Module, indices: list[int]) -> None:
    """Take away what comes after the last of the stages `indices`: it would be kept, and never learn."""
    cast(Any, net).prune_intermediate_layers(indices, prune_norm=not has_tokens(net), prune_head=True)


def next_size(params: BackboneParams, size: int) -> int:
    """`size`, or the first even one above it, at most 64 pixels larger, that the net takes; none: `size`, to refuse."""
    return size if _fault(params, size) is None else _nearest_size(params, size, +1) or size


def pretrained_config(net: nn.Module) -> dict[str, Any]:
    """timm's description of the weights the net is usually given: mean, std, license, hf_hub_id ..."""
    return cast(dict[str, Any], net.pretrained_cfg)


def wrong_size(params: BackboneParams, size: int, error: Exception) -> BackboneError:
    """The error that names the nearest working sizes below and above; of a net that takes none, the error says so."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    config = get_pretrained_cfg(params.name)
    native = 224 if config is None else config.input_size[-1]
    if not isinstance(_fault(params, native), BorderError | None):
        return BackboneError(
            f"{params.name} cannot be used with args {params.args}: {type(error).__name__}: {reason}. Images"
            f" of {native} pixels, at which it was pretrained, do not work either: the size is not the reason."
            " Correct args, or take another backbone: timm.list_models() lists them."
        )
    near = _nearest_size(params, size, -1), _nearest_size(params, size, +1)
    allowed = " or ".join(str(found) for found in near if found) or native
    return BackboneError(
        f"{params.name} cannot take images of {size} pixels with args {params.args}: {reason}. The nearest"
        f" sizes it takes are {allowed}; it was pretrained at {native}. Correct `side` of its views."
    )


def _instantiate(params: BackboneParams, size: int, from_hub: bool, classifier: bool = False) -> nn.Module:
    arguments: dict[str, Any] = params.args | ({} if classifier else {"num_classes": 0})
    config = get_pretrained_cfg(params.name)
    if config is not None and config.fixed_input_size and not arguments.get("dynamic_img_size"):
        arguments["img_size"] = size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # every stage that asks for random weights gets the same
        net = timm.create_model(params.name, pretrained=from_hub, **arguments)
    if not arguments.get("dynamic_img_pad"):
        _check_border(net, size)
    return net.eval()


def _check_border(net: nn.Module, size: int) -> None:
    """No patch is left over at the border: timm would cut that off in silence. Patches that overlap leave nothing."""
    embed = getattr(net, "patch_embed", None)
    proj, patch = getattr(embed, "proj", None), getattr(embed, "patch_size", 1)
    patch = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(proj, nn.Conv2d) and proj.kernel_size[0] == patch and isinstance(proj.padding[0], int):
        stride, padding = proj.stride[0], proj.padding[0]
        seen = (size + 2 * padding - patch) // stride * stride + patch - padding  # pixels up to the last patch's end
        if seen >= size:
            return
        raise BorderError(
            f"its patches are {patch} pixels wide, {stride} apart, and would leave out {size - seen} of {size}"
        )
    if size % patch:
        raise BorderError(f"its patches are {patch} pixels wide, and {size} is no multiple of that")


def _check_name(name: str) -> None:
    source, _, repository = name.partition(":")
    if source.lower() not in HUBS and "/" not in name:
        architecture = name.partition(".")[0]
        tagged = timm.list_models(f"{architecture}*", pretrained=True) if timm.is_model(architecture) else []
        if timm.is_model(architecture) and name in [architecture, *tagged]:
            return
        near = difflib.get_close_matches(name, tagged or timm.list_models(), n=3, cutoff=0.3)
        raise BackboneError(
            f"timm {timm.__version__} has no model {name!r}."
            f"{' Did you mean ' + ' or '.join(near) + '?' if near else ''}"
            " timm.list_models() lists them all; correct `name` of the encoder."
        )
    pretrained = timm.list_models(pretrained=True)
    configs = {model: get_pretrained_cfg(model) for model in pretrained}
    known = [model for model, config in configs.items() if config and config.hf_hub_id == (repository or name)]
    if known:
        raise BackboneError(f"{name!r} is the repository of timm's {' or '.join(known)}. Write that name: {known[0]}")
    wanted = (repository or name).rpartition("/")[2].lower().replace("-", "_")
    near = difflib.get_close_matches(wanted, pretrained, n=3, cutoff=0.3)
    raise BackboneError(
        f"{name!r} is a hub's repository of another owner than timm. Only timm's own models can be named, as `NAME`,"
        f" `timm/NAME` or `hf-hub:timm/NAME`{', near: ' + ', '.join(near) if near else ''}. timm has the image part of"
        " most CLIP models, also open_clip's: timm.list_models('*clip*', pretrained=True). Or download the file, and"
        " give it as weights: {kind: file, ...} with the architecture's name."
    )


def _nearest_size(params: BackboneParams, size: int, direction: int) -> int | None:
    """The first even size in that direction, at most 64 pixels away, that works."""
    sizes = range(size + direction, max(0, size + 65 * direction), direction)
    return next((near for near in sizes if near % 2 == 0 and _fault(params, near) is None), None)


def _fault(params: BackboneParams, size: int) -> Exception | None:
    """The error of the net with images of that size, without weights; tried on torch's meta device.

    That device computes shapes only; a net that asks for values is tried on the CPU.
    """
    fault: Exception | None = None
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), torch.inference_mode():
                net = _instantiate(params, size, from_hub=False)
                pre_logits(net, run_net(net, torch.zeros(1, 3, size, size), [], whole=True)[0])
            return None
        except Exception as error:  # noqa: BLE001 - whatever a net says of it, the size does not work
            fault = error
            if "meta tensor" not in str(error):
                return fault
    return fault
