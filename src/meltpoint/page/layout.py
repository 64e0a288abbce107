"""The page itself: what is on it, and what happens when something is chosen."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from meltpoint.errors import UserError
from meltpoint.page.answer_html import say_hint, say_problem
from meltpoint.page.answers import ask, ask_words, choices, compare, languages, look_where
from meltpoint.page.folder import MOST, answer_folder
from meltpoint.page.shelf import Shelf
from meltpoint.page.uploads import make_files, make_photo
from meltpoint.predict.drawer import write_drawing
from meltpoint.predict.word_list import Word, check_words, read_word
from meltpoint.terminal import plain

NO_PICTURE = "Choose a picture, drop one here, paste one, or take one with the camera."
SPOKEN = {"en": "English", "zh": "中文"}
PROMPTS = [("nothing", ""), ("7 short sentences", "short"), ("OpenAI's 80 sentences", "openai")]
KEPT = 3600  # seconds: what was sent, and what was made of it
QUEUED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # one answer after the other

Work = Callable[..., Sequence[object]]
Room = Callable[[], Path]  # gives a new folder of a name that nobody can guess


class Page:
    """The parts that every panel reads: the model, the language of names, the picture, which panel is seen."""

    def __init__(self, shelf: Shelf, room: Room) -> None:
        self.shelf, self.room = shelf, room

    def build(self) -> gr.Blocks:
        """The page, ready to be served."""
        shelf, first = self.shelf, self.shelf.names[0]
        page: gr.Blocks
        with gr.Blocks(title="Meltpoint", analytics_enabled=False, delete_cache=(KEPT // 4, KEPT)) as page:
            gr.HTML("<h1>Meltpoint</h1>", elem_id="title")
            with gr.Row(elem_id="choose"):
                self.model = gr.Dropdown(
                    shelf.names, value=first, label="Model", elem_id="model", filterable=False, min_width=300
                )
                spoken = self._spoken(first)
                self.language = gr.Radio(
                    spoken, value="", label="Names", elem_id="language", visible=len(spoken) > 1, min_width=240
                )
            about = gr.HTML(describe(shelf, first), elem_id="about")
            with gr.Tabs():
                with gr.Tab("One picture"):
                    self._build_picture()
                with gr.Tab("Many pictures"):
                    self._build_folder()
            self.model.change(self._change_model, [self.model, self.language], [self.language, about], **QUEUED)
        return page

    def _spoken(self, name: str) -> list[tuple[str, str]]:
        return [("labels", ""), *((SPOKEN.get(own, own), own) for own in languages(self.shelf.open(name)))]

    def _change_model(self, name: str, language: str) -> tuple[object, str]:
        try:
            spoken = self._spoken(name)
        except UserError as error:
            return gr.Radio([("labels", "")], value="", visible=False), say_problem(str(error))
        kept = language if language in {own for _, own in spoken} else ""
        return gr.Radio(spoken, value=kept, visible=len(spoken) > 1), describe(self.shelf, name)

    def _build_picture(self) -> None:
        """One picture on the left, and on the right what is said of it, a tab for each kind."""
        self.active = gr.State("Answer")
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self.picture = make_photo(
                    label="Picture",
                    sources=["upload", "clipboard", "webcam"],
                    height="min(420px, 75vw)",
                    elem_id="picture",
                    buttons=["fullscreen"],
                )
            with gr.Column(scale=6, min_width=320), gr.Tabs(elem_id="panels", overflow_behavior="wrap"):
                self._build_answer()
                self._build_words()
                self._build_beside()
                self._build_looked()

    def _build_answer(self) -> None:
        with gr.Tab("Answer") as tab:
            outputs = [
                *_result("answer", say_hint(NO_PICTURE)),
                gr.DownloadButton("Save it drawn", visible=False, size="sm", elem_id="save"),
            ]
        self._wire(tab, self._answer, [self.language], outputs)

    def _answer(self, picture: Path, name: str, language: str) -> Sequence[object]:
        said = ask(self.shelf.open(name), picture, language or None)
        if said.drawing is None:
            return None, said.html, None
        path = self.room() / "answer.jpg"
        write_drawing(said.drawing, path)
        return said.seen, said.html, str(path)

    def _build_words(self) -> None:
        with gr.Tab("Words") as tab:
            words = gr.Textbox(
                label="Words or descriptions",
                lines=4,
                max_lines=12,
                max_length=20_000,
                elem_id="words",
                placeholder="a dog|狗\na red car|红色的汽车\na temple with a curved roof|有曲面屋顶的寺庙",
                info="One a line, or with commas in a single line; after | the Chinese name.",
            )
            with gr.Row():
                kind = gr.Radio(
                    [("one of them", False), ("each by itself", True)],
                    value=False,
                    label="The picture is",
                    elem_id="kind",
                )
                spoken = gr.Radio([("as typed", ""), ("中文", "zh")], value="", label="Names", elem_id="spoken")
            threshold = gr.Slider(
                0.0, 1.0, value=0.5, step=0.01, label="A tag is given above", elem_id="threshold", visible=False
            )
            prompts = gr.Dropdown(PROMPTS, value="", label="Words are put into", elem_id="prompts", filterable=False)
            outputs = [gr.HTML(elem_id="words-said")]
        kind.change(lambda each: gr.Slider(visible=each), kind, threshold, queue=False)
        self._wire(tab, self._words, [words, kind, threshold, prompts, spoken], outputs)

    def _words(
        self, picture: Path, name: str, typed: str, tags: bool, threshold: float, prompts: str, language: str
    ) -> Sequence[object]:
        lines = typed if "\n" in typed.strip() else re.sub("[,，]", "\n", typed)
        if not lines.strip():  # whether it knows words at all is known now, and its text side is open for the first
            self.shelf.open_words(name, (Word("a"), Word("b")), False, None)
            return (say_hint("Write what may be on the picture: words, or sentences that say how it looks."),)
        given = enumerate(lines.splitlines(), start=1)
        words = check_words(read_word(f"Line {number}", line) for number, line in given if line.strip())
        if len(words) < 2 and not tags:
            return (say_hint("Write one more: of a single word it would always be that one."),)
        model = self.shelf.open_words(name, words, tags, prompts or None)
        return (ask_words(model, picture, words, threshold, language or None),)

    def _build_beside(self) -> None:
        names = self.shelf.names
        with gr.Tab("Compare") as tab:
            other = gr.Dropdown(names, value=names[1 % len(names)], label="The other model", elem_id="other")
            agree = gr.HTML(elem_id="agree")
            results = [agree]
            with gr.Row():
                for side in ("left", "right"):
                    with gr.Column(min_width=240):
                        results += [gr.HTML(elem_id=f"{side}-name"), *_result(side)]
        self._wire(tab, self._beside, [self.language, other], results)

    def _beside(self, picture: Path, name: str, language: str, other: str) -> Sequence[object]:
        first, second = (ask(self.shelf.open(own), picture, language or None) for own in (name, other))
        parts: list[object] = [compare(first.answer, second.answer)]
        for own, said in ((name, first), (other, second)):
            parts += [f"<h3>{escape(plain(own))}</h3>", said.seen, said.html]
        return parts

    def _build_looked(self) -> None:
        first = self.shelf.open(self.shelf.names[0])
        with gr.Tab("Where it looked") as tab:
            wanted = gr.Dropdown(choices(first), value="", label="What speaks for", elem_id="wanted")
            outputs = _result("looked")
        self.model.change(self._change_wanted, self.model, wanted, **QUEUED)
        self._wire(tab, self._looked, [wanted], outputs)

    def _change_wanted(self, name: str) -> object:
        try:
            return gr.Dropdown(choices(self.shelf.open(name)), value="")
        except UserError:
            return gr.Dropdown([("its answer", "")], value="")

    def _looked(self, picture: Path, name: str, wanted: str) -> Sequence[object]:
        return look_where(self.shelf.open(name), picture, wanted)

    def _wire(self, tab: gr.Tab, work: Work, controls: list[Any], outputs: list[Any]) -> None:
        """Let a panel answer when it comes into sight, and while it is seen whenever something changes."""
        title = str(tab.label)
        run = partial(_told, work, title, [type(output) for output in outputs])
        inputs = [self.active, self.picture, self.model, *controls]
        changes = [part.change for part in (self.picture, self.model, *controls)]
        shown = {"show_progress": "minimal", "trigger_mode": "always_last", **QUEUED}
        gr.on(changes, run, inputs, outputs, **shown)
        tab.select(lambda: title, None, self.active, queue=False).then(run, inputs, outputs, **shown)

    def _build_folder(self) -> None:
        """Files or a folder, a gallery of drawings, a table to download."""
        with gr.Row():
            files = make_files(
                label=f"Up to {MOST} pictures", file_count="multiple", file_types=["image"], height=150, elem_id="files"
            )
            folder = make_files(label="or a folder", file_count="directory", height=150, elem_id="folder")
        summary = gr.HTML(say_hint("Choose pictures, or a folder of them."), elem_id="summary")
        table = gr.DownloadButton("Save the table (CSV)", visible=False, elem_id="table")
        gallery = gr.Gallery(
            label="Answers",
            show_label=False,
            columns=3,
            object_fit="contain",
            height="auto",
            visible=False,
            elem_id="gallery",
            buttons=["fullscreen"],
        )
        for chosen in (files, folder):
            chosen.upload(self._folder, [chosen, self.model, self.language], [summary, table, gallery], **QUEUED)

    def _folder(
        self,
        pictures: list[tuple[str, Path]],
        name: str,
        language: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Sequence[object]:
        hidden = gr.DownloadButton(visible=False), gr.Gallery(visible=False)
        try:
            album = answer_folder(
                self.shelf.open(name), pictures, language or None, self.room(), lambda done, of: progress((done, of))
            )
        except UserError as error:
            return say_problem(str(error)), *hidden
        said = f"{album.answered:,} {'picture' if album.answered == 1 else 'pictures'} answered."
        html = say_hint(said)
        if album.reasons:
            why = ", ".join(f"{count:,} {reason}" for reason, count in album.reasons.most_common())
            html += say_problem(f"{album.reasons.total():,} cannot be used: {why}.")
        return html, gr.DownloadButton(value=str(album.table), visible=True), gr.Gallery(album.drawings, visible=True)


def describe(shelf: Shelf, name: str) -> str:
    """What a model is, in a line."""
    card = shelf.open(name).card
    heads = ", ".join(f"{head} ({len(own.classes):,} classes)" for head, own in card.heads.items())
    text = f"{card.strategy}: {card.backbone.name} at {card.images.side} px. It answers {heads}."
    return f"<p>{escape(plain(text))}</p>"


def _result(name: str, text: str = "") -> list[Any]:
    """Where a drawing and words appear; `text` stands there at first."""
    drawing = gr.Image(
        visible=False, show_label=False, interactive=False, elem_id=f"{name}-drawn", buttons=["download", "fullscreen"]
    )
    return [drawing, gr.HTML(text, elem_id=f"{name}-said")]


def _told(
    work: Work, title: str, kinds: list[type[Any]], active: str, picture: Path | None, *rest: object
) -> list[object]:
    """Work if its panel is seen; without a picture, or where it cannot be done, a sentence stands in its place."""
    if active != title:
        return [gr.skip() for _ in kinds]
    try:
        found = list(work(picture, *rest)) if picture is not None else _instead(kinds, say_hint(NO_PICTURE))
    except UserError as error:
        found = _instead(kinds, say_problem(str(error)))
    return [
        value if kind is gr.HTML else kind(value=value, visible=value is not None)
        for kind, value in zip(kinds, found, strict=True)
    ]


def _instead(kinds: list[type[Any]], text: str) -> list[object]:
    """Nothing anywhere but for a text in the first place that takes one."""
    first = kinds.index(gr.HTML)
    return [("" if number != first else text) if kind is gr.HTML else None for number, kind in enumerate(kinds)]
