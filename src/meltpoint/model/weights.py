"""Pretrained weights from a file or an installed package, matched by name or by order; never unpickled freely."""

import importlib.util
import itertools
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, assert_never

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from meltpoint.errors import UserError
from meltpoint.model.dinov2 import from_hugging_face
from meltpoint.model.onnx_tensors import OnnxError, read_onnx
from meltpoint.model.torchscript import TorchScriptError, is_torchscript, read_torchscript
from meltpoint.params.model import FileWeights, PackageWeights

WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel, DistributedDataParallel and torch.compile put before a name
CONTAINERS = ("state_dict", "model_state_dict", "model")  # where training scripts keep the tensors of a checkpoint
SUFFIXES = (".pth", ".pt", ".safetensors", ".onnx")
COUNTER = "num_batches_tracked"  # of BatchNorm: counts training steps, has no part in a prediction


class WeightsError(UserError, ValueError):
    """A weight file is missing, unreadable, or does not fit the backbone."""


def load_weights(module: nn.Module, weights: FileWeights | PackageWeights) -> str:
    """Copy a file's tensors into `module`; every tensor of the module is found in it, with its shape. Says how many.

    A file in its authors' names, or made for another image size, is converted as timm converts its own.

    Raises:
        WeightsError: no such file or package, not a file of tensors, a tensor missing, of another shape, or with NaN.
        OnnxError: an ONNX file that cannot be read, or not with what is installed.
    """
    path = find_weights(weights)
    return fill_module(module, read_tensors(path), weights.match, path)


def fill_module(module: nn.Module, tensors: dict[str, Tensor], match: Literal["name", "order"], path: Path) -> str:
    """As `load_weights`, with the tensors of the file `path`."""
    own = module.state_dict()
    match match:
        case "name":
            tensors = from_hugging_face(tensors, own)
            wanted = {name: value.shape for name, value in own.items() if not name.endswith(COUNTER)}
            if not all(name in tensors and tensors[name].shape == shape for name, shape in wanted.items()):
                # as timm renames and resizes them for a net; it expects certain names, which another net's file has not
                convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", lambda given, _: given)
                with suppress(Exception):
                    tensors = convert(dict(tensors), module)
            taken = _by_name(tensors, own, path)
        case "order":
            taken = _by_order(tensors, own, path)
        case _:
            assert_never(match)
    used = {source: tensors[source] for source in taken.values()}
    if flawed := [name for name, value in used.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise WeightsError(
            f"{path} holds NaN or infinity in {len(flawed)} tensors, for example {flawed[:3]}. Weights are finite"
            " numbers: the file is damaged, or its training failed. Get it again, or give another one."
        )
    module.load_state_dict({name: tensors[source] for name, source in taken.items()}, strict=False)
    left = [name for name in tensors if name not in used]
    missing = (
        f"{len(own) - len(taken)} that only count steps are missing" if len(taken) < len(own) else "none is missing"
    )
    names = f" ({', '.join(left[:4])}{' ...' if len(left) > 4 else ''})" if left else ""
    return f"{len(taken)} of {len(own)} tensors from {path.name}, {missing}, {len(left)} left over{names}"


def find_weights(weights: FileWeights | PackageWeights) -> Path:
    """Where the file is; a package is found without being imported."""
    match weights:
        case FileWeights():
            path = Path(weights.path)
        case PackageWeights():
            found = importlib.util.find_spec(weights.package) if weights.package.isidentifier() else None
            if found is None or found.origin is None:
                raise WeightsError(
                    f"weights.package: there is no installed Python package {weights.package!r}. Install it, or correct"
                    " its name (the one it is imported by)."
                )
            path = Path(found.origin).parent / weights.file
        case _:
            assert_never(weights)
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES)
        raise WeightsError(
            f"There is no weight file {path}; beside it are {beside or 'none'}. Correct `weights` of the encoder."
        )
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name without wrappers, in the file's order: .safetensors, .onnx, TorchScript, or .pth.

    The last is read with `weights_only`. No program in a file is run.
    """
    content: Any
    try:
        match path.suffix:
            case ".safetensors":
                content = load_file(path)
            case ".onnx":
                content = read_onnx(path)
            case _ if is_torchscript(path):
                content = read_torchscript(path)
            case _:
                content = torch.load(path, "cpu", weights_only=True)
    except (OnnxError, TorchScriptError):
        raise
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a safetensors file: {error}. Save it with safetensors.torch.save_file."
        ) from None
    except Exception as error:  # torch.load lets through whatever its readers raise: pickle, zip, struct, index errors
        raise WeightsError(
            f"{path} cannot be read as tensors: {type(error).__name__}: {str(error).partition(chr(10))[0]}. Only files"
            " of plain tensors are read (torch.load with weights_only). Save its state_dict as .safetensors."
        ) from error
    tensors = {name: value for name, value in _unwrap(content).items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors. Save the state_dict of the backbone in it.")
    for prefix in WRAPPERS * 2:  # either may be around the other
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _unwrap(content: Any) -> Mapping[str, Any]:
    """The mapping of names to tensors, which checkpoints often keep some levels down."""
    if not isinstance(content, Mapping):
        return {}
    inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
    return content if inner is None else _unwrap(inner)


def _by_name(tensors: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, str]:
    missing = [name for name in own if name not in tensors and not name.endswith(COUNTER)]
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} of the backbone's {len(own)} tensors, for example {missing[:3]}; it has names"
            f" such as {list(tensors)[:3]}. Give the weights of this architecture, or try `match: order`."
        )
    for name in own.keys() & tensors.keys():
        _check_shape(name, own[name], name, tensors[name], path)
    return {name: name for name in own if name in tensors}


def _by_order(tensors: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, str]:
    """Pair the nth tensor with the nth; what follows the last one (the classifier) is left over."""
    counted = any(name.endswith(COUNTER) for name in tensors)
    wanted = [name for name in own if counted or not name.endswith(COUNTER)]
    for name, source in itertools.zip_longest(wanted, list(tensors)[: len(wanted)]):
        if source is None:
            raise WeightsError(
                f"{path} has {len(tensors)} tensors, and the backbone {len(wanted)}. Give weights of this architecture."
            )
        _check_shape(name, own[name], source, tensors[source], path)
    return dict(zip(wanted, tensors, strict=False))


def _check_shape(name: str, own: Tensor, source: str, tensor: Tensor, path: Path) -> None:
    if own.shape != tensor.shape:
        raise WeightsError(
            f"{path} does not fit: its {source!r} has shape {tuple(tensor.shape)}, and the backbone's {name!r} has"
            f" {tuple(own.shape)}. Give the weights of this architecture and image size."
        )
