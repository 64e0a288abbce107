"""What an encoder is made of: the contract of the files in model/libraries, named as `library` in params.yaml."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from torch import nn

from meltpoint.errors import UserError
from meltpoint.model.text_vectors import TextEncoder
from meltpoint.params.model import Backbone


class LibraryError(UserError, RuntimeError):
    """A package is not installed that an encoder needs."""


@dataclass(frozen=True)
class Parts:
    """A net of timm's without classifier, and what comes after it.

    `joint` makes of what the classifier saw, float (N, D), what a head that taps `final` is given, float (N, E): the
    space that images share with words, where there is one. `licence` and `origin` are those of the weights, in words.
    """

    net: nn.Module
    joint: nn.Module
    licence: str
    origin: str
    args: dict[str, Any] | None = None  # as the weights ask for them; None: as params say


class Library(Protocol):
    """A file in model/libraries."""

    def tower(self, params: Backbone, /) -> Backbone:
        """The model of timm that sees the images."""
        ...

    def build(self, params: Backbone, size: int, pretrained: bool, /) -> Parts:
        """The parts for images of `size` pixels; not `pretrained`, they are of random weights, and need no file.

        Raises:
            BackboneError, WeightsError, TextError: name, arguments, size, weights or texts do not fit.
        """
        ...

    def open_text(self, params: Backbone, place: Path | None, /) -> TextEncoder:
        """What makes vectors of texts; `place` is where its file or folder is now, None: where params say.

        Raises:
            TextError: there is none, or it cannot be had.
        """
        ...


def load_library(params: Backbone) -> Library:
    """The file of the library that params name."""
    return cast(Library, import_module(f"meltpoint.model.libraries.{params.library or 'timm'}"))


def open_text(params: Backbone, place: Path | None = None) -> TextEncoder:
    """The text side of an encoder; see `Library.open_text`."""
    return load_library(params).open_text(params, place)


def missing_package(package: str) -> LibraryError:
    """The error where a package of the extra `words` is not there."""
    return LibraryError(
        f"An encoder with a text side needs the package {package}, which is not installed. Install the extra:"
        " pip install -e '.[words]'"
    )
