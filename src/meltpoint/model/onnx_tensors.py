"""The weights in an ONNX file, by the names that they had in PyTorch: no graph is run, and no other file is opened."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meltpoint.errors import UserError


class OnnxError(UserError, ValueError):
    """The file is no ONNX file, keeps its weights elsewhere, or the package that reads it is missing."""


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The floating-point tensors of a file, in its order.

    PyTorch's exporter drops the names of weights that it transposes or cuts. It calls nodes after their modules,
    `/encoder/layer.0/mlp/fc1/MatMul`, so that the weight of that product is `encoder.layer.0.mlp.fc1.weight`, turned
    back to (out, in). A tensor that another node reads is called after the node: `embeddings.Concat_6`.

    Raises:
        OnnxError: the package onnx is missing, the file is no ONNX file, or its tensors are in files beside it.
    """
    if find_spec("onnx") is None:
        raise OnnxError(
            f"{path} is an ONNX file, and the package that reads it is not installed. Install the extra:"
            " pip install onnx"
        )
    import onnx  # takes a second to import, and is an extra

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's own kinds
        raise OnnxError(
            f"{path} cannot be read as ONNX: {type(error).__name__}. Get the file again, or give another one."
        ) from error
    outside = [held.name for held in graph.initializer if held.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise OnnxError(
            f"{path} keeps {len(outside)} of its tensors in files beside it, for example {outside[0]!r}; only what"
            " is in the file itself is read. Save it as one file: onnx.save_model(model, path)."
        )
    readers = {name: node for node in reversed(graph.node) for name in node.input}  # the first one that reads it
    return dict(_named(graph.initializer, readers, onnx))


def _named(initializers: Any, readers: dict[str, Any], onnx: Any) -> Iterator[tuple[str, Tensor]]:
    for held in initializers:
        values = onnx.numpy_helper.to_array(held)
        if values.dtype.kind != "f":
            continue
        tensor, node = torch.from_numpy(values.copy()), readers.get(held.name)
        if not held.name.startswith("onnx::") or node is None or "/" not in node.name:
            yield held.name, tensor
            continue
        place = node.name.strip("/").replace("/", ".")
        if node.op_type == "MatMul" and tensor.ndim == 2:
            yield f"{place.rpartition('.')[0]}.weight", tensor.T.contiguous()
        else:
            yield place, tensor
