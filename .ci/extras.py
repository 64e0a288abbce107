"""Repeat each pin with extras in a lock without them, and with each alone: `python .ci/extras.py requirements.lock`.

pip before 23.3 or so takes `fsspec`, `fsspec[http]` and `fsspec[http,tqdm]` for three things: a pin of one of them says
nothing of the others, and as soon as a newer fsspec is out, it refuses the lock because "all requirements must have
their versions pinned with ==". uv writes a single line with all the extras that anybody asks for.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

PIN = re.compile(r"^([\w.-]+)\[([\w, .-]+)\](?===)")  # name, extras


def spelt_out(text: str) -> str:
    """A lock as uv writes it, with a pin for every way in which a package can be asked for.

    Only pairs, triples and so on of a package with more extras stay out; `make locks` tells if one of them is needed.
    """
    return "".join(variant for block in _blocks(text) for variant in _variants(block))


def _blocks(text: str) -> Iterator[str]:
    """Each pin with the hashes and comments below it."""
    return (match[0] for match in re.finditer(r"^\S.*\n(?:[ \t].*\n)*", text, flags=re.M))


def _variants(block: str) -> Iterator[str]:
    if (found := PIN.match(block)) is None:
        yield block
        return
    name, extras = found[1], found[2].split(", ")
    pin = re.sub(r"^ +#.*\n", "", block, flags=re.M)
    for words in ("", *(f"[{extra}]" for extra in extras if len(extras) > 1)):
        yield PIN.sub(f"{name}{words}", pin)
    yield block


if __name__ == "__main__":
    for lock in map(Path, sys.argv[1:]):
        lock.write_text(spelt_out(lock.read_text(encoding="utf-8")), encoding="utf-8")
