"""Files and folders that appear whole or not at all: temporary name, fsync, rename."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; a clean exit makes it `path` in one step, an error removes it.

    Raises:
        OSError: it cannot be written, as when the disk is full; `filename` says which.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{_short(path.stem)}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on a clean exit it replaces `path`, on an error it is removed.

    What a killed process has left is removed first: it may be as large as the folder.

    Raises:
        OSError: it cannot be written, as when the disk is full; `filename` says which.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        ours = re.compile(rf"\.{re.escape(_short(path.name))}\.(\d+)\.[a-z0-9_]{{8}}")
        for entry in list(path.parent.iterdir()):
            if (found := ours.fullmatch(entry.name)) and not psutil.pid_exists(int(found[1])):
                shutil.rmtree(entry, ignore_errors=True)
        prefix = f".{_short(path.name)}.{os.getpid()}."
        temporary, old = (Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix)) for _ in range(2))
        try:
            yield temporary
            temporary.chmod(0o755)
            for written in temporary.rglob("*"):  # or a power cut could leave them with zero bytes
                if not written.is_symlink():
                    _sync(written)
            if path.is_dir() and not path.is_symlink():
                path.replace(old / path.name)  # in one step: an old folder is never seen half removed
            temporary.replace(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in UTF-8; NaN is refused."""
    with whole_file(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8.

    Raises:
        ValueError: it is not a regular file, is not JSON, or is nested too deeply.
    """
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise ValueError("it is not a regular file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(name: str) -> str:
    """As much of a name as leaves room for what makes it a temporary one: names have 255 bytes at most."""
    return name.encode()[:100].decode("utf-8", "ignore")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add this path to an OSError that has none. Libraries written in Rust give the error number in words."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    except Exception as error:
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise
