"""Downloads one image: whole, or not at all, with a short reason that many links can share."""

import http.client
import io
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from meltpoint.signatures import is_image, what_it_is

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one later
CHUNK = 65_536  # bytes
REDIRECTS = 5
WHOLE = 10  # times the time-out that an attempt may take, from the request to the last byte
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
DEADLINE = ContextVar("DEADLINE", default=math.inf)  # of what this thread reads, by time.monotonic()

Wait = Callable[[float], bool]  # waits for that many seconds; true: stop


class DownloadError(Exception):
    """An image cannot be downloaded.

    `silent`: its host did not answer at all. `after`: seconds to wait before the next attempt; None: there is no use.
    """

    def __init__(self, reason: str, silent: bool = False, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.silent = silent
        self.after = after


class StoppedError(Exception):
    """The download was stopped from outside."""


@dataclass(frozen=True)
class RetryPolicy:
    """timeout: seconds to connect, and of silence; retries: after temporary failures; max_bytes: of an image.

    Not urllib3's `Retry` alone: its pauses cannot be stopped, and it does not see that a body was cut short.
    """

    timeout: float
    retries: int
    max_bytes: int


class _TimedReader(io.RawIOBase):
    """What a socket receives before the deadline; its own time-out, of silence, starts again with each byte."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self.sock, self.raw, self.silence = sock, raw, sock.gettimeout() or math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = DEADLINE.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError
        limit = min(left, self.silence)
        self.sock.settimeout(limit if limit < math.inf else None)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Status, headers and body, all of it within the deadline."""

    def __init__(self, sock: socket.socket, *words: Any, **named: Any) -> None:
        super().__init__(sock, *words, **named)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse


class _TimedSecureConnection(HTTPSConnection):
    response_class = _TimedResponse


class TimedAdapter(requests.adapters.HTTPAdapter):
    """Makes connections, direct ones and those through a proxy, whose answers are read within `deadline`."""

    def get_connection_with_tls_context(self, *words: Any, **named: Any) -> Any:
        """As requests makes it, with connections of the kinds above."""
        pool: Any = super().get_connection_with_tls_context(*words, **named)
        pool.ConnectionCls = _TimedSecureConnection if pool.scheme == "https" else _TimedConnection
        return pool


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What this thread reads inside of it through a `TimedAdapter` has to arrive in that many seconds, all together."""
    before = DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        DEADLINE.reset(before)


def open_session(parallel: int) -> requests.Session:
    """A session that many threads may use: it says who it is, keeps connections and no cookies."""
    session = requests.Session()
    session.headers["User-Agent"] = f"meltpoint/{version('meltpoint')}"
    session.headers["Accept"] = "image/*"
    session.headers["Accept-Encoding"] = "identity"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.max_redirects = REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, TimedAdapter(pool_connections=2 * parallel, pool_maxsize=parallel))
    return session


def download_image(session: requests.Session, url: str, target: Path, policy: RetryPolicy, wait: Wait) -> int:
    """Download the image at `url` to the file `target`, which appears whole; the number of its bytes.

    Raises:
        DownloadError: it cannot be downloaded.
        StoppedError: `wait` returned true.
        OSError: it cannot be written.
    """
    for attempt in range(policy.retries + 1):
        try:
            return _attempt(session, url, target, policy, wait)
        except DownloadError as error:
            if error.after is None or attempt == policy.retries:
                raise
            if wait(min(max(error.after, 2.0**attempt), LONGEST_PAUSE)):
                raise StoppedError from None
    raise AssertionError("the last attempt raises or returns")


def _attempt(session: requests.Session, url: str, target: Path, policy: RetryPolicy, wait: Wait) -> int:
    part, whole = target.with_name(f"{target.name}.part"), WHOLE * policy.timeout
    end = time.monotonic() + whole
    try:
        with deadline(whole), session.get(url, stream=True, timeout=policy.timeout) as response:
            if response.status_code != requests.codes.ok:
                after = None
                if response.status_code in TRANSIENT:
                    with suppress(urllib3.exceptions.InvalidHeader):  # Retry-After: a number or a date
                        after = urllib3.Retry().get_retry_after(response.raw)  # RFC 9110, 10.2.3
                    after = after or 0.0
                raise DownloadError(f"{response.status_code} {response.reason}", after=after)
            announced = response.headers.get("Content-Length", "")
            if announced.isdecimal() and int(announced) > policy.max_bytes:
                raise DownloadError(_too_large(policy.max_bytes))
            size = _write(response, part, policy, wait)
        part.replace(target)
        return size
    except requests.exceptions.SSLError:
        raise DownloadError("no valid certificate") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        if time.monotonic() >= end:
            raise DownloadError(f"not whole in {whole:g} s", silent=True) from None
        raise DownloadError(f"no answer in {policy.timeout:g} s", silent=True, after=0) from None
    except (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError):
        raise DownloadError("cut short", after=0) from None
    except requests.ConnectionError:
        raise DownloadError("no connection", silent=True, after=0) from None
    except requests.TooManyRedirects:
        raise DownloadError("too many redirects") from None
    except (requests.RequestException, ValueError):  # addresses that cannot be parsed, redirects to other schemes
        raise DownloadError("no valid address") from None
    finally:
        part.unlink(missing_ok=True)


def _write(response: requests.Response, part: Path, policy: RetryPolicy, wait: Wait) -> int:
    """Write the body to `part`; a host that is very slow counts as one that does not answer."""
    start = _read(response, 16)
    while 0 < len(start) < 16 and (more := _read(response, 16)):
        start += more
    if not is_image(start):
        kind = what_it_is(start, response.headers.get("Content-Type", ""))
        raise DownloadError(kind if start else "an empty answer")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        chunk = start
        while chunk:
            file.write(chunk)
            if file.tell() > policy.max_bytes:
                raise DownloadError(_too_large(policy.max_bytes))
            if wait(0):
                raise StoppedError
            chunk = _read(response, CHUNK)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _read(response: requests.Response, amount: int) -> bytes:
    """What has come, up to `amount` bytes: a plain read would wait for all of them."""
    data: bytes = response.raw.read1(amount, decode_content=True)
    return data


def _too_large(max_bytes: int) -> str:
    return f"larger than {max_bytes / 1e6:g} MB"
