"""Reads params.yaml whole and checks it at once: all slips are reported together, each with the nearest known name."""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from meltpoint.errors import UserError
from meltpoint.params.base import Count, Name, Section
from meltpoint.params.checks import (
    check_arguments,
    check_heads,
    check_keys,
    check_labels,
    check_switches,
    check_task,
    check_tree,
)
from meltpoint.params.data import Augment, Data, Images, Split
from meltpoint.params.judging import Compare, Evaluate, Register
from meltpoint.params.model import Backbone, Head, Task, Tree
from meltpoint.params.training import Embed, Strategy, Train
from meltpoint.params.yaml12 import load, written_at


class ParamsError(UserError, ValueError):
    """params.yaml cannot be used; the message lists every reason."""


class Params(Section):
    """params.yaml, whole."""

    seed: Count
    data: Data
    split: Split
    images: Images
    augment: Augment
    task: Task
    backbone: Backbone
    heads: Annotated[dict[Name, Head], Field(min_length=1)]
    tree: Tree | None
    embed: Embed
    train: Train
    strategies: Annotated[dict[Name, Strategy], Field(min_length=1)]
    evaluate: Evaluate
    compare: Compare
    register_: Annotated[Register, Field(alias="register")]

    @model_validator(mode="after")
    def _fits_together(self) -> "Params":
        labels, metric = self.data.labels, self.compare.metric
        slips = [
            *check_keys(self.model_dump(exclude={"augment"}), ""),  # a crop is as large as images.side
            *check_arguments(self.backbone.args),
            *check_switches(self.backbone.args, "backbone.args"),
            *check_switches(dict(enumerate(self.augment.transforms)), "augment.transforms"),
            *check_labels(self.data),
            *check_heads(self.heads, labels, metric),
            *check_tree(self.tree, self.heads),
            *check_task(self.task, self.heads, self.data, metric, self.tree),
        ]
        if slips:
            raise ValueError("\n".join(slips))
        return self

    @property
    def main_head(self) -> str:
        """The name of the head whose metric selects checkpoints and decides."""
        return next(name for name, head in self.heads.items() if head.main)


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing, is no YAML, or breaks the schema; all slips are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = load(text)
    except FileNotFoundError:
        raise ParamsError(f"There is no {path}. Put a preset in place: make preset NAME=elpv") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from None
    except RecursionError:
        raise ParamsError(f"{path} is nested too deeply; its values lie a few levels deep. Correct it.") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} holds no mapping of sections. Put a preset in place: make preset NAME=elpv")
    return parse_params(raw, str(path), text)


def parse_params(raw: dict[str, Any], source: str, text: str = "") -> Params:
    """Check an already read mapping; `source` is how messages call it, `text` what it was read from, if known."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        slips = [line for slip in error.errors() for line in _explain(slip, text).splitlines()]
        listed = "\n".join(f"  - {slip}" for slip in slips)
        raise ParamsError(f"{source} has {len(slips)} slip(s):\n{listed}") from None


def _explain(slip: Any, text: str) -> str:
    """One slip of pydantic in a line: where, what, and for an unknown key the nearest known one.

    Slips between sections come together, in a line each.
    """
    where = ".".join(str(part) for part in slip["loc"])
    match slip["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key.{_nearest(str(slip['loc'][-1]))}"
        case "missing":
            return f"{where}: missing. params.yaml is complete on purpose; presets/ show every key"
        case "value_error":
            return f"{where}: {slip['ctx']['error']}" if where else str(slip["ctx"]["error"])
        case "string_type" if not isinstance(slip["input"], dict | list):
            return f"{where}: this is text, and {_say_read(slip['input'], written_at(text, slip['loc']))}"
        case _:
            return f"{where}: {slip['msg']}, and got {reprlib.repr(slip['input'])}"


def _say_read(value: Any, written: str | None) -> str:
    """What YAML made of text without quotes, and how to write it: as it stands there, for `007` is not `7`."""
    match written:
        case None:
            return f"YAML reads it as {_kind(value)}; quote it as you wrote it, in '...'"
        case "":
            return "nothing stands there; write it"
        case _:
            return f"YAML reads {written} as {_kind(value)}; quote it: '{written}'"


def _kind(value: Any) -> str:
    """What YAML made of something that was meant as text."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case None:
            return "nothing"
        case _:
            return "a date"


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, sorted(_known_keys()), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _known_keys() -> set[str]:
    sections: list[type[Section]] = Section.__subclasses__()
    return {field.alias or name for section in sections for name, field in section.model_fields.items()}
