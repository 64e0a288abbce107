"""What a browser sends, as files: one decoder reads pictures, ours, and nothing of Gradio's looks into them before.

A function takes the place of a component's own, and not a subclass: of these Gradio writes a stub beside the module.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ImageData, ListFiles


def make_photo(**looks: Any) -> gr.Image:
    """A picture from a file, the clipboard or a camera; functions are given the path of it, None: there is none."""
    photo = gr.Image(**looks)
    photo.preprocess = _place  # type: ignore[method-assign, assignment]
    return photo


def make_files(**looks: Any) -> gr.File:
    """Files, or those of a folder; functions are given the name of each, as the user knows it, and its path."""
    files = gr.File(**looks)
    files.preprocess = _places  # type: ignore[method-assign, assignment]
    return files


def _place(payload: ImageData | None) -> Path | None:
    return Path(payload.path) if payload is not None and payload.path else None


def _places(payload: ListFiles | FileData | None) -> list[tuple[str, Path]]:
    files: Any = [] if payload is None else payload.root if isinstance(payload, ListFiles) else [payload]
    return [(file.orig_name or Path(file.path).name, Path(file.path)) for file in files]
