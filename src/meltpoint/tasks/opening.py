"""How a saved model is opened, and in which words it answers: plain values, which other processes can be sent."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meltpoint.model.card import Card
from meltpoint.predict.records import DisplayPart
from meltpoint.predict.word_list import Word
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_display
from meltpoint.tasks.exported import open_any


@dataclass(frozen=True)
class ModelOpening:
    """Words are those of `Answerer.with_words`; None: the model's own classes."""

    words: Sequence[Word] | None = None
    tags: bool = False
    prompts: str | Sequence[str] | None = None
    text: Path | None = None
    threshold: float | None = None

    def __call__(self, folder: Path) -> Answerer:
        """Open the model folder, or the export.

        Raises:
            ModelError, ExportError, ManifestError, TreeError: see `open_any`.
            WordListError, TextError: see `Answerer.with_words`.
        """
        model = open_any(folder)
        if self.words is None:
            return model
        return model.with_words(self.words, self.tags, self.prompts, self.text, self.threshold)

    def display(self, card: Card) -> DisplayPart:
        """How the answers of its task are shown."""
        return load_display(card.task)

    def describe(self) -> dict[str, Any]:
        """All of it but where the text side is."""
        values = asdict(self)
        del values["text"]
        return values
