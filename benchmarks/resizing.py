"""How far pictures that an export resizes are from the views of training: here, and by ONNX's own operator.

`python benchmarks/resizing.py`: two photographs of scikit-learn at 128 pixels; shares of values that differ, and the
largest difference.
"""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from meltpoint.export.onnx_file import load_onnxruntime
from meltpoint.export.resizing import Resizing
from meltpoint.images.resize import Interpolation, resize
from meltpoint.params.data import Images

SIDE = 128
WAYS: dict[Interpolation, bool] = {"area": True, "antialias": True, "bicubic": False, "bilinear": False}


def main() -> None:
    """Print a line for each interpolation and photograph; of those that shrink well ONNX's operator, too."""
    operator = _operator()
    for interpolation, smooth in WAYS.items():
        images = Images(side=SIDE, resize="squash", interpolation=interpolation)
        for picture in load_sample_images().images:
            view = resize(picture, images)
            found = [Resizing(images)(torch.from_numpy(picture.copy())[None])[0].numpy()]
            if smooth:
                (own,) = operator.run(None, {"images": picture[None]})
                found.append(own[0].transpose(1, 2, 0).round().clip(0, 255))
            apart = [np.abs(one.astype(int) - view) for one in found]
            print(interpolation, *(f"{(one > 0).mean():.2%} by up to {one.max()}" for one in apart), sep="  ")


def _operator() -> Any:
    """ONNX's operator Resize, linear with antialiasing."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["values", "", "", "size"], ["resized"], mode="linear", antialias=1, axes=[2, 3]),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.UINT8, [1, None, None, 3])
    size = helper.make_tensor("size", TensorProto.INT64, [2], [SIDE, SIDE])
    made = helper.make_tensor_value_info("resized", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "resize", [given], [made], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return load_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
