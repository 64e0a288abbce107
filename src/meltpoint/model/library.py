"""What an encoder is made of: the contract of the files in model/libraries, named as `library` in params.yaml."""

import importlib.util
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from torch import nn

from meltpoint.errors import UserError
from meltpoint.model.text_vectors import TextEncoder, TextError
from meltpoint.params.model import Backbone, TextFolder


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


def find_folder(text: TextFolder) -> Path:
    """Where the folder is that transformers reads.

    Raises:
        LibraryError, TextError: its package is not installed; there is no such folder.
    """
    folder = Path(text.folder)
    if text.package is not None:
        found = importlib.util.find_spec(text.package) if text.package.isidentifier() else None
        if found is None or found.origin is None:
            raise missing_package(text.package)
        folder = Path(found.origin).parent / text.folder
    if not folder.is_dir():
        raise TextError(
            f"There is no folder {folder}, which has to hold the text encoder. Correct `text` of the encoder; of a"
            " saved model, say where it is now with --text."
        )
    return folder


def missing_package(package: str) -> LibraryError:
    """The error where a package of the extra `words` is not there."""
    return LibraryError(
        f"An encoder with a text side needs the package {package}, which is not installed. Install the extra:"
        " pip install -e '.[words]'"
    )
