"""Reads params.yaml whole and checks it at once: all errors are reported together, each with the nearest known name."""

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from meltpoint.errors import UserError
from meltpoint.params.base import Count, Name, Section
from meltpoint.params.checks import (
    check_encoders,
    check_heads,
    check_keys,
    check_kinds,
    check_labels,
    check_own_heads,
    check_rows,
    check_switches,
    check_taps,
    check_task,
    check_tree,
)
from meltpoint.params.data import Data, Split, ViewRow
from meltpoint.params.exports import Exports
from meltpoint.params.heads import Head, main_of
from meltpoint.params.judging import Compare, Evaluate, GateRules, Register
from meltpoint.params.model import Encoder, Reading, Task
from meltpoint.params.old import show_new_form
from meltpoint.params.recipe import Recipe, retap
from meltpoint.params.strategies import Strategy
from meltpoint.params.training import Embed, Train
from meltpoint.params.word_checks import check_libraries, check_queries, check_words
from meltpoint.params.yaml12 import load, written_at

IDLE = {"workers", "checkpoint_steps"}  # parameters of training that change no result
REFERRED = {"encoder": "encoders", "views": "views"}  # the key of a row that names a row of a section


class ParamsError(UserError, ValueError):
    """params.yaml cannot be used; the message lists every reason."""


class Params(Section):
    """params.yaml, whole."""

    seed: Count
    data: Data
    split: Split
    views: Annotated[dict[Name, ViewRow], Field(min_length=1)]
    task: Task
    encoders: Annotated[dict[Name, Encoder], Field(min_length=1)]
    heads: Annotated[dict[Name, Head], Field(min_length=1)]
    embed: Embed
    train: Train
    strategies: Annotated[dict[Name, Strategy], Field(min_length=1)]
    evaluate: Evaluate
    compare: Compare
    export: Exports = Exports()
    register_: Annotated[Register, Field(alias="register")]

    @model_validator(mode="after")
    def _fits_together(self) -> "Params":
        labels, metric = self.data.labels, self.compare.metric
        errors = [
            # The size of a crop may be overlooked: it is the side of its views, or refused.
            *check_keys(self.model_dump(exclude={"views": {"__all__": {"transforms"}}}), ""),
            *check_rows(self.views, self.encoders, self.strategies),
            *check_encoders(self.encoders),
            *check_switches({name: row.transforms for name, row in self.views.items()}, "views"),
            *check_labels(self.data),
            *check_heads(self.heads, labels, metric),
            *check_taps(self.strategies, self.heads),
            *check_own_heads(self.strategies, self.heads, self.task.tree),
            *check_kinds(self.strategies, self.heads, self.task),
            *check_tree(self.task.tree, self.heads),
            *check_task(self.task, self.heads, self.data, metric, self.views),
            *check_libraries(self.encoders),
            *check_queries(self.heads, self.encoders),
            *check_words(self.strategies, self.encoders, self.heads, self.data),
        ]
        if errors:
            raise ValueError("\n".join(errors))
        return self

    @property
    def main_head(self) -> str:
        """The name of the head whose metric selects checkpoints and decides."""
        return main_of(self.heads)

    @property
    def effective(self) -> dict[str, Any]:
        """What can change a result, as JSON can hold it."""
        return self.model_dump(mode="json", by_alias=True, exclude={"register_": True, "train": IDLE})

    @property
    def gate(self) -> GateRules:
        """What decides whether a model may be champion."""
        return GateRules(self.main_head, self.compare, self.register_, self.views, self.evaluate.batch)

    @property
    def exports(self) -> list[str]:
        """The formats that are asked for."""
        return list(self.export.asked)

    def recipe(self, name: str) -> Recipe:
        """What the training of the strategy `name` depends on."""
        if name not in self.strategies:
            raise ParamsError(f"There is no strategy {name!r}. params.yaml has {', '.join(self.strategies)}. Name one.")
        strategy = self.strategies[name]
        encoder = self.encoders[strategy.encoder]
        taps = strategy.taps
        return Recipe(
            strategy=name,
            settings=strategy,
            seed=self.seed,
            task=self.task,
            heads={
                key: strategy.fit_head(retap(head, taps[key]) if key in taps else head)
                for key, head in self.heads.items()
                if strategy.heads is None or key in strategy.heads
            },
            metric=self.compare.metric,
            max_megapixels=self.data.max_megapixels,
            views=self.views[encoder.views],
            encoder=encoder,
            machine=self.train,
        )

    def readings(self, encoder: str) -> set[Reading]:
        """What all heads of all strategies are given of an encoder."""
        own = [name for name, strategy in self.strategies.items() if strategy.encoder == encoder]
        return {reading for name in own for reading in self.recipe(name).readings}

    @property
    def taps(self) -> dict[str, list[Any]]:
        """The same of each encoder, as JSON can hold it, in an order that depends on nothing else."""
        dump = TypeAdapter(list[Reading]).dump_python
        return {name: sorted(dump(list(self.readings(name)), mode="json"), key=str) for name in self.encoders}

    @property
    def queries(self) -> list[str]:
        """The files that vectors of queries come from."""
        queries = (getattr(head, "queries", None) for head in self.heads.values())
        return sorted({file for own in queries if own for file in own.files})


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing, is no YAML, or breaks the schema; all errors are listed.
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
    """Check an already read mapping; `source` is how messages call it, `text` what it was read from, if known.

    Raises:
        ParamsError: it breaks the schema, or is of the form before views, encoders and strategies were named rows.
    """
    if new_form := show_new_form(raw):
        raise ParamsError(f"{source} {new_form}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        errors = [line for found in error.errors() for line in _explain(found, text, raw).split("\n")]
        listed = "\n".join(f"  - {line}" for line in errors)
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise ParamsError(f"{source} has {count}:\n{listed}") from None


def _explain(error: Any, text: str, raw: dict[str, Any]) -> str:
    """One error of pydantic in a line: where, what, and for an unknown key the nearest known one.

    Errors between sections come together, in a line each.
    """
    where = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key.{_hint_at_key(str(error['loc'][-1]), error['loc'][:-1])}"
        case "missing":
            rows = raw.get(REFERRED.get(str(error["loc"][-1]), ""))
            hint = f"Name a row: {list(rows)}" if isinstance(rows, dict) else "presets/ show every key"
            return f"{where}: missing. {hint}"
        case "value_error":
            return f"{where}: {error['ctx']['error']}" if where else str(error["ctx"]["error"])
        case "string_type" if not isinstance(error["input"], dict | list):
            return f"{where}: this is text, and {_explain_text(error['input'], written_at(text, error['loc']))}"
        case _:
            return f"{where}: {error['msg']}, and got {reprlib.repr(error['input'])}"


def _hint_at_key(key: str, where: Sequence[str | int]) -> str:
    """What may be meant by a key that the section at `where` does not have: of its own keys, or of the rows beside."""
    above = _sections_at(Params, where[:-1]) if where else []
    having = [f"kind {kind}" for section in above if key in _fields(section) for kind in _kinds(section)]
    if not any(where[-1] in _kinds(section) for section in above):  # not of one kind among others, but of one key
        having = [
            ".".join(map(str, (*where[:-1], name)))
            for section in above
            for name, field in _fields(section).items()
            if any(key in _fields(beside) for beside in _sections_at(field.annotation, ()))
        ]
    if having:
        return f" It is a key of {', '.join(having)}."
    known = sorted({name for section in _sections_at(Params, where) for name in _fields(section)})
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.5):
        return f" Did you mean {near[0]!r}?"
    return f" Known are {', '.join(known)}." if known else ""


def _sections_at(schema: Any, where: Sequence[str | int]) -> list[type[Section]]:
    """The sections that may stand at a place below a type, as pydantic names it: with the kind of a row in between."""
    match get_origin(schema):
        case None if isinstance(schema, type) and issubclass(schema, Section):
            rest = where[1:] if where and where[0] in (*_kinds(schema), schema.__name__) else where
            field = _fields(schema).get(str(rest[0])) if rest else None
            return [schema] if not rest else _sections_at(field.annotation, rest[1:]) if field else []
        case origin if origin in (dict, list, tuple):
            return [one for own in get_args(schema) for one in _sections_at(own, where[1:])] if where else []
        case _:
            return [one for own in get_args(schema) for one in _sections_at(own, where)]


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _kinds(section: type[Section]) -> tuple[str, ...]:
    return get_args(section.model_fields["kind"].annotation) if "kind" in section.model_fields else ()


def _explain_text(value: Any, written: str | None) -> str:
    """What YAML made of text without quotes, and how to write it: as it is in the file, for `007` is not `7`."""
    kinds = ((bool, "true or false"), (int | float, "a number"), (type(None), "nothing"), (object, "a date"))
    kind = next(name for known, name in kinds if isinstance(value, known))
    match written:
        case None:
            return f"YAML reads it as {kind}; quote it as you wrote it, in '...'"
        case "":
            return "nothing is written there; write it"
        case _:
            return f"YAML reads {written} as {kind}; quote it: '{written}'"
