"""What is to be answered, in parts of a fixed plan: pictures of folders and lists, and shards that hold many pictures.

A part is a list of pieces, texts that say what to read. A shard, tar or parquet, is a part of one piece.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from meltpoint.data.listing import printable
from meltpoint.data.shard_files import WILD, ShardFile, find_files, reaching
from meltpoint.errors import UserError
from meltpoint.predict.folders import HIDDEN, NO_SUFFIX, picture_suffixes, say_ignored, walk
from meltpoint.predict.inputs import is_address
from meltpoint.predict.video import is_video

PIECE = 256  # pictures that one process reads
SHARD = re.compile(r"\.(tar|tar\.gz|tgz|parquet)$", re.IGNORECASE)
LIST = ".txt"


class ScoringError(UserError, RuntimeError):
    """There is nothing to answer in parts, or no place for them."""


def plan_parts(given: Sequence[str], size: int, ignored: Counter[str]) -> list[list[str]]:
    """The parts of what is given: first pictures, `size` a part, then shards. Other files are counted in `ignored`.

    Raises:
        ScoringError: there is nothing, or a video.
        SourceError: a shard is not there, or an address cannot be reached.
    """
    pictures: list[str] = []
    shards: list[ShardFile] = []
    for found in _expand(given, ignored, listed=False):
        if isinstance(found, ShardFile):
            shards.append(found)
        else:
            pictures.append(found)
    if not pictures and not shards:
        raise ScoringError(
            f"There are no pictures in {', '.join(given)}{': only ' if ignored else ''}{say_ignored(ignored)}. Name"
            " pictures, folders of them, lists (.txt), shards by their own names ('shards/*.tar', 'data/*.parquet'), or"
            " addresses of these."
        )
    parts = [[json.dumps({"pictures": piece}) for piece in _cut(part, PIECE)] for part in _cut(pictures, size)]
    return parts + [[json.dumps({"shard": shard.name, "state": shard.state})] for shard in shards]


def _cut(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def count_listed(parts: Sequence[Sequence[str]]) -> int | None:
    """How many pictures there are; None: nobody knows before the shards are read."""
    asked = [json.loads(piece) for part in parts for piece in part]
    return sum(len(one["pictures"]) for one in asked) if all("pictures" in one for one in asked) else None


def _expand(given: Sequence[str], ignored: Counter[str], listed: bool) -> Iterator[str | ShardFile]:
    for one in given:
        if is_address(one):
            yield one
        elif SHARD.search(one):
            yield from find_files(one)
        elif "://" in one:
            yield from _at_address(one, ignored)
        elif Path(one).is_dir():
            yield from map(str, walk(Path(one), ignored))
        elif is_video(one):
            raise ScoringError(f"{one} is a video, and parts have a row for each picture. Leave out --out for videos.")
        elif one.lower().endswith(LIST) and not listed:
            yield from _expand(_read_list(Path(one)), ignored, listed=True)
        elif WILD.search(one) and not Path(one).exists():
            yield from (file.name for file in find_files(one))
        else:
            yield one


def _read_list(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(
            f"The list {path} cannot be read: {error}. It has a path or an address in each line, in UTF-8. Correct it."
        ) from None


def _at_address(address: str, ignored: Counter[str]) -> Iterator[str | ShardFile]:
    """The pictures below an address, by name; shards there are named by themselves."""
    if WILD.search(address):
        yield from (file.name for file in find_files(address))
        return
    with reaching(address):
        import fsspec

        system, root = fsspec.url_to_fs(address)
        single = Path(address).suffix.lower() in picture_suffixes()  # a long list is not asked line by line
        files = sorted(system.find(root)) if not single and system.isdir(root) else None
    if files is None:
        yield address
        return
    for file in files:
        suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 - a Path for each of a million files is slow
        if "/." in file[len(root) :]:
            ignored[HIDDEN] += 1
        elif suffix in picture_suffixes():
            yield str(system.unstrip_protocol(file))
        else:
            ignored[printable(suffix) or NO_SUFFIX] += 1
