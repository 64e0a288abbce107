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
    parts: list[Probabilities] = []
    for pictures, found in run_pictures(predictor, sources, batch, None, decode):
        names += [picture.source for picture in pictures]
        errors += [picture.error for picture in pictures]
        good = np.array([picture.error is None for picture in pictures])
        parts.append({})
        for head, classes in predictor.card.classes.items():
            parts[-1][head] = np.full((len(good), len(classes)), np.nan, np.float32)
            if found:
                parts[-1][head][good] = found[head]
    read = pd.DataFrame({"source": pd.array(names, dtype="string"), "error": pd.array(errors, dtype="string")})
    return read, join_parts(predictor, parts)


def join_parts(predictor: Predictor, parts: Iterable[Probabilities]) -> Probabilities:
    """The probabilities of batches, which may be none, one below the other."""
    parts = list(parts)
    return {
        head: np.concatenate([np.empty((0, len(classes)), np.float32), *(part[head] for part in parts)])
        for head, classes in predictor.card.classes.items()
    }


def name_choices(head: HeadCard, ids: Ints, shares: NDArray[np.floating], language: str | None) -> list[Choice]:
    """Class ids and probabilities (N,) as choices; a class without a name in that language goes by its label."""
    names = head.names.get(language, {}) if language else {}
    labels = [head.classes[number] for number in ids.tolist()]
    return [Choice(label, names.get(label, label), share) for label, share in zip(labels, shares.tolist(), strict=True)]
