"""Many pictures at once: drawn for a gallery, their answers in a table to download, the bad ones listed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.page.answers import TOP, draw, featured, languages
from meltpoint.predict.batch import say_cells, write_cells
from meltpoint.predict.drawer import write_drawing
from meltpoint.predict.records import Answer, Question
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_display

MOST = 500  # pictures at once; a page is no place for more
BATCH = 8  # through the model at once, few, for they wait in memory in the size they are drawn in
SIDE = 480  # pixels: of a picture in the gallery


class FolderError(UserError, ValueError):
    """No pictures, or too many of them."""


@dataclass(frozen=True)
class Album:
    """Drawings with their captions, the table, how many pictures were answered, and why others were not."""

    drawings: list[tuple[str, str]]
    table: Path
    answered: int
    reasons: Counter[str]


def answer_folder(
    model: Answerer,
    pictures: Sequence[tuple[str, Path]],
    language: str | None,
    into: Path,
    progress: Callable[[int, int], object],
) -> Album:
    """Answer for pictures, each a name and its file; drawings and the table are written below `into`.

    Raises:
        FolderError: there are none, or more than `MOST`.
    """
    if not 0 < len(pictures) <= MOST:
        raise FolderError(
            f"There are {len(pictures):,} files. A page takes 1 to {MOST}. For more:"
            " meltpoint predict FOLDER --csv > answers.csv"
        )
    display, known = load_display(model.card.task), language if language in languages(model) else None
    columns = ["source", "error", *display.columns(model.card, TOP)]
    lines, drawings = [write_cells(columns)], list[tuple[str, str]]()
    reasons = Counter[str]()
    seen = model.look([path for _, path in pictures], Question(TOP, known, window=False), BATCH, SIDE)
    for number, ((name, _), (answer, shown)) in enumerate(zip(pictures, seen, strict=True), start=1):
        lines.append(say_cells(replace(answer, source=name), display, columns))
        if answer.error is not None or shown is None:
            reasons[answer.error or ""] += 1
        else:
            path = into / f"{number}.jpg"
            write_drawing(draw(model, answer, shown, known), path)
            drawings.append((str(path), _caption(name, model, answer)))
        progress(number, len(pictures))
    table = into / "answers.csv"
    with whole_file(table) as temporary:  # the mark tells spreadsheets that it is UTF-8
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return Album(drawings, table, len(drawings), reasons)


def _caption(name: str, model: Answerer, answer: Answer) -> str:
    """The picture's name and the main answer in a few words."""
    head = featured(model)
    if head in answer.heads:
        said = f"{answer.heads[head].name} {answer.heads[head].probability:.1%}"
    elif head in answer.tags:
        said = ", ".join(tag.name for tag in answer.tags[head].tags) or "no tag"
    else:
        said = ", ".join(f"{area.name} {area.share:.0%}" for area in answer.masks[head].areas[:3])
    return f"{Path(name).name}: {said}"
