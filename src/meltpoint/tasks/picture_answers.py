"""What tasks share whose heads answer for a whole picture: probabilities of pictures, and choices with their names."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Ints, Probabilities
from meltpoint.model.card import HeadCard
from meltpoint.params.heads import Head
from meltpoint.predict.inputs import Picture, Source, stack_pixels
from meltpoint.predict.predictor import Predictor
from meltpoint.predict.records import Choice
from meltpoint.tables import Classes

if TYPE_CHECKING:
    from torch import Tensor

Decode = Callable[["Tensor", Head], "Tensor"]


def run_pictures(
    predictor: Predictor, sources: Source | Iterable[Source], batch: int, side: int | None, decode: Decode
) -> Iterator[tuple[list[Picture], Probabilities | None]]:
    """Batches of pictures, and the probabilities of those that are no error."""
    return predictor.run(
        sources, lambda good: predictor.probabilities(stack_pixels(good), decode), batch, side, whole=False
    )


def read_pictures(
    predictor: Predictor, sources: Iterable[Source], batch: int, decode: Decode
) -> tuple[pd.DataFrame, Probabilities]:
    """The columns `source` and `error` of all sources, and their probabilities, NaN where a picture is an error."""
    names: list[str | None] = []
    errors: list[str | None] = []

    def read() -> Iterator[Probabilities]:
        for pictures, found in run_pictures(predictor, sources, batch, None, decode):
            names.extend(picture.source for picture in pictures)
            errors.extend(picture.error for picture in pictures)
            good = np.array([picture.error is None for picture in pictures])
            part = {}
            for head, classes in predictor.card.classes.items():
                part[head] = np.full((len(good), len(classes)), np.nan, np.float32)
                if found:
                    part[head][good] = found[head]
            yield part

    probabilities = join_parts(predictor.card.classes, read())
    said = {"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")}
    return pd.DataFrame(said), probabilities


def join_parts(classes: Classes, parts: Iterable[Probabilities]) -> Probabilities:
    """The probabilities float32 (N, C) of the heads of `classes`, batch below batch; there may be none.

    They are copied as they come. Small arrays that stay would keep large ones from being used again: each lies behind
    the large ones of its batch, and what those leave is in pieces (10 kB an image at 64 px).
    """
    rows = {head: bytearray() for head in classes}
    for part in parts:
        for head, own in rows.items():
            own += part[head].astype(np.float32, copy=False).tobytes()
    return {head: np.frombuffer(own, np.float32).reshape(-1, len(classes[head])) for head, own in rows.items()}


def name_choices(head: HeadCard, ids: Ints, shares: NDArray[np.floating], language: str | None) -> list[Choice]:
    """Class ids and probabilities (N,) as choices; a class without a name in that language goes by its label."""
    names = head.names.get(language, {}) if language else {}
    labels = [head.classes[number] for number in ids.tolist()]
    return [Choice(label, names.get(label, label), share) for label, share in zip(labels, shares.tolist(), strict=True)]
