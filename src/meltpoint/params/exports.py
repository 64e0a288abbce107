"""The formats that the winner is written in: a class for each; its key is the name of its file in export/."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from meltpoint.params.base import AtLeastOne, Count, Positive, Section


class Export(Section):
    """What every format says."""

    tolerance: ClassVar[float]  # how far a probability may be from the winner's, where nothing is rounded to few bits
    any_size: ClassVar[bool] = True  # whether its files can take pictures of any size
    seconds: ClassVar[float]  # of the processor that writing one takes (benchmarks/exporting.py), beside `looks`

    resize: bool = False  # pictures of any size in: the file resizes them by itself

    @field_validator("resize")
    @classmethod
    def _can_resize(cls, value: bool) -> bool:
        if value and not cls.any_size:
            raise ValueError(
                "files of this format take images of one size. Allowed is false: resize before, as the view does; or"
                " take onnx, onnx_int8, onnx_qat, torch_export or openvino, which can resize by themselves"
            )
        return value

    def looks(self, train: int) -> tuple[int, int]:  # noqa: ARG002 - the word of every format
        """How many images of `train` the winner is shown to write one, and how many it is trained with."""
        return 0, 0


class OnnxExport(Export):
    """One .onnx file, float32."""

    tolerance: ClassVar[float] = 1e-4
    seconds: ClassVar[float] = 7


class OnnxInt8Export(Export):
    """One .onnx file, weights and activations in 8 bits."""

    tolerance: ClassVar[float] = 0.2
    seconds: ClassVar[float] = 8

    images: AtLeastOne  # training views that the range of each activation is learnt from

    def looks(self, train: int) -> tuple[int, int]:
        """The images whose ranges are learnt."""
        return min(self.images, train), 0


class OnnxQatExport(Export):
    """One .onnx file in 8 bits, trained with its rounding to give the winner's answers on training views."""

    tolerance: ClassVar[float] = 0.2
    seconds: ClassVar[float] = 12

    epochs: AtLeastOne
    lr: Positive  # of Adam, at the start

    def looks(self, train: int) -> tuple[int, int]:
        """Every image in every epoch, by the winner, too."""
        return self.epochs * train, self.epochs * train


class TorchExport(Export):
    """One .pt2 archive of torch.export, float32."""

    tolerance: ClassVar[float] = 1e-4
    seconds: ClassVar[float] = 2


class LitertExport(Export):
    """One .tflite file.

    `precision`: float32; dynamic: weights in 8 bits, activations rounded as they come; int8, int16: weights in 8 bits,
    and activations of convolutions in so many, whose ranges are learnt from `images` training views.
    """

    tolerance: ClassVar[float] = 0.2
    seconds: ClassVar[float] = 21
    any_size: ClassVar[bool] = False

    precision: Literal["float32", "dynamic", "int8", "int16"]
    images: Count = 0

    def looks(self, train: int) -> tuple[int, int]:
        """The images whose ranges are learnt."""
        return min(self.images, train), 0

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if (self.images > 0) != (self.precision in ("int8", "int16")):
            raise ValueError(
                f"precision is {self.precision}, images is {self.images}: int8 and int16 learn ranges from images, 64"
                " or more, the others from none. Correct one of them"
            )
        return self


class ExecutorchExport(Export):
    """One .pte file, float32."""

    tolerance: ClassVar[float] = 1e-4
    seconds: ClassVar[float] = 13
    any_size: ClassVar[bool] = False


class OpenvinoExport(Export):
    """An .xml file with its weights in a .bin file; it calculates in float32."""

    tolerance: ClassVar[float] = 1e-4
    seconds: ClassVar[float] = 7

    half: bool = False  # weights in 16 bits


class Exports(Section):
    """The section `export`: no key, no export."""

    onnx: OnnxExport | None = None
    onnx_int8: OnnxInt8Export | None = None
    onnx_qat: OnnxQatExport | None = None
    torch_export: TorchExport | None = None
    litert: LitertExport | None = None
    executorch: ExecutorchExport | None = None
    openvino: OpenvinoExport | None = None

    @model_validator(mode="before")
    @classmethod
    def _are_rows(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | Exports):
            raise ValueError(
                f"formats with their settings are wanted, as {{onnx: {{}}}}, and got {value!r}. Write some"
            )
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _is_there(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | Export):
            what = "nothing is" if value is None else f"{value!r} is"
            raise ValueError(f"{what} written there; write {{}} for a format without settings, or remove the key")
        return value

    @property
    def asked(self) -> dict[str, Export]:
        """The formats that are asked for."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: own for name, own in found.items() if own is not None}
