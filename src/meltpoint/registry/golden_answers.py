"""Golden answers: a few test pictures that travel with a version, and what its model answered when it was registered.

Beside the model folder, in `check/`: 0.png, 1.png ..., and expected.json with the answers. Both times the model answers
on the CPU, so that what differs is the model or the code that loads it, not the machine.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.images.views import Views
from meltpoint.tasks.answerer import open_answerer
from meltpoint.tasks.contract import load_display

CHECK, EXPECTED = "check", "expected.json"
MASK = ".mask"
PICTURES = 8
NEAR = 1e-4  # between probabilities, and the share of pixels that may change sides: machines round differently

FlatAnswer = dict[str, float | str]  # probabilities and masks of one picture, by flat names


class AnswersError(UserError, RuntimeError):
    """A model does not answer as it did when it was registered, or it is not known how it answered."""


def write_golden_answers(model: Path, views: Views, folder: Path) -> None:
    """Write `folder` for the model folder `model`: up to PICTURES test images, evenly picked, and its answers."""
    rows = views.rows("test")
    picked = rows[np.linspace(0, len(rows) - 1, min(PICTURES, len(rows))).round().astype(int)]
    with whole_folder(folder) as new:
        for number, row in enumerate(picked):
            Image.fromarray(views.plain[int(row)]).save(new / f"{number}.png")
        write_json(new / EXPECTED, _answers(model, [new / f"{number}.png" for number in range(len(picked))]))


def check_golden_answers(folder: Path) -> None:
    """Load the model folder that `version_files.fetch` gives, and compare its answers with its golden answers.

    Raises:
        AnswersError: its answers differ, or it carries none.
        ModelError: it cannot be loaded.
    """
    check = folder.with_name(CHECK)
    try:
        expected: list[FlatAnswer] = read_json(check / EXPECTED)
    except (OSError, ValueError) as error:
        raise AnswersError(
            f"{folder} cannot be checked: {check / EXPECTED} cannot be read ({error}). A version that `register` makes "
            "carries the answers of its model for a few pictures; older ones do not. Take another version, or make "
            "this one again: move mlruns/ away, then `meltpoint sync`."
        ) from None
    found = _answers(folder, [check / f"{number}.png" for number in range(len(expected))])
    differing = [
        f"picture {number}: {difference}"
        for number, (now, before) in enumerate(zip(found, expected, strict=True))
        for difference in _differences(now, before)
    ]
    if differing:
        raise AnswersError(
            f"{folder} does not answer as it did when it was registered: {'; '.join(differing[:3])}"
            f"{f' and {len(differing) - 3} more' if len(differing) > 3 else ''}. Allowed is {NEAR:g} between machines. "
            "Its files or the installed libraries have changed: compare its requirements.txt with `pip freeze`."
        )


def _answers(model: Path, pictures: list[Path]) -> list[FlatAnswer]:
    """What a model answers for each picture; masks are base64 text of a PNG."""
    answerer = open_answerer(model)
    predictor = answerer.predictor.on_cpu()
    flatten, most = load_display(predictor.card.task).flatten, max(map(len, predictor.card.classes.values()))
    answers = replace(answerer, predictor=predictor).stream(pictures, top=most)
    return [{"error": answer.error} if answer.error else flatten(answer) for answer in answers]


def _differences(now: FlatAnswer, before: FlatAnswer) -> Iterator[str]:
    """What is not the same."""
    for name in sorted(now.keys() | before.keys()):
        old, new = before.get(name), now.get(name)
        match old, new:
            case str(), str() if name.endswith(MASK):
                masks = [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in (old, new)]
                if masks[0].shape != masks[1].shape:
                    yield f"{name.removesuffix(MASK)} gives a mask of another size"
                elif (share := np.mean(masks[0] != masks[1])) > NEAR:
                    yield f"{name.removesuffix(MASK)} gives {share:.1%} of the pixels another class"
            case ((float() | int()), (float() | int())) if abs(old - new) <= NEAR:
                pass
            case _ if old != new:
                yield f"{name} was {old} and is {new}"
