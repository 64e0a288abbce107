"""params.yaml as text: every key, a comment on each choice; checked by its reader before it is put in place."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meltpoint.files import whole_file
from meltpoint.init.found import Table
from meltpoint.params.read import Params, read_params
from meltpoint.params.yaml12 import dump
from meltpoint.terminal import plain

WIDTH = 120
BARRED = str.maketrans({"\ufffe": r"\ufffe", "\uffff": r"\uffff"})  # of no use in Unicode, and not allowed in YAML
Comments = Mapping[str, str]  # by dotted key


def render(raw: Mapping[str, Any], title: list[str], comments: Comments) -> str:
    """The text of params.yaml: sections in their order, a comment above each key that has one."""
    lines = [f"# {_harmless(line)}".rstrip() for line in title]
    for key, value in raw.items():
        block = _render(str(key), value, str(key), comments)
        spaced = len(block) > 1 or key in ("seed", "data", "encoders", "embed", "evaluate")
        lines += ["", *block] if spaced and lines else block
    return "\n".join(lines) + "\n"


def _render(key: str, value: Any, path: str, comments: Comments) -> list[str]:
    """A key and its value: in one line where that is short and no key within has a comment."""
    comment = _harmless(comments.get(path, ""))
    lines = textwrap.wrap(comment, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    above = [f"# {line}" for line in lines]
    flow = f"{_flow(key)}: {_flow(value)}"
    inside = any(other.startswith(f"{path}.") for other in comments)
    if not isinstance(value, Mapping | list) or not value or (len(flow) <= WIDTH - 12 and not inside):
        return [*above, flow]
    if isinstance(value, list):
        return [*above, f"{_flow(key)}:", *(f"  - {_flow(item)}" for item in value)]
    within = [line for name, one in value.items() for line in _render(str(name), one, f"{path}.{name}", comments)]
    return [*above, f"{_flow(key)}:", *(f"  {line}" for line in within)]


def _flow(value: Any) -> str:
    """A value in one line of YAML; all but ASCII as escapes where something in it would act on a terminal."""
    lines = (dump(value, default_flow_style=True, width=10**9, allow_unicode=unicode) for unicode in (True, False))
    text, escaped = (line.removesuffix("\n").removesuffix("\n...").strip() for line in lines)
    return text if plain(text) == text else escaped


def _harmless(text: str) -> str:
    """Text for a comment: in one line, and without what controls a terminal or YAML does not allow."""
    return plain(text).translate(BARRED)


def put(text: str, place: Path, table: Table | None) -> Path | None:
    """Write the table, then `place`, whole and only if the pipeline reads it; where what was there is kept, or None.

    Raises:
        ParamsError: what was written is no params.yaml, which is a bug of ours.
    """
    if table is not None:
        _keep(table.path)
        with whole_file(table.path) as temporary:
            table.rows.to_csv(temporary, index=False, lineterminator="\n")
    with whole_file(place) as temporary:
        temporary.write_text(text, encoding="utf-8")
        read_params(temporary)
        return _keep(place)


def check(text: str, params: Params, work: Path) -> None:
    """See that the text says what was chosen."""
    with whole_file(work / "check.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")
        assert read_params(temporary) == params, "the text of params.yaml says something else than what was chosen"


def _keep(place: Path) -> Path | None:
    """Copy what is there to the next free name; it is never lost."""
    if not place.exists():
        return None
    names = [f"{place.name}.bak", *(f"{place.name}.bak{number}" for number in range(2, 10_000))]
    kept = next(path for path in map(place.with_name, names) if not path.exists())
    with whole_file(kept) as temporary:
        temporary.write_bytes(place.read_bytes())
    return kept
