"""The shards that a source names: files below a folder, or at an address that fsspec knows, as s3://bucket/photos."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from meltpoint.data.listing import SourceError, locate, nearest, plain_path, printable
from meltpoint.errors import UserError
from meltpoint.params.sources import Part
from meltpoint.progress import track

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

WILD = re.compile(r"[*?\[]")
NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")  # {000..127}, as WebDataset writes a row of shards
MOST = 1_000_000  # shards that one name may stand for
ALL = "all"
VERSIONS = ("ETag", "etag", "generation", "blob_id", "mtime", "last_modified", "created")  # as file systems call them


@dataclass(frozen=True)
class ShardFile:
    """A shard: its split (None: of no split), its name below `path`, and what changes when its content does."""

    split: str | None
    name: str
    where: str
    system: "AbstractFileSystem | None"  # None: a file of this machine, `where` is its path
    state: str

    @property
    def prefix(self) -> str:
        """What the names of its pictures begin with."""
        return re.sub(r"\.(tar|parquet)$", "", self.name)


def find_shards(path: str, parts: Mapping[Part, str], key: str) -> list[ShardFile]:
    """The shards of each part in the order of their names; `key` is where params.yaml names the parts.

    A name may hold `*`, `?` and `[...]`, or a row of numbers `{000..127}`, of which each has to be there.

    Raises:
        SourceError: a name stands for no file, the place cannot be reached, or `all` stands beside a split.
    """
    if ALL in parts and len(parts) > 1:
        raise SourceError(
            f"{key} names {sorted(parts)}. Allowed are some of train, val and test, or `all` alone. Correct it."
        )
    found = []
    for part, pattern in parts.items():
        where = f"{key}.{part}"
        if ".." in PurePosixPath(pattern).parts or pattern.startswith("/"):
            raise SourceError(
                f"{where} is {pattern!r}, which is not below data.source.path. Write it relative to that."
            )
        names = [one for name in _numbered(pattern, where) for one in _named(path, name, where)]
        split = None if part == ALL else part
        found += [ShardFile(split, *one) for one in sorted(names, key=lambda one: one[0])]
    prefixes = Counter(shard.prefix for shard in found)
    if twice := sorted(one for one, times in prefixes.items() if times > 1):
        raise SourceError(f"{key} names the shard {twice[0]!r} twice. Let each name stand for other files.")
    return found


def find_files(name: str) -> list[ShardFile]:
    """The files that a path or an address of fsspec stands for, with `*`, `?`, `[...]` and rows of numbers, in order.

    Raises:
        SourceError: it stands for no file, or the place cannot be reached.
    """
    found: list[ShardFile] = []
    for one in _numbered(name, "A source"):
        if "://" in one:
            found += _at_address(one)
        else:
            wild = WILD.search(one) and not Path(one).exists()
            files = sorted(glob(one)) if wild else [one]  # noqa: PTH207 - of absolute paths, too
            states = [(file, Path(file).stat()) for file in files if Path(file).is_file()]
            found += [ShardFile(None, file, file, None, f"{seen.st_size} {seen.st_mtime_ns}") for file, seen in states]
        if not found:
            raise SourceError(f"There is no file {one!r}. Correct the path or the address.")
    return found


def _at_address(address: str) -> list[ShardFile]:
    with reaching(address):
        import fsspec

        system, wanted = fsspec.url_to_fs(address)
        files = sorted(system.glob(wanted)) if WILD.search(wanted) else [wanted] if system.isfile(wanted) else []
        names = [str(system.unstrip_protocol(file)) for file in files]
        return [
            ShardFile(None, name, file, system, _state(system, file)) for name, file in zip(names, files, strict=True)
        ]


def _state(system: "AbstractFileSystem", file: str) -> str:
    """The size and version of a file, the same whether a list of files says them or the file itself does."""
    facts = system.info(file)
    version = next((facts[name] for name in VERSIONS if facts.get(name) is not None), None)
    return str(system.ukey(file)) if version is None else f"{facts['size']} {version}"


def local_copy(shard: ShardFile, work: Path) -> Path:
    """The shard as a file of this machine: itself, or a copy in `work`.

    Raises:
        SourceError: it cannot be fetched.
        PathError: its name leads out of its folder, as names in a bucket can.
    """
    if shard.system is None:
        return Path(shard.where)
    target = work / "shards" / plain_path(shard.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with reaching(shard.where):
        shard.system.get_file(shard.where, str(target))
    return target


def watched(shards: list[ShardFile]) -> Iterator[ShardFile]:
    """The shards, with a bar."""
    return iter(track(shards, "read shards", unit="shard"))


def _numbered(pattern: str, key: str) -> list[str]:
    found = NUMBERS.search(pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    if not int(first) <= int(last) < int(first) + MOST:
        raise SourceError(f"{key} is {pattern!r}: {found[0]} is no row of numbers. Write for example {{000..127}}.")
    width = len(first) if first.startswith("0") else 0
    numbers = (f"{number:0{width}}" for number in range(int(first), int(last) + 1))
    return [pattern[: found.start()] + number + pattern[found.end() :] for number in numbers]


def _named(path: str, pattern: str, key: str) -> Iterator[tuple[str, str, "AbstractFileSystem | None", str]]:
    if "://" in path:
        yield from _remote(path, pattern, key)
        return
    root = locate(path, "data.source.path")
    files = sorted(root.glob(pattern)) if WILD.search(pattern) else [root / pattern]
    files = [file for file in files if file.is_file()]
    if not files:
        beside = sorted(printable(one.name) for one in (root / pattern).parent.glob("*"))
        raise SourceError(_none(pattern, key, path) + nearest(PurePosixPath(pattern).name, beside))
    for file in files:
        seen = file.stat()
        yield file.relative_to(root).as_posix(), str(file), None, f"{seen.st_size} {seen.st_mtime_ns}"


def _remote(path: str, pattern: str, key: str) -> Iterator[tuple[str, str, "AbstractFileSystem | None", str]]:
    with reaching(path):
        import fsspec

        system, root = fsspec.url_to_fs(path)
        wanted = f"{root.rstrip('/')}/{pattern}"
        files = sorted(system.glob(wanted)) if WILD.search(pattern) else [wanted] if system.isfile(wanted) else []
        states = [_state(system, file) for file in files]
    if not files:
        raise SourceError(_none(pattern, key, path))
    for file, state in zip(files, states, strict=True):
        yield str(file)[len(root.rstrip("/")) + 1 :], str(file), system, state


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """What goes wrong at an address is an error for the user.

    Raises:
        SourceError: it cannot be reached.
    """
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise SourceError(f"{address} cannot be reached: {error}. Install that package into .venv.") from None
    except Exception as error:  # noqa: BLE001 - each file system of fsspec has errors of its own
        reason = (str(error).splitlines() or [""])[0][:200]
        raise SourceError(
            f"{address} cannot be read: {type(error).__name__}: {reason}. Check the address and the rights to it, or"
            " copy the shards to this machine."
        ) from None


def _none(pattern: str, key: str, path: str) -> str:
    return f"{key} is {pattern!r}, and no such file is at {path!r}. Correct it; it is relative to data.source.path."
