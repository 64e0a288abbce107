"""Many pictures in one go: answers written as they come, labelled pictures drawn beside, the bad ones counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO, assert_never

from meltpoint.errors import UserError
from meltpoint.images.decode import Pixels
from meltpoint.predict.ahead import map_ahead
from meltpoint.predict.answers import Answer, check_question
from meltpoint.predict.draw import LETTERS, SIDE, common_root, draw_answer, place_of, write_drawing
from meltpoint.predict.folders import say_ignored, walk
from meltpoint.predict.lettering import Lettering, open_lettering
from meltpoint.predict.predictor import BATCH, Predictor
from meltpoint.predict.sources import Source, is_address
from meltpoint.predict.tell import say_cells, say_json, say_line, table_columns, write_cells
from meltpoint.progress import track

DRAWN_AHEAD = 8
DRAWN_BATCH = 8  # few, for they wait in memory in the size they are drawn in

Form = Literal["lines", "json", "csv"]
Seen = tuple[Answer, Pixels | None]


class JobError(UserError, RuntimeError):
    """There is nothing to predict, or no place for what comes of it."""


@dataclass(frozen=True)
class Job:
    """What to do: files, folders and addresses; what is told of each, and how; where drawings go, None: nowhere."""

    given: list[str]
    top: int
    language: str | None
    form: Form
    draw: Path | None
    font: Path | None  # for letters that the fonts at hand have not


@dataclass(frozen=True)
class Tally:
    """How it went: pictures answered, the reasons of those that cannot be used, files that are no pictures.

    `unwritten` counts names with letters that no font has: these classes were drawn by their labels.
    """

    good: int
    reasons: Counter[str]
    ignored: Counter[str]
    drawn: Path | None
    unwritten: int

    @property
    def bad(self) -> int:
        """Pictures that cannot be used."""
        return self.reasons.total()

    @property
    def sentence(self) -> str:
        """The closing line."""
        lacking = f"{self.unwritten:,} names have letters that no font here has (give one by --font)"
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        parts = [
            f"{self.good:,} {'picture' if self.good == 1 else 'pictures'} answered",
            f"{self.bad:,} cannot be used ({why})" if self.bad else "",
            f"{say_ignored(self.ignored)} passed by" if self.ignored else "",
            f"drawn in {self.drawn}" if self.drawn else "",
            lacking if self.unwritten else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class _Drawer:
    """Draws answers into a folder that mirrors where their pictures are."""

    featured: str
    letters: Lettering
    root: Path
    into: Path

    def draw(self, seen: Seen) -> Answer:
        answer, shown = seen
        if shown is not None and answer.source is not None:
            drawing = draw_answer(shown, answer, self.featured, self.letters)
            place = place_of(answer.source, self.root, self.into)
            try:
                write_drawing(drawing, place)
            except OSError as error:
                raise JobError(f"{place} cannot be written: {error}. Choose another folder for --draw.") from error
        return answer


@dataclass
class _Count:
    """What is counted on the way."""

    good: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)


def run_job(predictor: Predictor, job: Job, out: TextIO) -> Tally:
    """Answer for every picture, in order, a line each to `out`; progress goes to stderr.

    Raises:
        PredictError: the model has no names in that language.
        JobError: there are no pictures, or drawings would go among them.
        FontError: the font is none.
    """
    check_question(predictor.card, job.top, job.language)
    total = _count(job)
    featured = predictor.tree.levels[-1] if predictor.tree else predictor.card.main_head
    header, say = _form(predictor, job, featured)
    count = _Count()
    side, batch = (SIDE, DRAWN_BATCH) if job.draw else (None, BATCH)
    seen = predictor.look(_pictures(job, count.ignored), job.top, job.language, batch, side)
    letters = open_lettering(LETTERS, job.font, job.language) if job.draw else None
    answers = _drawn(seen, job, featured, letters)
    if header:
        out.write(header + "\n")
    silent = out.isatty() and job.form == "lines"  # the lines are the progress
    for answer in answers if silent else track(answers, "predict", total):
        out.write(say(answer) + "\n")
        count.good += answer.error is None
        count.reasons.update([answer.error] if answer.error else [])
    out.flush()
    unwritten = _count_unwritten(predictor, job, letters) if letters else 0
    return Tally(count.good, count.reasons, count.ignored, job.draw, unwritten)


def _form(predictor: Predictor, job: Job, featured: str) -> tuple[str, Callable[[Answer], str]]:
    """The first line, and how an answer becomes one."""
    match job.form:
        case "lines":
            return "", lambda answer: say_line(answer, featured)
        case "json":
            return "", say_json
        case "csv":
            columns = table_columns(predictor.card, job.top)
            return write_cells(columns), lambda answer: say_cells(answer, columns)
        case _:
            assert_never(job.form)


def _drawn(seen: Iterator[Seen], job: Job, featured: str, letters: Lettering | None) -> Iterator[Answer]:
    """The answers; each comes once its drawing is on the disk."""
    if job.draw is None or letters is None:
        return (answer for answer, _ in seen)
    drawer = _Drawer(featured, letters, common_root(job.given), job.draw)
    return map_ahead(drawer.draw, seen, DRAWN_AHEAD, None)


def _count_unwritten(predictor: Predictor, job: Job, letters: Lettering) -> int:
    heads = predictor.card.heads.values()
    names = [head.names.get(job.language or "", {}).get(label, label) for head in heads for label in head.classes]
    return sum(not letters.has(name) for name in names)


def _pictures(job: Job, ignored: Counter[str]) -> Iterator[Source]:
    for given in job.given:
        if not is_address(given) and Path(given).is_dir():
            yield from walk(Path(given), ignored)
        else:
            yield given


def _count(job: Job) -> int:
    """How many pictures there are: folders are walked twice, so that their number is known and no list is kept."""
    ignored: Counter[str] = Counter()
    total = sum(1 for _ in _pictures(job, ignored))
    if not total:
        raise JobError(
            f"There are no pictures in {', '.join(job.given)}{': only ' if ignored else ''}{say_ignored(ignored)}. "
            "Name pictures, folders of pictures, or http(s) addresses."
        )
    if job.draw:
        _check_place(job.given, job.draw)
    return total


def _check_place(given: list[str], into: Path) -> None:
    for path in given:
        if not is_address(path) and Path(path).is_dir() and into.resolve().is_relative_to(Path(path).resolve()):
            raise JobError(
                f"Drawings would go to {into}, inside of {path}, and be taken for pictures the next time. "
                "Choose a folder elsewhere for --draw."
            )
