"""The vectors that classes have before anything is learnt: of a file, or of their names by a text encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from meltpoint.errors import UserError
from meltpoint.model.library import open_text
from meltpoint.model.prompts import fill_prompts
from meltpoint.model.text_vectors import TextError, embed_words
from meltpoint.params.model import Backbone
from meltpoint.params.queries import FileQueries, Queries, TextQueries

SHOWN = 3  # tags that a message names


class TagListError(UserError, ValueError):
    """A list of tags, thresholds or vectors cannot be used."""


def find_vectors(queries: Queries, encoder: Backbone, classes: Sequence[str], width: int) -> Tensor:
    """Vectors float32 (K, width) of the classes; `encoder` is the one that the head stands over.

    Raises:
        TagListError: a file cannot be read, lacks a class, or its vectors have another width.
        TextError: the text encoder cannot be had, a name is nothing to it, or its vectors have another width.
    """
    match queries:
        case FileQueries():
            return _of_file(queries, classes, width)
        case TextQueries():
            return embed_names(queries, encoder, classes, width, None)
        case _:
            assert_never(queries)


def embed_names(queries: TextQueries, encoder: Backbone, names: Sequence[str], width: int, text: Path | None) -> Tensor:
    """Vectors float32 (K, width) of names, put into the prompts of `queries`, `_` read as a blank.

    `text` is where the weights of the text encoder are now; None: where `queries` or else `encoder` say.

    Raises:
        TextError: see `find_vectors`.
    """
    opened = open_text(queries.encoder or encoder, text)
    vectors = embed_words(opened, {name: fill_prompts(queries.prompts, name.replace("_", " ")) for name in names})
    if vectors.shape[1] != width:
        raise TextError(
            f"The text encoder gives vectors of {vectors.shape[1]} numbers, and the head takes {width}. Give the text"
            " encoder that the head was made for, or set `vectors` of the head to that number."
        )
    return vectors


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, stripped, none empty.

    Raises:
        TagListError: it cannot be read, is not UTF-8, or has an empty line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise TagListError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}. A list is UTF-8, a tag a line; save it so."
        ) from None
    except OSError as error:
        raise TagListError(f"{path} cannot be read: {error.strerror}. Give a text file, a tag a line.") from None
    empty = [number for number, line in enumerate(lines, 1) if not line]
    if empty or not lines:
        where = f"line {empty[0]} is empty" if empty else "it is empty"
        raise TagListError(
            f"{path}: {where}. Each line holds one; the nth belongs to the nth tag. Remove it, or fill it."
        )
    return lines


def read_vectors(path: Path) -> Tensor:
    """Vectors float (K, D) of tags: the array of a .npy, or the only tensor of a .safetensors.

    Raises:
        TagListError: it holds no such thing.
    """
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        (found,) = load_file(path).values()
    except Exception as error:  # noqa: BLE001 - what both readers raise of files that are no such
        raise TagListError(
            f"{path} cannot be read as vectors of tags: {error}. Allowed is a .npy, or a .safetensors with one tensor."
        ) from None
    return found


def check_count(path: Path, lines: int, of: str, count: int) -> None:
    """Whether a list has a line for each tag.

    Raises:
        TagListError: it has not.
    """
    if lines != count:
        raise TagListError(
            f"{path} has {lines:,} lines, and {of} {count:,} tags. The nth line belongs to the nth tag: give the file"
            " that goes with it."
        )


def _of_file(queries: FileQueries, classes: Sequence[str], width: int) -> Tensor:
    path, tags = Path(queries.path), read_lines(Path(queries.tags))
    vectors = read_vectors(path)
    if vectors.ndim != 2 or vectors.shape[1] != width or not vectors.isfinite().all():
        raise TagListError(
            f"{path} holds the shape {tuple(vectors.shape)}; allowed are finite numbers (tags, {width}), as wide as"
            " `vectors` of the head says. Correct the head, or give another file."
        )
    check_count(Path(queries.tags), len(tags), str(path), len(vectors))
    places = {tag: place for place, tag in enumerate(tags)}
    if lacking := [name for name in classes if name not in places]:
        raise TagListError(
            f"{queries.tags} lacks {len(lacking)} of {len(classes)} tags of the data, such as {lacking[:SHOWN]}. Write"
            " each tag as the data have it, and give it a vector."
        )
    return vectors[[places[name] for name in classes]].float()
