"""What the page answers for a picture: by a model, in words, by two models, and where a model looked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.model.looking import Heat, attention_map, gradient_map
from meltpoint.page.answer_html import say_hint, say_problem, show_answer
from meltpoint.params.data import Images
from meltpoint.predict.fonts import SIZES, Fonts, open_fonts
from meltpoint.predict.inputs import read_picture
from meltpoint.predict.records import Answer, MaskAnswer, PredictError, Question
from meltpoint.predict.word_list import Word
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_display
from meltpoint.terminal import plain

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 800  # pixels: of a picture on the page, so that letters below it stay readable on a telephone
TOP = 5  # choices of a head
STRONGEST = 0.65  # how much of the picture the brightest heat covers


@dataclass(frozen=True)
class Shown:
    """What a model says of a picture, as HTML and drawn; no drawing of a picture that cannot be used."""

    html: str
    drawing: Image.Image | None
    answer: Answer

    @property
    def seen(self) -> Image.Image | None:
        """The drawing, where it shows what the HTML does not say: masks."""
        return self.drawing if self.answer.masks else None


def languages(model: Answerer) -> list[str]:
    """In which languages a model has names."""
    return sorted({language for head in model.card.heads.values() for language in head.names})


@lru_cache(maxsize=4)
def _fonts(language: str | None) -> tuple[Fonts, ...]:
    return tuple(open_fonts(size, None, language) for size in SIZES)


def featured(model: Answerer) -> str:
    """The head that is shown with its alternatives."""
    return model.levels[-1] if model.levels else model.card.main_head


def ask(model: Answerer, picture: Path, language: str | None, top: int = TOP) -> Shown:
    """The answer to a picture in a file; one that cannot be used is said to be so."""
    known = language if language in languages(model) else None
    ((answer, shown),) = model.look([picture], Question(top, known, window=False), 1, SIDE)
    drawing = draw(model, answer, shown, known) if answer.error is None and shown is not None else None
    return Shown(show_answer(answer, featured(model)), drawing, answer)


def draw(model: Answerer, answer: Answer, shown: Pixels, language: str | None) -> Image.Image:
    """A picture uint8 (H, W, 3) with its answer."""
    return load_display(model.card.task).draw(shown, answer, featured(model), _fonts(language), False)


def ask_words(model: Answerer, picture: Path, words: Sequence[Word], threshold: float, language: str | None) -> str:
    """The answer of a model of words; of tags those over `threshold`, or over their own where they have one.

    What is doubtful about the words stands before it.
    """
    shown, doubts = ask(model, picture, language, max(TOP, len(words))), "".join(map(say_problem, model.doubts))
    if not shown.answer.tags:
        return doubts + shown.html
    least = {word.name: threshold if word.threshold is None else word.threshold for word in words}
    tags = {
        head: replace(said, tags=tuple(one for one in said.top if one.probability > least[one.label]))
        for head, said in shown.answer.tags.items()
    }
    return doubts + show_answer(replace(shown.answer, tags=tags), featured(model))


def compare(first: Answer, second: Answer) -> str:
    """Whether two models say the same of a picture, in the heads that both have: class, tags, masks."""
    said: dict[str, str] = {}  # by head how they differ, empty: not at all
    for head in first.heads.keys() & second.heads.keys():
        said[head] = "" if first.heads[head].label == second.heads[head].label else head
    for head in first.tags.keys() & second.tags.keys():
        one, other = ({tag.label for tag in answer.tags[head].tags} for answer in (first, second))
        alone = len(one ^ other)
        said[head] = f"{head} ({alone} {'tag is' if alone == 1 else 'tags are'} of one model only)" if alone else ""
    for head in first.masks.keys() & second.masks.keys():
        same = _same_pixels(first.masks[head], second.masks[head])
        said[head] = f"{head} ({1 - same:.1%} of the picture)" if same < 1 else ""
    if not said:
        return ""
    order = [*first.heads, *first.tags, *first.masks]
    differ = [said[head] for head in order if said.get(head)]
    if not differ:
        return '<div class="agree">Both give the same answer.</div>'
    return f'<div class="differ">They differ in {len(differ)} of {len(said)}: {escape(plain(", ".join(differ)))}.</div>'


def _same_pixels(first: MaskAnswer, second: MaskAnswer) -> float:
    """The share of a picture where two masks show the same class, by its label."""
    one, other = (np.array([area.label for area in own.legend] + [""], dtype=object) for own in (first, second))
    ids = [np.minimum(own.mask, len(own.legend)) for own in (first, second)]  # 255: not shown
    return float((one[ids[0]] == other[ids[1]]).mean())


def choices(model: Answerer) -> list[tuple[str, str]]:
    """What can be asked for in `look_where`: the main answer, then every class of every head."""
    several = len(model.card.heads) > 1
    return [("its answer", "")] + [
        (f"{head}: {label}" if several else label, f"{head}\t{label}")
        for head, labels in model.card.classes.items()
        for label in labels
    ]


def look_where(model: Answerer, picture: Path, wanted: str) -> tuple[Image.Image | None, str]:
    """A picture under the heat of where a model looked, and what the heat is; `wanted` is one of `choices`.

    Raises:
        LookError: its network has neither attention nor a map.
        PredictError: no such class, or it is an export.
    """
    network = model.predictor.network
    read = read_picture(picture, model.card, SIDE, whole=False)
    if read.error is not None or read.pixels is None or read.shown is None:
        return None, say_problem(f"This picture cannot be used: {read.error}.")
    heat = attention_map(network, read.pixels)
    if heat is not None:
        text = "Attention of the last block, the mean over its heads. It is the same for every answer."
    else:
        head, label = wanted.split("\t") if wanted else (featured(model), _answer_of(model, picture))
        classes = model.card.classes.get(head, [])
        if label not in classes:
            raise PredictError(f"{head} has no class {label!r}. Choose one of the list.")
        number = classes.index(label)

        def score(outputs: "Tensor") -> "Tensor":
            if len(outputs) == len(classes):  # equation 1 takes the score before the softmax
                return outputs[number].mean()
            return model.task.decode(outputs[None], model.card.heads[head].head)[0, number].log().mean()

        heat = gradient_map(network, read.pixels, head, score)
        text = f"Grad-CAM: what speaks for {label}." if heat.any() else f"Nothing in the picture speaks for {label}."
    return paint(read.shown, to_picture(heat, read.shown.shape[0], read.shown.shape[1], model.card.images)), say_hint(
        text
    )


def _answer_of(model: Answerer, picture: Path) -> str:
    """The class that the main head answers: of tags the likeliest, of masks the largest."""
    ((answer, _),) = model.look([picture], Question(1, None, window=False), 1, None)
    head = featured(model)
    if head in answer.heads:
        return answer.heads[head].label
    return answer.tags[head].top[0].label if head in answer.tags else answer.masks[head].areas[0].label


def to_picture(heat: Heat, height: int, width: int, images: Images) -> Heat:
    """A map (S, S) of the square that `resize` made, as one (H, W) of the picture; 0 where the model saw nothing."""
    match images.resize:
        case "squash":
            return _stretched(heat, height, width)
        case "letterbox":
            rows, columns = (max(1, round(side * len(heat) / max(height, width))) for side in (height, width))
            top, left = (len(heat) - rows) // 2, (len(heat) - columns) // 2
            return _stretched(heat[top : top + rows, left : left + columns], height, width)
        case "crop":
            side, whole = min(height, width), np.zeros((height, width), np.float32)
            top, left = (height - side) // 2, (width - side) // 2
            whole[top : top + side, left : left + side] = _stretched(heat, side, side)
            return whole
        case _:
            assert_never(images.resize)


def paint(shown: Pixels, heat: Heat) -> Image.Image:
    """A picture uint8 (H, W, 3) under its heat (H, W): the hotter the place, the more of the colour."""
    scaled = np.asarray(np.clip(heat, 0, 1) * 255, dtype=np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.float32)
    share = STRONGEST * np.clip(heat, 0, 1)[..., None] ** 0.75
    grey = shown.mean(2, keepdims=True)
    calm = 0.65 * shown + 0.35 * grey  # a quieter picture below
    return Image.fromarray(np.asarray(calm * (1 - share) + colours * share, dtype=np.uint8))


def _stretched(heat: Heat, height: int, width: int) -> NDArray[np.float32]:
    wide = cv2.resize(np.ascontiguousarray(heat), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide, dtype=np.float32)
