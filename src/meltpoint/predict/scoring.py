"""Answers for many pictures as parquet parts: one row a picture, on the engine that is asked for."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from meltpoint.model.card import Card
from meltpoint.predict.batch import Summary
from meltpoint.predict.part_files import GO_ON, fingerprint, open_part_folder
from meltpoint.predict.part_inputs import ScoringError, count_listed, plan_parts
from meltpoint.predict.part_pictures import pictures_of, read_units
from meltpoint.predict.predictor import BATCH
from meltpoint.predict.records import Answering, DisplayPart, Question, check_question
from meltpoint.predict.work import LostError, Where, load_engine
from meltpoint.progress import track
from meltpoint.terminal import heard

if TYPE_CHECKING:
    import pyarrow as pa

    from meltpoint.predict.work import Made


class Opening(Protocol):
    """How a model is opened from its folder, and by which words it answers; it is sent to other processes."""

    def __call__(self, folder: Path) -> Answering:
        """The model."""

    def display(self, card: Card) -> DisplayPart:
        """How its answers become cells."""

    def describe(self) -> dict[str, Any]:
        """What of it changes answers, as plain values."""


@dataclass(frozen=True)
class Asked:
    """What to do: paths and addresses; where parts go, how many pictures one has; the engine, and where that works."""

    given: list[str]
    question: Question
    out: Path
    part: int
    resume: bool
    column: str | None  # of the pictures in parquet; None: it is found
    engine: str
    where: Where


@dataclass(frozen=True)
class Scoring:
    """The work of an engine: pictures in, rows out."""

    folder: Path
    opening: Opening
    question: Question
    card: Card
    base: str
    column: str | None
    whole: bool  # the model is given pictures as they are

    def read(self, piece: str) -> "Iterator[pa.Table]":
        """See `Work`."""
        return read_units(piece, self.card, self.base, self.column, self.whole)

    def open(self, folder: Path | None) -> "Made":
        """See `Work`: what makes rows of `source`, `error` and the columns of the answer."""
        import pyarrow as pa

        assert folder is not None
        with heard():  # whoever asked has been told
            model = self.opening(folder)
        display = self.opening.display(model.card)
        types = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
        answered = {name: types[kind] for name, kind in display.columns(model.card, self.question.top).items()}
        schema = pa.schema({"source": pa.string(), "error": pa.string(), **answered})

        def answer(unit: pa.Table) -> pa.Table:
            pictures = pictures_of(unit, model.card.images.side)
            rows = [
                {"source": source, "error": said.error, **display.cells(said)}
                for source, (said, _) in zip(
                    unit["source"].to_pylist(), model.look(pictures, self.question, BATCH, None), strict=True
                )
            ]
            return pa.Table.from_pylist(rows, schema)

        return answer


def score(folder: Path, opening: Opening, asked: Asked) -> Summary:
    """Answer for all pictures with the model in `folder`; each part is written once all its rows are there.

    Raises:
        ScoringError: there are no pictures, or the folder for the parts cannot be used.
        PredictError: the model cannot answer so.
        SourceError: a shard is not there, or cannot be fetched.
        EngineError: the engine cannot be had, or its cluster is lost.
    """
    engine = load_engine(asked.engine)
    model = opening(folder)
    check_question(model.card, asked.question, model.predicts_masks)
    card, whole = model.card, asked.question.window or model.takes_any_size
    del model  # the engine opens its own
    ignored: Counter[str] = Counter()
    if asked.engine != "local" and (own := [one for one in asked.given if one.startswith("memory://")]):
        raise ScoringError(
            f"{own[0]} is in the memory of one process, where the engine {asked.engine} does not see it."
        )
    parts = plan_parts(asked.given, asked.part, ignored)
    question = {**asdict(asked.question), **opening.describe(), "column": asked.column}
    with open_part_folder(asked.out, fingerprint(folder), question, parts, asked.resume) as made:
        todo = {number: parts[number] for number in made.missing}
        work = Scoring(folder, opening, asked.question, card, str(Path.cwd()), asked.column, whole)
        with track(range(0), "predict", total=count_listed(list(todo.values()))) as bar:
            try:
                for number, table in engine.run(work, todo, asked.where, bar.update) if todo else ():
                    made.write(number, table)
            except LostError as error:
                raise LostError(f"{error} Parts that are finished are kept; {GO_ON}.") from error
        good, reasons = made.summarise(ignored)
    return Summary(good, 0, reasons, ignored, None, 0)
