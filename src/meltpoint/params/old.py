"""params.yaml as it was when there was one size of images and one backbone: its own lines in today's form."""

from collections.abc import Mapping
from typing import Any

from meltpoint.params.yaml12 import dump

SECTIONS = ("images", "augment", "backbone", "tree")  # that are elsewhere today


def is_old(raw: Mapping[str, Any]) -> bool:
    """Whether params.yaml has a section that became rows of others."""
    return any(name in raw for name in SECTIONS)


def show_new_form(raw: Mapping[str, Any]) -> str:
    """What to put in place of the old sections, made of their own values; it follows the name of the file."""
    there = [name for name in SECTIONS if name in raw]
    images, augment, backbone = (_mapping(raw.get(name)) for name in SECTIONS[:3])
    view, encoder = f"s{images.get('side', 224)}", str(backbone.get("name", "encoder")).split(".")[0].split("/")[-1]
    new: dict[str, Any] = {}
    if images or augment:
        copies = {"copies": augment["views"]} if augment.get("views") else {}
        transforms = {"transforms": augment["transforms"]} if augment.get("transforms") else {}
        new["views"] = {view: {**images, **copies, **transforms}}
    if raw.get("tree") is not None:
        new["task"] = {**_mapping(raw.get("task")), "tree": raw["tree"]}
    if backbone:
        on = {key: value for key, value in backbone.items() if value not in ({}, None)}
        new["encoders"] = {encoder: {"views": view, **on}}
    lines = "\n".join(f"  {line}" for line in dump(new, width=110).splitlines())
    strategies = ", ".join(_mapping(raw.get("strategies")))
    return (
        f"is of an older form: {', '.join(there)} {'is' if len(there) == 1 else 'are'} no section any more. Sizes of"
        " images and encoders are rows now, so that several can be compared. Replace"
        f" {'it' if len(there) == 1 else 'them'} by these lines, which say the same:\n\n{lines}\n\n"
        f"and add `encoder: {encoder}` to each strategy ({strategies or 'there is none'}). All other lines stay as they"
        " are; those that say null, none, 1 or {} may go (presets/ show how short it gets)."
    )


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
