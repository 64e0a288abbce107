"""An export that answers as the model that it was made of: by the same task, from the same card."""

from pathlib import Path

import numpy as np

from meltpoint.arrays import Pictures, Probabilities
from meltpoint.export.folder import open_export
from meltpoint.export.winner import is_export
from meltpoint.predict.predictor import Predictor, tree_of
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.tasks.contract import load_answer


def open_any(folder: Path) -> Answerer:
    """Open a model folder or an export. Torch is imported for a model only, and for the formats that are torch's own.

    Raises:
        ModelError: the folder holds no model that can be used.
        ExportError, ManifestError: it holds an export that cannot be used.
        TreeError: the tree of its card is none.
    """
    return open_exported(folder) if is_export(folder) else open_answerer(folder)


def open_exported(folder: Path) -> Answerer:
    """Open an export.

    Raises:
        ExportError, ManifestError, ModelError, TreeError: see `open_any`.
    """
    card, forward, resizes = open_export(folder)

    def exported(images: Pictures) -> Probabilities:
        if isinstance(images, np.ndarray):
            return forward(images)
        found = [forward(image[None]) for image in images]
        return {head: np.concatenate([one[head] for one in found]) for head in card.heads}

    predictor = Predictor(card, None, tree_of(card), folder, 0, None, exported, resizes)
    return Answerer(predictor, load_answer(card.task))
