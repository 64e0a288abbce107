"""The formats that the winner is written in: a class for each; its key is the name of its file in export/."""

from typing import Any, ClassVar

from pydantic import field_validator

from meltpoint.params.base import AtLeastOne, Section


class Export(Section):
    """What every format says."""

    tolerance: ClassVar[float]  # how far a probability may be from the winner's, where nothing is rounded to few bits


class OnnxExport(Export):
    """One .onnx file, float32."""

    tolerance: ClassVar[float] = 1e-4


class OnnxInt8Export(Export):
    """One .onnx file, weights and activations in 8 bits."""

    tolerance: ClassVar[float] = 0.2

    images: AtLeastOne  # training views that the range of each activation is learnt from


class Exports(Section):
    """The section `export`: no key, no export."""

    onnx: OnnxExport | None = None
    onnx_int8: OnnxInt8Export | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_there(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("nothing is written there; write {} for a format without settings, or remove the key")
        return value

    @property
    def asked(self) -> dict[str, Export]:
        """The formats that are asked for."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: own for name, own in found.items() if own is not None}
