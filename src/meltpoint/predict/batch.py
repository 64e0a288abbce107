"""Many pictures in one go: answers written as they come, labelled pictures drawn beside, the bad ones counted."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO, assert_never

from meltpoint.errors import UserError
from meltpoint.predict.drawer import SIDE, Drawer, common_root, place_of
from meltpoint.predict.folders import say_ignored, walk
from meltpoint.predict.fonts import SIZES, open_fonts
from meltpoint.predict.inputs import Source, is_address
from meltpoint.predict.predictor import BATCH
from meltpoint.predict.records import DIGITS, Answer, Answering, DisplayPart, Question, check_question
from meltpoint.predict.video import VideoError, is_video, read_film
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track
from meltpoint.terminal import is_terminal, plain, plain_json

DRAWN_AHEAD = 8
DRAWN_BATCH = 8  # few, for they wait in memory in the size they are drawn in

Form = Literal["lines", "json", "csv"]


class BatchError(UserError, RuntimeError):
    """There is nothing to predict, or no place for what comes of it."""


@dataclass(frozen=True)
class Batch:
    """What to do: files, folders and addresses; what is written of each, and how; where things go, None: nowhere."""

    given: list[str]
    top: int
    language: str | None
    form: Form
    draw: Path | None
    font: Path | None  # for letters that the installed fonts lack
    masks: Path | None
    window: bool  # large pictures are looked at part by part for their masks

    @property
    def videos(self) -> list[Path]:
        """The videos among what is given."""
        return [Path(given) for given in self.given if _is_film(given)]


@dataclass(frozen=True)
class Summary:
    """How it went: pictures and frames answered, the reasons of those that cannot be used, files that are no pictures.

    `unwritten` counts names with letters that no font has: these classes were drawn by their labels.
    """

    good: int
    frames: int
    reasons: Counter[str]
    ignored: Counter[str]
    drawn: Path | None
    unwritten: int

    @property
    def answered(self) -> int:
        """Pictures and frames."""
        return self.good + self.frames

    @property
    def bad(self) -> int:
        """Pictures that cannot be used."""
        return self.reasons.total()

    @property
    def sentence(self) -> str:
        """The closing line."""
        lacking = f"{self.unwritten:,} names have letters that no installed font has (give a font with --font)"
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        parts = [
            f"{self.frames:,} {'frame' if self.frames == 1 else 'frames'} answered" if self.frames else "",
            f"{self.good:,} {'picture' if self.good == 1 else 'pictures'} answered"
            if self.good or not self.frames
            else "",
            f"{self.bad:,} cannot be used ({why})" if self.bad else "",
            f"{say_ignored(self.ignored)} skipped" if self.ignored else "",
            f"drawn in {self.drawn}" if self.drawn else "",
            lacking if self.unwritten else "",
        ]
        return ", ".join(part for part in parts if part)


def run_batch(answerer: Answering, display: DisplayPart, asked: Batch, out: TextIO) -> Summary:
    """Answer for every picture, in order, and then for every frame, a line each to `out`; progress goes to stderr.

    Raises:
        PredictError: the model has no names in that language, or no masks that windows are for.
        BatchError: there are no pictures, drawings would go among them, or there are no masks to write.
        PlaceError: a file cannot be written.
        FontError: the font is none.
    """
    question = Question(asked.top, asked.language, asked.window)
    check_question(answerer.card, question, answerer.predicts_masks)
    total = _count(asked)
    _check_masks(answerer, asked)
    featured = answerer.levels[-1] if answerer.levels else answerer.card.main_head
    header, say = _form(answerer, display, asked, featured)
    fonts = tuple(open_fonts(size, asked.font, asked.language) for size in SIZES) if asked.draw else ()
    drawer = Drawer(display, featured, fonts, common_root(asked.given), asked.draw, asked.masks)
    reasons, ignored = Counter[str](), Counter[str]()
    silent = is_terminal(out) and asked.form == "lines"  # the lines are the progress

    def write(answers: Iterable[Answer]) -> int:
        """Write a line for each answer; how many are no error."""
        good = 0
        for answer in answers:
            out.write(say(answer) + "\n")
            good += answer.error is None
            reasons.update([answer.error] if answer.error else [])
        out.flush()
        return good

    if header:
        out.write(header + "\n")
    side, batch = (SIDE, DRAWN_BATCH) if asked.draw else (None, BATCH)
    seen = answerer.look(_pictures(asked, ignored), question, batch, side)
    answers: Iterator[Answer] = (answer for answer, _ in seen)
    if asked.draw or asked.masks:  # an answer comes once its drawing and its masks are on the disk
        answers = map_ahead(drawer.keep, seen, DRAWN_AHEAD, None)
    good = write(answers if silent or not total else track(answers, "predict", total))
    frames = sum(write(_answer_video(answerer, path, question, drawer, silent)) for path in asked.videos)
    heads = answerer.card.heads.values() if fonts else ()
    names = [head.names.get(asked.language or "", {}).get(label, label) for head in heads for label in head.classes]
    unwritten = sum(not fonts[0].has(name) for name in names)
    return Summary(good, frames, reasons, ignored, asked.draw, unwritten)


def _answer_video(
    answerer: Answering, path: Path, question: Question, drawer: Drawer, silent: bool
) -> Iterator[Answer]:
    """An answer for each frame, or one that says why the video cannot be used."""
    from meltpoint.predict.frames import answer_frames

    try:
        film = read_film(path)
    except VideoError as error:
        yield Answer(str(path), error.reason, {}, ())
        return
    place = place_of(str(path), drawer.root, drawer.into, ".mp4") if drawer.into else None
    answers = answer_frames(answerer, path, film, question, partial(drawer.draw, steady=True) if place else None, place)
    yield from answers if silent else track(answers, path.name, film.frames, unit="frame")


def _form(
    answerer: Answering, display: DisplayPart, asked: Batch, featured: str
) -> tuple[str, Callable[[Answer], str]]:
    """The first line, and how an answer becomes one."""
    match asked.form:
        case "lines":
            return "", lambda answer: say_line(answer, display, featured)
        case "json":
            return "", lambda answer: say_json(answer, display)
        case "csv":
            columns = ["source", "error", *display.columns(answerer.card, asked.top)]
            return write_cells(columns), lambda answer: say_cells(answer, display, columns)
        case _:
            assert_never(asked.form)


def say_line(answer: Answer, display: DisplayPart, featured: str) -> str:
    """A line to read."""
    if answer.error is not None:
        return plain(f"{answer.source}  cannot be used: {answer.error}")
    return f"{plain(str(answer.source))}  {display.line(answer, featured)}"


def say_json(answer: Answer, display: DisplayPart) -> str:
    """A line of JSON: source, error, levels, and what each head says."""
    heads = {} if answer.error else display.describe(answer)
    line = {"source": answer.source, "error": answer.error, "heads": heads, "levels": answer.levels}
    return plain_json(json.dumps(_rounded(line), ensure_ascii=False, allow_nan=False))


def say_cells(answer: Answer, display: DisplayPart, columns: Sequence[str]) -> str:
    """The row of a table, as CSV; cells of a picture that cannot be used are empty."""
    cells = {"source": answer.source, "error": answer.error, **display.cells(answer)}
    return write_cells([cells.get(column) for column in columns])


def write_cells(cells: Sequence[object]) -> str:
    """A line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["" if cell is None else cell for cell in cells])
    return line.getvalue()


def _rounded(value: Any) -> Any:
    """The same, with probabilities of few digits."""
    match value:
        case float():
            return round(value, DIGITS)
        case dict():
            return {key: _rounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
        case _:
            return value


def _pictures(asked: Batch, ignored: Counter[str]) -> Iterator[Source]:
    for given in asked.given:
        if _is_folder(given):
            yield from walk(Path(given), ignored)
        elif not _is_film(given):
            yield given


def _is_folder(given: str) -> bool:
    return not is_address(given) and Path(given).is_dir()


def _is_film(given: str) -> bool:
    return is_video(given) and not is_address(given) and not Path(given).is_dir()


def _count(asked: Batch) -> int:
    """How many pictures there are: folders are walked twice, so that their number is known and no list is kept."""
    ignored: Counter[str] = Counter()
    total = sum(1 for _ in _pictures(asked, ignored))
    if not total and not asked.videos:
        raise BatchError(
            f"There are no pictures in {', '.join(asked.given)}{': only ' if ignored else ''}{say_ignored(ignored)}. "
            "Name pictures, folders of pictures, videos, or http(s) addresses."
        )
    places = [(into, option) for into, option in ((asked.draw, "--draw"), (asked.masks, "--masks")) if into]
    for into, option in places:
        for folder in filter(_is_folder, asked.given):
            if into.resolve().is_relative_to(Path(folder).resolve()):
                raise BatchError(
                    f"{into} is inside {folder}, so the drawings would be read as pictures the next time. Choose "
                    f"another folder for {option}."
                )
    return total


def _check_masks(answerer: Answering, asked: Batch) -> None:
    if asked.masks is None:
        return
    if not answerer.predicts_masks:
        raise BatchError(
            f"There are no masks to write: the heads {list(answerer.card.heads)} predict one class for the "
            "whole picture. Leave out --masks, or use another model."
        )
    if asked.videos:
        raise BatchError(
            f"Masks are written for pictures only, and {asked.videos[0]} is a video. Leave out --masks; --draw writes "
            "the video with its masks drawn over it."
        )
