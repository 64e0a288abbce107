"""Many pictures in one go: answers written as they come, labelled pictures drawn beside, the bad ones counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO, assert_never

from meltpoint.errors import UserError
from meltpoint.predict.answers import Answer, Question, check_question
from meltpoint.predict.draw import SIDE, common_root
from meltpoint.predict.drawer import Drawer
from meltpoint.predict.folders import say_ignored, walk
from meltpoint.predict.legend import SIZES
from meltpoint.predict.lettering import Lettering, open_lettering
from meltpoint.predict.predictor import BATCH, Predictor
from meltpoint.predict.sources import Source, is_address
from meltpoint.predict.tell import say_cells, say_json, say_line, table_columns, write_cells
from meltpoint.predict.video import VideoError, is_video, read_film
from meltpoint.prefetch import map_ahead
from meltpoint.progress import track

DRAWN_AHEAD = 8
DRAWN_BATCH = 8  # few, for they wait in memory in the size they are drawn in

Form = Literal["lines", "json", "csv"]


class JobError(UserError, RuntimeError):
    """There is nothing to predict, or no place for what comes of it."""


@dataclass(frozen=True)
class Job:
    """What to do: files, folders and addresses; what is told of each, and how; where things go, None: nowhere."""

    given: list[str]
    top: int
    language: str | None
    form: Form
    draw: Path | None
    font: Path | None  # for letters that the fonts at hand have not
    masks: Path | None
    window: bool  # large pictures are looked at part by part for their masks

    @property
    def videos(self) -> list[Path]:
        """The videos among what is given."""
        return [Path(given) for given in self.given if _is_film(given)]


@dataclass(frozen=True)
class Tally:
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
        lacking = f"{self.unwritten:,} names have letters that no font here has (give one by --font)"
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        parts = [
            f"{self.frames:,} {'frame' if self.frames == 1 else 'frames'} answered" if self.frames else "",
            f"{self.good:,} {'picture' if self.good == 1 else 'pictures'} answered"
            if self.good or not self.frames
            else "",
            f"{self.bad:,} cannot be used ({why})" if self.bad else "",
            f"{say_ignored(self.ignored)} passed by" if self.ignored else "",
            f"drawn in {self.drawn}" if self.drawn else "",
            lacking if self.unwritten else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass
class _Count:
    """What is counted on the way."""

    reasons: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)

    def tell(self, answers: Iterable[Answer], say: Callable[[Answer], str], out: TextIO) -> int:
        """Write a line for each answer; how many are no error."""
        good = 0
        for answer in answers:
            out.write(say(answer) + "\n")
            good += answer.error is None
            self.reasons.update([answer.error] if answer.error else [])
        out.flush()
        return good


def run_job(predictor: Predictor, job: Job, out: TextIO) -> Tally:
    """Answer for every picture, in order, and then for every frame, a line each to `out`; progress goes to stderr.

    Raises:
        PredictError: the model has no names in that language, or no masks that windows are for.
        JobError: there are no pictures, drawings would go among them, or there are no masks to write.
        PlaceError: a file cannot be written.
        FontError: the font is none.
    """
    question = Question(job.top, job.language, job.window)
    check_question(predictor.card, question)
    total = _count(job)
    _check_masks(predictor, job)
    featured = predictor.tree.levels[-1] if predictor.tree else predictor.card.main_head
    header, say = _form(predictor, job, featured)
    drawer = _open_drawer(job, featured)
    count = _Count()
    if header:
        out.write(header + "\n")
    silent = out.isatty() and job.form == "lines"  # the lines are the progress
    answers = _answer_pictures(predictor, job, question, drawer, count.ignored)
    good = count.tell(answers if silent or not total else track(answers, "predict", total), say, out)
    films = (_answer_video(predictor, path, question, drawer, silent) for path in job.videos)
    frames = sum(count.tell(film, say, out) for film in films)
    unwritten = _count_unwritten(predictor, job, drawer.letters[0]) if drawer.letters else 0
    return Tally(good, frames, count.reasons, count.ignored, job.draw, unwritten)


def _answer_pictures(
    predictor: Predictor, job: Job, question: Question, drawer: Drawer, ignored: Counter[str]
) -> Iterator[Answer]:
    """The answers; each comes once its drawing and its masks are on the disk."""
    side, batch = (SIDE, DRAWN_BATCH) if job.draw else (None, BATCH)
    seen = predictor.look(_pictures(job, ignored), question, batch, side)
    if job.draw is None and job.masks is None:
        return (answer for answer, _ in seen)
    return map_ahead(drawer.keep, seen, DRAWN_AHEAD, None)


def _answer_video(
    predictor: Predictor, path: Path, question: Question, drawer: Drawer, silent: bool
) -> Iterator[Answer]:
    """An answer for each frame, or one that says why the video cannot be used."""
    from meltpoint.predict.frames import answer_frames

    try:
        film = read_film(path)
    except VideoError as error:
        yield Answer(str(path), error.reason, {}, ())
        return
    place = drawer.place_of_video(path)
    answers = answer_frames(predictor, path, film, question, drawer.draw_frame if place else None, place)
    yield from answers if silent else track(answers, path.name, film.frames, unit="frame")


def _open_drawer(job: Job, featured: str) -> Drawer:
    """What draws for this job; fonts are opened if anything is drawn."""
    letters = tuple(open_lettering(size, job.font, job.language) for size in SIZES) if job.draw else ()
    return Drawer(featured, letters, common_root(job.given), job.draw, job.masks)


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


def _count_unwritten(predictor: Predictor, job: Job, letters: Lettering) -> int:
    heads = predictor.card.heads.values()
    names = [head.names.get(job.language or "", {}).get(label, label) for head in heads for label in head.classes]
    return sum(not letters.has(name) for name in names)


def _pictures(job: Job, ignored: Counter[str]) -> Iterator[Source]:
    for given in job.given:
        if not is_address(given) and Path(given).is_dir():
            yield from walk(Path(given), ignored)
        elif not _is_film(given):
            yield given


def _is_film(given: str) -> bool:
    return is_video(given) and not is_address(given) and not Path(given).is_dir()


def _count(job: Job) -> int:
    """How many pictures there are: folders are walked twice, so that their number is known and no list is kept."""
    ignored: Counter[str] = Counter()
    total = sum(1 for _ in _pictures(job, ignored))
    if not total and not job.videos:
        raise JobError(
            f"There are no pictures in {', '.join(job.given)}{': only ' if ignored else ''}{say_ignored(ignored)}. "
            "Name pictures, folders of pictures, videos, or http(s) addresses."
        )
    for into, option in ((job.draw, "--draw"), (job.masks, "--masks")):
        if into is not None:
            _check_place(job.given, into, option)
    return total


def _check_place(given: list[str], into: Path, option: str) -> None:
    for path in given:
        if not is_address(path) and Path(path).is_dir() and into.resolve().is_relative_to(Path(path).resolve()):
            raise JobError(
                f"Drawings would go to {into}, inside of {path}, and be taken for pictures the next time. "
                f"Choose a folder elsewhere for {option}."
            )


def _check_masks(predictor: Predictor, job: Job) -> None:
    if job.masks is None:
        return
    if any(head.colours is None for head in predictor.card.heads.values()):
        raise JobError(
            f"There are no masks to write: the heads {list(predictor.card.heads)} tell a class of each picture. Ask "
            "without --masks, or another model."
        )
    if job.videos:
        raise JobError(
            f"Masks are written of pictures, and {job.videos[0]} is a video. Ask without --masks; --draw writes the "
            "video with its masks over it."
        )
