"""Finds or downloads an archive and checks its sha256; a broken download continues where it stopped."""

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from filelock import FileLock

from meltpoint.data.listing import locate
from meltpoint.errors import UserError
from meltpoint.http import TRANSIENT, TimedAdapter, deadline
from meltpoint.progress import track
from meltpoint.terminal import say

CHUNK = 1_000_000  # bytes
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds of silence
HEADERS = 120.0  # seconds from a request to the last header of its answer
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds after each attempt in a row that got no bytes


class FetchError(UserError, RuntimeError):
    """An archive cannot be downloaded, or is not the one that params.yaml names."""


class _BrokenError(Exception):
    """The connection or the server failed, perhaps temporarily."""


def fetch_archive(
    location: str, sha256: str, store: Path, max_bytes: int, pause: Callable[[float], None] = time.sleep
) -> Path:
    """The path of the archive at `location`, a path or an http(s) URL, whose sha256 has been checked.

    A download is kept in `store`/<sha256>, so that it is made once; a broken one stays in `store`/<sha256>.part.
    More than `max_bytes` are not downloaded. `pause` waits that many seconds.

    Raises:
        FetchError: it cannot be downloaded, is larger, or has another sha256.
        SourceError: there is no such local file.
    """
    scheme, name = urlsplit(location).scheme.lower(), plain_url(location)
    if scheme not in ("http", "https"):
        if "://" in location:
            raise FetchError(
                f"data.source.location is {name!r}, and {scheme}:// is not supported. Allowed are http, https and a "
                "local path. Download it by other means and name the file."
            )
        path = locate(location)
        if not path.is_file():
            raise FetchError(
                f"data.source.location is {location!r}, which is a folder. Name a zip or tar, or use `kind: folder`."
            )
        _verify(path, sha256, location)
        return path
    store.mkdir(parents=True, exist_ok=True)
    whole, part = store / sha256, store / f"{sha256}.part"
    with FileLock(store / f"{sha256}.lock"):  # one process at a time; the others wait and find it
        if whole.exists() and _sha256(whole) == sha256:
            return whole
        whole.unlink(missing_ok=True)
        resumed = part.exists()
        _download(location, part, max_bytes, pause)
        try:
            _verify(part, sha256, name)
        except FetchError:
            part.unlink(missing_ok=True)
            if not resumed:
                raise
            say(f"The resumed download of {name} does not fit its first part; starting again")
            _download(location, part, max_bytes, pause)
            _verify(part, sha256, name)
        part.replace(whole)
        return whole


def plain_url(location: str) -> str:
    """The location without user, password and query, which may hold secrets."""
    parts = urlsplit(location)
    if not parts.scheme or not parts.netloc:
        return location
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _download(location: str, part: Path, max_bytes: int, pause: Callable[[float], None]) -> None:
    """Download `part` to its full length; continue after failures as long as every few attempts add something."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _attempt(location, part, max_bytes)
        except (_BrokenError, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures > len(PAUSES):
                raise FetchError(
                    f"{plain_url(location)} cannot be downloaded: {error}. {_size(part):,} bytes are kept, and the "
                    "next `dvc repro` goes on from there. Check the connection, or name a local copy in "
                    "data.source.location."
                ) from None
            say(f"Connection lost after {_size(part):,} bytes ({type(error).__name__}); trying again")
            pause(PAUSES[max(failures - 1, 0)])
        except requests.RequestException as error:
            raise FetchError(
                f"{plain_url(location)} cannot be downloaded: {error}. Correct data.source.location."
            ) from None


def _attempt(location: str, part: Path, max_bytes: int) -> None:
    """One request for what is still missing."""
    start = _size(part)
    # Without `identity` a server may compress on the way, and then offsets are those of other bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.Session() as session, deadline(HEADERS):
        session.mount("http://", TimedAdapter())
        session.mount("https://", TimedAdapter())
        answer = session.get(location, headers=headers, stream=True, timeout=TIMEOUT)
    with answer as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and start:
            if response.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
                return  # all of it was there already
            part.unlink()
            raise _BrokenError("the server has another length than the part kept here; starting again")
        if response.status_code in TRANSIENT:
            raise _BrokenError(f"the server answers {response.status_code} {response.reason}")
        if not response.ok:
            raise FetchError(
                f"{plain_url(location)} cannot be downloaded: the server answers {response.status_code} "
                f"{response.reason}. Give a link that needs no account as data.source.location, or a local copy."
            )
        if response.status_code != requests.codes.partial_content:
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _BrokenError("the server sent another range than was asked for; starting again")
        _write(response, part, start, max_bytes)


def _write(response: requests.Response, part: Path, start: int, max_bytes: int) -> None:
    """Append the body at `start`; a body shorter than announced is a broken connection."""
    announced = response.headers.get("Content-Length", "")
    left = int(announced) if announced.isdigit() else None
    _check_length(start + (left or 0), max_bytes)
    total = None if left is None else -(-left // CHUNK)
    # Undecoded: some servers call a .tar.gz an encoding of a .tar, and the sha256 is that of the .tar.gz.
    body = response.raw.stream(CHUNK, decode_content=False)
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        for chunk in track(body, "download", total, unit="MB"):
            file.write(chunk)
            _check_length(file.tell(), max_bytes)
        if left is not None and file.tell() != start + left:
            raise _BrokenError(f"the server sent {file.tell():,} of {start + left:,} bytes")


def _check_length(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise FetchError(
            f"The archive has {length:,} bytes or more, and data.source.max_gigabytes allows {max_bytes:,}. "
            "Raise it if the archive is meant to be that large."
        )


def _verify(path: Path, sha256: str, name: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise FetchError(
            f"The archive {name!r} has the sha256 {found}, and data.source.sha256 is {sha256}. It is not the file that "
            "was meant: check where it comes from, and only then put its sha256 into params.yaml."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        chunks = iter(partial(file.read, CHUNK), b"")
        for chunk in track(chunks, "sha256", -(-path.stat().st_size // CHUNK), unit="MB"):
            digest.update(chunk)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
