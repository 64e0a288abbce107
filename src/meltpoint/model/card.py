"""What a saved model says of itself: enough to build it again, and to read its outputs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from meltpoint.bit_depth import Depths
from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.params.base import Section
from meltpoint.params.data import Images
from meltpoint.params.heads import Coverage, Head
from meltpoint.params.judging import Metric
from meltpoint.params.model import Backbone

CARD = "card.json"
FORMAT = 5  # raised when an older reader would misread a newer card
READABLE = (3, 4, FORMAT)
FIRST_WITH_MANIFEST = 4  # the format from which on a folder without a manifest is not complete


class ModelError(UserError, RuntimeError):
    """A folder does not hold a model that can be used."""


class HeadCard(Section):
    """A head, the names of its classes in order, how many numbers it gives, and what was learnt about it on val.

    `threshold`: of two classes, the probability from which on the second is the answer; None: the more probable one is.
    `unknown_below`: answers with a smaller probability are "unknown" to those who ask, and where `head` wishes a
    coverage also those beside another class that has it; None: none is. Both are None too if val could not show a wish.
    `names`: language -> class -> its name for people. `colours`: of masks, "#rrggbb" of each class; None: it has none.
    """

    head: Head
    classes: list[str]
    outputs: int
    threshold: float | None
    unknown_below: float | None
    names: dict[str, dict[str, str]]
    colours: list[str] | None
    thresholds: list[float] | None = None  # of tags: the probability above which each is given; None: 0.5

    @field_validator("head")
    @classmethod
    def _without_folders(cls, head: Head) -> Head:
        """The names of files that vectors came from, not where they lay on the machine that trained."""
        queries = getattr(head, "queries", None)
        return head if queries is None else head.model_copy(update={"queries": queries.without_folders()})

    def find_unknown(self, shown: NDArray[np.floating], answers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which answers (N,), class ids, are "unknown", by the probabilities to show (N, C): in a tree those of it."""
        if self.unknown_below is None:
            return np.zeros(len(answers), dtype=np.bool_)
        in_set = shown >= self.unknown_below
        alone = in_set.sum(1) == 1 if isinstance(self.head.unknown, Coverage) else np.ones(len(answers), dtype=np.bool_)
        return np.asarray(~(in_set[np.arange(len(answers)), answers] & alone))


class TreeCard(Section):
    """Heads from the root's level to the leaves', and of each but the first: class to parent class."""

    levels: list[str]
    parents: dict[str, dict[str, str]]


class Card(Section):
    """JSON beside the weights. It says nothing of when, where or how long, so that equal trainings give equal cards."""

    format: int
    strategy: str
    encoder: str | None = None  # the rows of params.yaml; older cards do not say
    views: str | None = None
    task: str
    backbone: Backbone
    images: Images
    max_megapixels: float
    depths: Depths = Field(default_factory=dict)  # of pictures of more than 8 bits; older cards do not say
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    heads: dict[str, HeadCard]
    tree: TreeCard | None
    main_head: str
    metric: Metric  # of the main head: chose the checkpoint
    key: str  # fingerprint of everything the training depended on
    data: str  # fingerprint of the views
    seed: int
    licence: str
    trainable_parameters: int
    versions: dict[str, str]

    @field_validator("backbone")
    @classmethod
    def _without_folders(cls, backbone: Backbone) -> Backbone:
        """The name of a weight file, not where it lay on the machine that trained."""
        return backbone.without_folders()

    @property
    def classes(self) -> dict[str, list[str]]:
        """The class names of each head, in the order of its probabilities."""
        return {name: head.classes for name, head in self.heads.items()}

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The threshold of each head."""
        return {name: head.threshold for name, head in self.heads.items()}


def views_of(card: Card, folder: Path = Path()) -> Path:
    """Where the pipeline in `folder` has the views that a model was trained and judged on; once there was one store."""
    return folder / "data" / "views" / (card.views or "")


def read_card(folder: Path) -> Card:
    """Read the card of a model folder.

    Raises:
        ModelError: no such folder or card, or one that this version cannot read.
    """
    path = folder / CARD
    try:
        raw = read_json(path)
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no model: there is no {CARD} in it. Give a folder that training wrote, as"
            " models/frozen, or that of an export, as exports/onnx."
        ) from None
    except ValueError as error:
        raise ModelError(
            f"{path} cannot be read as JSON: {error}. Train again, or restore it with `dvc checkout`."
        ) from None
    written = raw.get("format") if isinstance(raw, dict) else None
    if written not in READABLE:
        raise ModelError(
            f"{path} has format {written!r}, and this version reads {READABLE[0]} to {READABLE[-1]}. Train again, or"
            " update meltpoint."
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        errors = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise ModelError(
            f"{path} is not a model's card: {errors}. Restore it with `dvc checkout`, or train again."
        ) from None
