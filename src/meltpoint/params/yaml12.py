"""Text to values and back as YAML 1.2 has it, which is how DVC reads params.yaml: two readers of one file must agree.

PyYAML alone reads YAML 1.1, where `1e-1` is text, `no` is false, `017` is fifteen and `1:30` is ninety. The patterns
are those of ruamel.yaml, by which DVC reads; a test holds the two readings against each other.
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml

BOOL, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float"))
PLAIN = {  # what a scalar without quotes is: its pattern, and the letters that it may begin with
    BOOL: (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    FLOAT: (
        re.compile(
            r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
            |[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?
            |[-+]?\.(?:inf|Inf|INF)
            |\.(?:nan|NaN|NAN))$""",
            re.VERBOSE,
        ),
        "-+0123456789.",
    ),
    INT: (re.compile(r"^(?:[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9][0-9_]*|[-+]?0x[0-9a-fA-F_]+)$"), "-+0123456789"),
}
BASES = {"0b": 2, "0o": 8, "0x": 16}


def _resolvers(kept: dict[str, list[tuple[str, Any]]]) -> dict[str, list[tuple[str, Any]]]:
    """PyYAML's table, first letter to (tag, pattern), with the patterns of 1.2 before what is kept of 1.1."""
    table = {first: list(rules) for first, rules in kept.items()}
    for tag, (pattern, letters) in reversed(PLAIN.items()):
        for first in letters:
            table.setdefault(first, []).insert(0, (tag, pattern))
    return table


OF_1_1 = yaml.SafeLoader.yaml_implicit_resolvers
RESOLVERS = _resolvers({first: [rule for rule in OF_1_1[first] if rule[0] not in PLAIN] for first in OF_1_1})


def _read_int(loader: Any, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    try:
        return sign * int(digits, BASES.get(digits[:2], 10))
    except ValueError:  # `0x_`
        raise yaml.constructor.ConstructorError(None, None, f"{node.value!r} is no number", node.start_mark) from None


class Loader(yaml.SafeLoader):
    """YAML 1.2 without tags of Python and without keys that occur twice: PyYAML would keep the last one silently."""

    yaml_implicit_resolvers = RESOLVERS

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; keys that come through `<<` may occur again."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            message = f"{twice[0]!r} is there twice; give it once"
            raise yaml.constructor.ConstructorError(
                "while reading a mapping", node.start_mark, message, node.start_mark
            )
        return super().construct_mapping(node, deep)


class QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml, where it is built
    """The same ten times as quick; of keys that occur twice it keeps the last: for files that programs wrote."""

    yaml_implicit_resolvers = RESOLVERS


for _loader in (Loader, QuickLoader):
    _loader.add_constructor(INT, _read_int)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either version of YAML would not read as text."""

    yaml_implicit_resolvers = _resolvers(OF_1_1)


def load(text: str, loader: type[Loader | QuickLoader] = Loader) -> Any:
    """The value that a YAML text stands for.

    Raises:
        yaml.YAMLError: it is none, or one key occurs twice.
    """
    return yaml.load(text, loader)  # noqa: S506 - both are safe


def written_at(text: str, path: Sequence[str | int]) -> str | None:
    """How the scalar at `path` is written in a YAML text, as `007`; None if none is found there.

    Parts of the path that the text does not have are ignored: a schema adds some, as names of kinds. `[key]` at the end
    means the key itself.
    """
    node, key = yaml.compose(text, Loader), None
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node, key = node.value[part], None
        elif isinstance(node, yaml.MappingNode):
            scalars = (pair for pair in node.value if isinstance(pair[0], yaml.ScalarNode))
            pairs = (pair for pair in scalars if str(load(yaml.serialize(pair[0]))) == str(part))
            key, node = next(pairs, (key, node))
    found = key if path and path[-1] == "[key]" else node
    return found.value if isinstance(found, yaml.ScalarNode) else None


def dump(value: Any, **options: Any) -> str:
    """A value as YAML in its own order, any letters as they are; read by either version it is the same."""
    return str(yaml.dump(value, Dumper=_Dumper, **{"sort_keys": False, "allow_unicode": True, **options}))
