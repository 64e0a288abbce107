"""params.yaml as it was when there was one size of images and one backbone: its own lines in today's form."""

from collections.abc import Mapping
from typing import Any

from meltpoint.params.yaml12 import dump

SECTIONS = ("images", "augment", "backbone", "tree")  # that are elsewhere today


def show_new_form(raw: Mapping[str, Any]) -> str | None:
    """What to put in place of old sections, made of their own values, as a message after the file's name; None: none.

    Old are sections that became rows of others.
    """
    there = [name for name in SECTIONS if name in raw]
    if not there:
        return None
    are = "are no sections" if len(there) > 1 else "is no section"
    lines = "\n".join(f"  {line}" for line in dump(_in_rows(raw), width=110).splitlines())
    return (
        f"is of an older form: {', '.join(there)} {are} any more. Sizes of images and encoders are named rows now, so"
        " that several can be compared. Put these lines, which say the same, in place of those sections and of"
        f" `strategies`:\n\n{lines}\n\nAll other lines stay. Of them and of these, what says null, none, 1 or {{}}"
        " may go: what is absent is off. presets/ show how short it gets."
    )


def _in_rows(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that change, in today's form."""
    images, augment, backbone, task = (_mapping(raw.get(name)) for name in ("images", "augment", "backbone", "task"))
    view, encoder = f"s{images.get('side', '')}", str(backbone.get("name", "encoder")).split("/")[-1].split(".")[0]
    copies = {"copies": augment["views"]} if augment.get("views") else {}
    transforms = {"transforms": augment["transforms"]} if augment.get("transforms") else {}
    rows = {name: {"encoder": encoder, **_mapping(row)} for name, row in _mapping(raw.get("strategies")).items()}
    return {
        "views": {view: {**images, **copies, **transforms}},
        **({"task": {**task, "tree": raw["tree"]}} if raw.get("tree") else {}),
        "encoders": {encoder: {"views": view, **backbone}},
        "strategies": rows,
    }


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
