"""A real server on the loopback that fails on demand; no test waits."""

import hashlib
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from meltpoint.data import archive_download
from meltpoint.data.archive_download import PAUSES, FetchError, fetch_archive, plain_url
from meltpoint.data.listing import SourceError

BODY = random.Random(3).randbytes(2_500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
LIMIT = 10_000_000

pytestmark = pytest.mark.usefixtures("workplace")


@dataclass
class Script:
    """What the server does: a word for each request to come, `good` afterwards; and which ranges were asked for."""

    url: str = ""
    body: bytes = BODY
    words: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)


def handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            script.ranges.append(asked)
            word = script.words.pop(0) if script.words else "good"
            if word.isdigit():
                self.send_error(int(word))
                return
            if word == "slow":  # a header that ends in a minute, and then what was asked for
                end = time.monotonic() + 60
                with suppress(ConnectionError):
                    self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Word: ")
                    while time.monotonic() < end and not script.end.wait(0.02):
                        self.wfile.write(b"a")
                    self.wfile.write(b"\r\n\r\n" + script.body)
                return
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            start = int(match[1]) if match and word != "no ranges" else 0
            if start >= len(script.body) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(script.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                first = start + 7 if word == "other range" else start
                self.send_header("Content-Range", f"bytes {first}-{len(script.body) - 1}/{len(script.body)}")
            if word != "endless":
                self.send_header("Content-Length", str(len(script.body) - start))
            self.end_headers()
            end = start + 1_100_000 if word == "cut" else len(script.body)
            with suppress(ConnectionError):  # the other side may have had enough
                self.wfile.write(script.body[start:end] + bytes(LIMIT + 1 if word == "endless" else 0))

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    script = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(script))
    script.url = f"http://127.0.0.1:{server.server_port}/some.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.end.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def get(script: Script, store: Path, sha256: str = SHA256) -> Path:
    return fetch_archive(script.url, sha256, store, LIMIT, pause=lambda seconds: None)


def test_a_download_is_made_once(script: Script, store: Path) -> None:
    assert get(script, store).read_bytes() == BODY
    assert get(script, store) == store / SHA256
    assert script.ranges == [""]
    assert not (store / f"{SHA256}.part").exists()


def test_a_spoilt_store_is_downloaded_again(script: Script, store: Path) -> None:
    get(script, store).write_bytes(b"spoilt")
    assert get(script, store).read_bytes() == BODY


def test_a_broken_download_goes_on_where_it_stopped(script: Script, store: Path) -> None:
    script.words = ["cut", "503", "cut"]
    assert get(script, store).read_bytes() == BODY
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in script.ranges]
    assert len(starts) == 4
    assert starts[0] == 0
    assert 0 < starts[1] == starts[2] < starts[3] < len(BODY)


def test_a_killed_download_goes_on_the_next_time(script: Script, store: Path) -> None:
    store.mkdir()
    (store / f"{SHA256}.part").write_bytes(BODY[:1000])
    assert get(script, store).read_bytes() == BODY
    assert script.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("word", ["no ranges", "other range"])
def test_a_server_without_proper_ranges_starts_again(script: Script, store: Path, word: str) -> None:
    script.words = [word]
    store.mkdir()
    (store / f"{SHA256}.part").write_bytes(BODY[:1000])
    assert get(script, store).read_bytes() == BODY


@pytest.mark.parametrize("part", [BODY, BODY + b"more", b"another beginning"])
def test_a_part_that_is_whole_or_wrong_ends_well(script: Script, store: Path, part: bytes) -> None:
    store.mkdir()
    (store / f"{SHA256}.part").write_bytes(part)
    assert get(script, store).read_bytes() == BODY


def test_giving_up_keeps_what_there_is(script: Script, store: Path) -> None:
    waited: list[float] = []
    script.words = ["cut", *["503"] * 20]
    with pytest.raises(FetchError, match=r"answers 503 .*1,\d+,\d+ bytes are kept"):
        fetch_archive(script.url, SHA256, store, LIMIT, pause=waited.append)
    assert len(script.ranges) == len(PAUSES) + 2
    assert waited == [PAUSES[0], *PAUSES]
    assert (store / f"{SHA256}.part").read_bytes() == BODY[: (store / f"{SHA256}.part").stat().st_size]


def test_headers_that_never_end_are_a_broken_connection(
    script: Script, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.words = ["slow"] * (len(PAUSES) + 1)
    with monkeypatch.context() as patch, pytest.raises(FetchError, match="cannot be downloaded: .*timed out"):
        patch.setattr(archive_download, "HEADERS", 0.2)
        get(script, store)
    assert get(script, store).read_bytes() == BODY


@pytest.mark.parametrize("status", ["401", "403", "404", "410"])
def test_a_final_answer_is_not_asked_for_again(script: Script, store: Path, status: str) -> None:
    script.words = [status]
    with pytest.raises(FetchError, match=f"answers {status}"):
        get(script, store)
    assert len(script.ranges) == 1


def test_another_file_is_refused_and_not_kept(script: Script, store: Path) -> None:
    with pytest.raises(FetchError, match=f"sha256 {SHA256}, and data.source.sha256 is {'0' * 64}"):
        get(script, store, "0" * 64)
    assert [file.name for file in store.iterdir() if not file.name.endswith(".lock")] == []


@pytest.mark.parametrize("word", ["good", "endless"])
def test_more_than_the_limit_is_not_downloaded(script: Script, store: Path, word: str) -> None:
    script.words, script.body = [word], bytes(LIMIT + 1 if word == "good" else 0)
    with pytest.raises(FetchError, match="max_gigabytes allows 10,000,000"):
        fetch_archive(script.url, SHA256, store, LIMIT, pause=lambda seconds: None)
    part = store / f"{SHA256}.part"
    assert not part.exists() or part.stat().st_size <= LIMIT + 1_000_000


def test_nobody_answers(store: Path) -> None:
    with pytest.raises(FetchError, match="cannot be downloaded"):
        fetch_archive("http://127.0.0.1:9/a.zip", SHA256, store, LIMIT, pause=lambda seconds: None)


def test_a_local_file_is_checked_in_place(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(BODY)
    assert fetch_archive("some.zip", SHA256, store, LIMIT) == path
    assert not store.exists()
    with pytest.raises(FetchError, match="not the file that was meant"):
        fetch_archive("some.zip", "1" * 64, store, LIMIT)


@pytest.mark.parametrize(
    ("location", "error", "match"),
    [
        ("ftp://host/a.zip", FetchError, "ftp:// is not supported"),
        ("s3://bucket/a.zip", FetchError, "s3:// is not supported"),
        ("http://", FetchError, "cannot be downloaded"),
        ("no.zip", SourceError, "There is no 'no.zip'"),
        (".", FetchError, "is a folder"),
    ],
)
def test_other_places_are_told(store: Path, location: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        fetch_archive(location, SHA256, store, LIMIT, pause=lambda seconds: None)


def test_secrets_of_a_url_are_not_shown() -> None:
    assert plain_url("https://me:word@host:8/a.zip?token=1#x") == "https://host:8/a.zip"
    assert plain_url("photos/a.zip") == "photos/a.zip"
