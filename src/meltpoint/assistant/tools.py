"""What an assistant can ask of a model: each public method of `Tools` is a tool, and its docstring what it is told."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from meltpoint.assistant.confusions import Confusions, find_class, read_confusions
from meltpoint.assistant.pictures import PictureError, read_sent
from meltpoint.errors import UserError
from meltpoint.predict.batch import say_json
from meltpoint.predict.fonts import SIZES, open_fonts
from meltpoint.predict.inputs import most_bytes
from meltpoint.predict.records import Answer, Question, check_question
from meltpoint.predict.word_list import Word, check_words, read_word
from meltpoint.serving.request_limits import Limits
from meltpoint.tasks.contract import load_display
from meltpoint.terminal import complain

if TYPE_CHECKING:
    from meltpoint.arrays import Pixels
    from meltpoint.registry.evidence import Evidence
    from meltpoint.tasks.answerer import Answerer

SIDE = 1024  # pixels: the longer side of a drawing that is sent back
MOST_WORDS, LONGEST_WORD = 256, 200  # of a list, and letters of a word


class AskError(UserError, ValueError):
    """A question that cannot be answered."""


@dataclass(eq=False)
class Tools:
    """A model, what is on record about it, and what it may read; one question is answered after the other.

    `answerer` already refuses pictures of more pixels than `limits` allow. `evidence` None: the model is a folder.
    `predictions`: the table of its evaluation; None or not there: its confusions are not known. `folder`: the pictures
    that may be read; None: none. `language`: of names where a question does not say.
    """

    where: str
    answerer: "Answerer"
    evidence: "Evidence | None"
    predictions: Path | None
    folder: Path | None
    limits: Limits
    language: str | None
    _turn: Lock = field(default_factory=Lock)
    _worded: "tuple[object, Answerer] | None" = None

    def __post_init__(self) -> None:
        """Check the language.

        Raises:
            PredictError: the model has no names in it.
        """
        check_question(self.answerer.card, Question(1, self.language, window=False), self.answerer.predicts_masks)

    def classify(
        self, image: str | None = None, path: str | None = None, language: str | None = None, top: int = 5
    ) -> dict[str, Any]:
        """Say what a picture shows. Give `image` (base64 of an image file) or `path` (a file of the allowed folder).

        A head is a question that the model answers, such as the pose. Of each: the class (`label`), its name in
        `language` (as en or zh), its probability from 0 to 1, whether it is too unsure to count (`unknown`), and the
        `top` likeliest classes. `may_be`: what else pictures with this answer truly were on the test images; `share`,
        from 0 to 1, is of all with this answer. Heads of tags give all tags above their threshold.
        """
        language = language or self.language
        answer, _ = self._look(self.answerer, image, path, Question(top, language, window=False), None)
        found = _describe(self.answerer, answer)
        for head, said in answer.heads.items():
            known = self.confusions.of(head, self.answerer.card.heads[head], said.label, language)
            found["heads"][head]["may_be"] = known["really"] if known else "not known"
        return found

    def segment(
        self,
        image: str | None = None,
        path: str | None = None,
        language: str | None = None,
        window: bool = False,
    ) -> tuple[dict[str, Any], bytes]:
        """Say which part of a picture shows what: the share of each class, from 0 to 1, and the picture under its mask.

        Give `image` (base64 of an image file) or `path` (a file of the allowed folder). Names are in `language` (as en
        or zh). `window`: look at a large picture part by part, which is slower and sees small things.
        """
        language = language or self.language
        answer, shown = self._look(self.answerer, image, path, Question(1, language, window), SIDE)
        assert shown is not None
        fonts = [open_fonts(size, None, language) for size in SIZES]
        display, card = load_display(self.answerer.card.task), self.answerer.card
        file = io.BytesIO()
        display.draw(shown, answer, card.main_head, fonts, steady=False).convert("RGB").save(file, "JPEG", quality=90)
        return _describe(self.answerer, answer), file.getvalue()

    def tag_with_words(
        self,
        words: list[str],
        image: str | None = None,
        path: str | None = None,
        one: bool = False,
        language: str | None = None,
    ) -> dict[str, Any]:
        """Say which of some words fit a picture; they need not be classes of the model.

        Give `image` (base64 of an image file) or `path` (a file of the allowed folder). A word is `red car`, or with
        its Chinese name `red car|红色汽车`, or with its own threshold `red car||0.7`. `one`: exactly one of them is the
        answer; otherwise each word by itself is given if its probability is above its threshold, 0.5 as a rule.
        `doubts`, where there are some: words that say next to nothing to the model; answers about them mean little.
        """
        if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD for word in words):
            raise AskError(
                f"{len(words):,} words came, the longest of {max(map(len, words)):,} letters. Allowed are {MOST_WORDS}"
                f" words of {LONGEST_WORD} letters. Send fewer or shorter ones."
            )
        listed = tuple(check_words(read_word(f"Word {place}", word) for place, word in enumerate(words, 1)))
        language = language if any(word.chinese for word in listed) else None
        with self._turn:
            worded = self._with_words(listed, not one)
        answer, _ = self._look(worded, image, path, Question(10, language, window=False), None)
        return _describe(worded, answer) | ({"doubts": list(worded.doubts)} if worded.doubts else {})

    def may_be_confused(self, name: str, head: str | None = None, language: str | None = None) -> dict[str, Any]:
        """Say what a class may be confused with, from the test images of the model's evaluation.

        `name`: its label, or its name in any language, or how that begins. `really`: what else the model's answer of
        that class truly was; `answered_as`: what pictures of that class were taken for. Each with a count (of pictures,
        or of pixels where `counted` says so) and a share from 0 to 1. Names are in `language` (as en or zh).
        """
        language, card = language or self.language, self.answerer.card
        of, label = find_class(card, name, head)
        check_question(card, Question(1, language, window=False), self.answerer.predicts_masks)
        names = {spoken: known[label] for spoken, known in card.heads[of].names.items() if label in known}
        known = self.confusions.of(of, card.heads[of], label, language)
        counted = "pixels" if self.answerer.predicts_masks else "pictures"
        found = {"head": of, "label": label, "names": names}
        if known is None:
            return {**found, "known": False, "why": "the predictions of its evaluation are not here, or it gives tags"}
        return {**found, "known": True, "counted": counted, **known}

    def describe_model(self, language: str | None = None) -> dict[str, Any]:
        """Say what the model is: version and what is noted of it, encoder, metric, heads and their classes with names.

        Names are in `language` (as en or zh); `languages` are those that it has.
        """
        card, language = self.answerer.card, language or self.language
        check_question(card, Question(1, language, window=False), self.answerer.predicts_masks)
        heads = {
            head: {
                "classes": [
                    {"label": label, "name": own.names.get(language or "", {}).get(label, label)}
                    for label in own.classes
                ],
                "languages": sorted(own.names),
                "may_be_unknown": own.unknown_below is not None,
            }
            for head, own in card.heads.items()
        }
        evidence = self.evidence
        registered = (
            {"name": evidence.name, "version": evidence.version, "tags": dict(evidence.tags)} if evidence else {}
        )
        return {
            "model": self.where, **registered, "task": card.task, "strategy": card.strategy,
            "encoder": card.backbone.name, "image_side": card.images.side, "main_head": card.main_head,
            "metric": card.metric, "tree": list(self.answerer.levels), "licence_of_weights": card.licence,
            "heads": heads,
        }  # fmt: skip

    def why_promoted(self) -> dict[str, Any]:
        """Say why this version is registered, and how the alias champion moved: the decision, the gate, the history."""
        assert self.evidence is not None
        return {
            "name": self.evidence.name, "version": self.evidence.version, "decision": self.evidence.decision,
            "gate": self.evidence.tags.get("gate"), "test_set": self.evidence.tags.get("test set"),
            "champions": self.evidence.changes,
        }  # fmt: skip

    @cached_property
    def confusions(self) -> Confusions:
        """Those of its evaluation."""
        return read_confusions(self.predictions, self.answerer.card)

    @property
    def fits(self) -> Mapping[str, bool]:
        """Which tools this model has an answer to; those that are not named here have one of any model."""
        masks = self.answerer.predicts_masks
        return {
            "classify": not masks, "segment": masks, "tag_with_words": not masks and self._takes_words,
            "why_promoted": self.evidence is not None,
        }  # fmt: skip

    @property
    def _takes_words(self) -> bool:
        try:
            self.answerer.with_words(["this", "that"])
        except UserError as error:
            complain(f"note: the tool tag_with_words is left out. {error}")
            return False
        return True

    def _with_words(self, words: tuple[Word, ...], tags: bool) -> "Answerer":
        """The model under these words; the last one is kept, as embedding words takes its time."""
        if self._worded is None or self._worded[0] != (words, tags):
            self._worded = (words, tags), self.answerer.with_words(words, tags)
        return self._worded[1]

    def _look(
        self, answerer: "Answerer", image: str | None, path: str | None, question: Question, side: int | None
    ) -> "tuple[Answer, Pixels | None]":
        most = min(self.limits.image_bytes, most_bytes(answerer.card.max_megapixels))
        content = read_sent(image, path, self.folder, most)
        with self._turn:
            answer, shown = next(iter(answerer.look([content], question, 1, side)))
        if answer.error is not None:
            raise PictureError(f"The picture cannot be used: {answer.error}. Send another one.")
        return answer, shown


def _describe(answerer: "Answerer", answer: Answer) -> dict[str, Any]:
    """What each head says, the levels of the tree, and all of it in a line to read."""
    display, card = load_display(answerer.card.task), answerer.card
    found = json.loads(say_json(answer, display))
    line = display.line(answer, answerer.levels[-1] if answerer.levels else card.main_head)
    return {"in_words": line, "heads": found["heads"], "levels": found["levels"]}
