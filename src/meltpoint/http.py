"""One image from the web: whole and an image, or not at all, with a reason that fits many links."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import requests
import urllib3

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one later
CHUNK = 65_536  # bytes
REDIRECTS = 5
WHOLE = 10  # times the time-out that a whole image may take
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
HEIC = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")

Wait = Callable[[float], bool]  # waits for that many seconds; true: stop


class DownloadError(Exception):
    """An image cannot be had; `silent`: its host did not answer at all."""

    def __init__(self, reason: str, silent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.silent = silent


class StoppedError(Exception):
    """Somebody wants no more images."""


class _PassingError(Exception):
    """A failure that may pass; `after` seconds are asked for before the next attempt."""

    def __init__(self, reason: str, after: float, silent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.silent = silent


@dataclass(frozen=True)
class RetryPolicy:
    """timeout: seconds to connect, and of silence; retries: after failures that may pass; max_bytes: of an image."""

    timeout: float
    retries: int
    max_bytes: int


def open_session(parallel: int) -> requests.Session:
    """A session that many threads may use: it says who it is, keeps connections and no cookies."""
    session = requests.Session()
    session.headers["User-Agent"] = f"meltpoint/{version('meltpoint')}"
    session.headers["Accept"] = "image/*"
    session.headers["Accept-Encoding"] = "identity"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.max_redirects = REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_connections=2 * parallel, pool_maxsize=parallel))
    return session


def download_image(session: requests.Session, url: str, target: Path, policy: RetryPolicy, wait: Wait) -> int:
    """Bring the image at `url` to the file `target`, which appears whole; its bytes.

    Raises:
        DownloadError: it cannot be had.
        StoppedError: `wait` said so.
        OSError: it cannot be written.
    """
    for attempt in range(policy.retries + 1):
        try:
            return _attempt(session, url, target, policy, wait)
        except _PassingError as error:
            if attempt == policy.retries:
                raise DownloadError(error.reason, error.silent) from None
            if wait(min(max(error.after, 2.0**attempt), LONGEST_PAUSE)):
                raise StoppedError from None
    raise AssertionError("the last attempt raises or returns")


def is_image(start: bytes) -> bool:
    """Whether these first bytes (16 or more) are of a JPEG, PNG, GIF, BMP, TIFF, JPEG 2000, WebP or AVIF.

    Or of HEIC, where the extra that reads it is installed.
    """
    webp = start.startswith(b"RIFF") and start[8:12] == b"WEBP"
    heic = start.startswith(HEIC, 4) and find_spec("pillow_heif") is not None
    return start.startswith(MAGIC) or webp or start[4:12] in (b"ftypavif", b"ftypavis") or heic


def what_it_is(start: bytes, announced: str) -> str:
    """What an answer that is no image is: an image that cannot be read here by its first bytes, else what it says."""
    if start.startswith(HEIC, 4):
        return "HEIC, which needs the extra: pip install pillow-heif"
    if start.startswith(JPEG_XL):
        return "JPEG XL, which is not read"
    return f"no image but {announced.partition(';')[0].strip()[:40] or 'something else'}"


def _attempt(session: requests.Session, url: str, target: Path, policy: RetryPolicy, wait: Wait) -> int:
    part = target.with_name(f"{target.name}.part")
    try:
        with session.get(url, stream=True, timeout=policy.timeout) as response:
            _check(response, policy.max_bytes)
            size = _write(response, part, policy, wait)
        part.replace(target)
        return size
    except requests.exceptions.SSLError:
        raise DownloadError("no valid certificate", silent=False) from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _PassingError(f"no answer in {policy.timeout:g} s", 0, silent=True) from None
    except (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError):
        raise _PassingError("cut short", 0, silent=False) from None
    except requests.ConnectionError:
        raise _PassingError("no connection", 0, silent=True) from None
    except requests.TooManyRedirects:
        raise DownloadError("too many redirects", silent=False) from None
    except (requests.RequestException, ValueError):  # addresses that cannot be parsed, redirects to other schemes
        raise DownloadError("no valid address", silent=False) from None
    finally:
        part.unlink(missing_ok=True)


def _check(response: requests.Response, max_bytes: int) -> None:
    if response.status_code in TRANSIENT:
        asked = response.headers.get("Retry-After", "")
        after = float(asked) if asked.isdecimal() else 0.0
        raise _PassingError(f"{response.status_code} {response.reason}", after, silent=False)
    if response.status_code != requests.codes.ok:
        raise DownloadError(f"{response.status_code} {response.reason}", silent=False)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise DownloadError(_too_large(max_bytes), silent=False)


def _write(response: requests.Response, part: Path, policy: RetryPolicy, wait: Wait) -> int:
    """Write the body to `part`; a host that trickles is as bad as one that is silent."""
    end = time.monotonic() + WHOLE * policy.timeout
    start = _read(response, 16)
    while 0 < len(start) < 16 and (more := _read(response, 16)):
        start += more
    if not is_image(start):
        kind = what_it_is(start, response.headers.get("Content-Type", ""))
        raise DownloadError(kind if start else "an empty answer", silent=False)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        chunk = start
        while chunk:
            file.write(chunk)
            if file.tell() > policy.max_bytes:
                raise DownloadError(_too_large(policy.max_bytes), silent=False)
            if time.monotonic() > end:
                raise DownloadError(f"not whole in {WHOLE * policy.timeout:g} s", silent=True)
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
