"""A real server on the loopback that does what the path of a request says; no test waits for a pause."""

import csv
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meltpoint import http
from meltpoint.data import download_links as module
from meltpoint.data.download_links import PER_HOST, SILENT, HostQueue, LinkDownloadError, download_links
from meltpoint.data.link_lists import Link
from meltpoint.signatures import is_image


def picture(kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, kind)
    return file.getvalue()


JPEG = picture()


@dataclass
class Web:
    """Where the server is, what was asked of it, and how many requests it had at once."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)
    running: list[int] = field(default_factory=list)
    most: int = 0


def handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.agents.add(self.headers["User-Agent"])
            with suppress(ConnectionError):
                self.answer(self.path.strip("/").split("/")[0], web.asked.count(self.path))

        def answer(self, word: str, times: int) -> None:
            match word:
                case "good":
                    self.send(JPEG)
                case "slow":
                    web.running.append(1)
                    web.most = max(web.most, len(web.running))
                    web.release.wait(0.02)
                    web.running.pop()  # before the answer, after which the next one may come
                    self.send(JPEG)
                case "html":
                    self.send(b"<!doctype html><title>Photo gone</title>", "text/html; charset=utf-8")
                case "empty":
                    self.send(b"")
                case "large":
                    self.send(JPEG + bytes(2_000_000))
                case "endless":
                    self.send(JPEG + bytes(2_000_000), length=None)
                case "truncated":
                    self.send(JPEG[:100], length=len(JPEG))
                case "flaky":
                    self.send(JPEG[:100] if times < 3 else JPEG, length=len(JPEG))
                case "busy":
                    self.send(b"", status=503 if times < 2 else 404)
                case "later":
                    after = {"a": "7", "b": formatdate(time.time() + 40, usegmt=True), "c": "9999", "d": "soon"}
                    self.send(b"", status=429, after=after[self.path[-1]])
                case "moved":
                    self.redirect("/good/moved.jpg")
                case "circle":
                    self.redirect(self.path)
                case "file":
                    self.redirect("file:///etc/passwd")
                case "silent":
                    web.release.wait(5)
                case "trickle" | "headers" | "continue":
                    self.trickle(word)
                case _:
                    self.send(b"", status=int(word))

        def send(
            self, body: bytes, kind: str = "image/jpeg", status: int = 200, length: int | None = -1, after: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if after:
                self.send_header("Retry-After", after)
            if length is not None:
                self.send_header("Content-Length", str(len(body) if length < 0 else length))
            self.end_headers()
            self.wfile.write(body)

        def redirect(self, place: str) -> None:
            self.send_response(302)
            self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def trickle(self, word: str) -> None:
            """The body or the headers byte by byte, or one `100 Continue` after another; the picture a minute later."""
            starts = {"trickle": b"HTTP/1.0 200 OK\r\n\r\n" + JPEG[:50], "headers": b"HTTP/1.0 200 OK\r\nX-Word: "}
            self.wfile.write(starts.get(word, b""))
            end = time.monotonic() + 60
            while time.monotonic() < end and not web.release.wait(0.02):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" if word == "continue" else b"a")
            rest = {"trickle": JPEG[50:], "headers": b"\r\n\r\n" + JPEG}
            self.wfile.write(rest.get(word, b"HTTP/1.0 200 OK\r\n\r\n" + JPEG))

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(web))
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    web.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def run(
    place: Path, web: Web, *words: str, timeout: float = 5, retries: int = 2, parallel: int = 4, waited: Any = None
) -> str:
    """Download the links; each pause is over at once, and goes into the list `waited`."""
    links, waited = place / "links.txt", [] if waited is None else waited
    links.write_text("".join(f"A/{number}.jpg\t{web.url}/{word}\n" for number, word in enumerate(words)))
    pause = lambda seconds: bool(waited.append(seconds))  # noqa: E731
    return download_links(links, place / "images", parallel, timeout, retries, 1.0, pause)


def outcomes(place: Path) -> list[tuple[str, str]]:
    with (place / "images/fetch.csv").open(encoding="utf-8", newline="") as file:
        return [(row["state"], row["reason"]) for row in csv.DictReader(file)]


def report(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "images/fetch.json").read_text())
    return found


def held(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place / "images")) for path in (place / "images").rglob("*") if path.is_file())


def test_images_come_and_are_counted_by_class(tmp_path: Path, web: Web) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/Cat.txt").write_text(
        f"Cat/1.jpg\t{web.url}/good/1\nCat/2.jpg\t{web.url}/404/2\n../x\thttp://h/\n"
    )
    (tmp_path / "lists/Dog.txt").write_text(f"Dog/1.jpg\t{web.url}/410/3\n")
    made = download_links(tmp_path / "lists", tmp_path / "images", 2, 5.0, 2, 1.0)
    assert (tmp_path / "images/Cat/1.jpg").read_bytes() == JPEG
    assert held(tmp_path) == ["Cat/1.jpg", "fetch.csv", "fetch.json"]
    found = report(tmp_path)
    assert found["classes"]["Cat"] == {"links": 3, "fetched": 1, "there": 0, "dead": 2, "not_tried": 0}
    assert found["classes"]["Dog"] == {"links": 1, "fetched": 0, "there": 0, "dead": 1, "not_tried": 0}
    assert found["bytes"] == len(JPEG)
    assert {"404 Not Found", "410 Gone"} < set(found["reasons"])
    assert made.startswith("1 of 4 images fetched, 0.0 MB, 0 were there, 3 links are dead (")
    assert "1 of 2 classes have images; without any image: ['Dog']" in made
    assert web.agents == {f"meltpoint/{version('meltpoint')}"}
    assert web.asked.count("/404/2") == 1


@pytest.mark.parametrize(
    ("word", "reason", "requests"),
    [
        ("404", "404 Not Found", 1),
        ("403", "403 Forbidden", 1),
        ("html", "no image but text/html", 1),
        ("empty", "an empty answer", 1),
        ("large", "larger than 1 MB", 1),
        ("endless", "larger than 1 MB", 1),
        ("truncated", "cut short", 3),
        ("500", "500 Internal Server Error", 3),
        ("busy", "404 Not Found", 2),
        ("circle", "too many redirects", 6),
        ("file", "no valid address", 1),
    ],
)
def test_a_dead_link_says_why_and_leaves_nothing(
    tmp_path: Path, web: Web, word: str, reason: str, requests: int
) -> None:
    run(tmp_path, web, word)
    assert outcomes(tmp_path) == [("dead", reason)]
    assert len(web.asked) == requests
    assert held(tmp_path) == ["fetch.csv", "fetch.json"]


@pytest.mark.parametrize(("word", "requests"), [("flaky", 3), ("moved", 2)])
def test_what_may_pass_is_tried_again_and_redirects_are_followed(
    tmp_path: Path, web: Web, word: str, requests: int
) -> None:
    run(tmp_path, web, word)
    assert outcomes(tmp_path) == [("fetched", "")]
    assert len(web.asked) == requests
    assert (tmp_path / "images/A/0.jpg").read_bytes() == JPEG


def test_a_host_that_is_silent(tmp_path: Path, web: Web) -> None:
    run(tmp_path, web, "silent", timeout=0.05, retries=1)
    assert outcomes(tmp_path) == [("dead", "no answer in 0.05 s")]
    assert len(web.asked) == 2


@pytest.mark.parametrize("word", ["trickle", "headers", "continue"])
def test_a_host_that_sends_a_little_for_ever(
    tmp_path: Path, web: Web, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WHOLE", 0.02)
    run(tmp_path, web, word, timeout=20, retries=1)
    assert outcomes(tmp_path) == [("dead", "not whole in 0.4 s")]
    assert len(web.asked) == 1


def test_pauses_double_and_a_server_may_ask_for_more(tmp_path: Path, web: Web) -> None:
    waited: list[float] = []
    run(tmp_path, web, "503", retries=3, waited=waited)
    assert [one for one in waited if one] == [1, 2, 4]


@pytest.mark.parametrize(("word", "least", "most"), [("a", 7, 7), ("b", 35, 40), ("c", 60, 60), ("d", 1, 1)])
def test_a_server_says_when_to_come_again_as_seconds_or_a_date(
    tmp_path: Path, web: Web, word: str, least: float, most: float
) -> None:
    waited: list[float] = []
    run(tmp_path, web, f"later/{word}", retries=1, waited=waited)
    assert least <= sum(waited) <= most
    assert len(web.asked) == 2


def test_nobody_there_is_soon_given_up(tmp_path: Path) -> None:
    lines = [f"A/{number}.jpg\thttp://127.0.0.1:9/{number}\n" for number in range(9)]
    (tmp_path / "links.txt").write_text("".join(lines))
    made = download_links(tmp_path / "links.txt", tmp_path / "images", 1, 5.0, 0, 1.0)
    assert Counter(outcomes(tmp_path)) == {
        ("dead", "no connection"): 3,
        ("not tried", "its host was silent 3 times"): 6,
    }
    assert "6 not tried" in made


def test_what_is_there_is_not_asked_for_again(tmp_path: Path, web: Web) -> None:
    run(tmp_path, web, "good/a", "good/b")
    (tmp_path / "images/A/1.jpg").write_bytes(b"half of a pi")
    (tmp_path / "images/A/1.jpg.part").write_bytes(JPEG[:50])
    web.asked.clear()
    made = run(tmp_path, web, "good/a", "good/b")
    assert web.asked == ["/good/b"]
    assert outcomes(tmp_path) == [("there", ""), ("fetched", "")]
    assert held(tmp_path) == ["A/0.jpg", "A/1.jpg", "fetch.csv", "fetch.json"]
    assert "1 were there" in made


def test_one_host_is_asked_for_few_at_a_time(tmp_path: Path, web: Web) -> None:
    run(tmp_path, web, *[f"slow/{number}" for number in range(8)], parallel=8)
    assert len(web.asked) == 8
    assert web.most <= PER_HOST


def test_a_link_on_the_disk_leads_nowhere_else(tmp_path: Path, web: Web) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images/A").symlink_to(tmp_path / "elsewhere")
    run(tmp_path, web, "good")
    assert outcomes(tmp_path) == [("dead", "a link on the disk leads out of the folder")]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert web.asked == []


def test_ctrl_c_keeps_what_came_and_writes_the_report(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(items: Any, what: str, total: int) -> Iterator[Any]:
        yield next(items)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, web, "good/0", "good/1", "good/2", "good/3", parallel=1)
    found = report(tmp_path)
    assert found["fetched"] == 1
    assert found["fetched"] + found["not_tried"] == found["links"] == 4
    assert all(is_image(path.read_bytes()) for path in (tmp_path / "images/A").iterdir())


def test_a_name_too_long_is_told_and_passed_by(tmp_path: Path, web: Web) -> None:
    long = "x" * 251 + ".jpg"  # with .part it is longer than a file system allows
    (tmp_path / "links.txt").write_text(f"A/{long}\t{web.url}/good\nA/b.jpg\t{web.url}/good\n")
    download_links(tmp_path / "links.txt", tmp_path / "images", 1, 5.0, 0, 1.0)
    assert outcomes(tmp_path) == [("fetched", ""), ("dead", "cannot be written: File name too long")]


def test_a_folder_that_cannot_be_made_ends_it(tmp_path: Path, web: Web) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(LinkDownloadError, match=r"images.* cannot be read or written"):
        run(tmp_path, web, "good")


@pytest.mark.parametrize("changes", [{"parallel": 0}, {"timeout": 0}, {"retries": -1}])
def test_numbers_out_of_bounds_are_refused(tmp_path: Path, web: Web, changes: dict[str, int]) -> None:
    with pytest.raises(LinkDownloadError, match="out of range"):
        run(tmp_path, web, "good", **changes)


def link(number: int, host: str) -> Link:
    return Link("A", f"A/{number}.jpg", f"http://{host}/{number}", host)


@given(st.lists(st.sampled_from("abc"), max_size=20), st.data())
def test_every_link_has_its_turn_and_no_host_too_many(hosts: list[str], data: st.DataObject) -> None:
    links = [link(number, host) for number, host in enumerate(hosts)]
    queue, running, seen = HostQueue(links), list[Link](), list[Link]()
    while len(seen) < len(links):
        while taken := queue.next_link():
            running.append(taken)
        assert max(Counter(one.host for one in running).values()) <= PER_HOST
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        seen.append(done)
        assert list(queue.finish(done.host, silent=False)) == []
    assert queue.next_link() is None
    assert sorted(seen, key=links.index) == links


def test_a_silent_host_is_given_up_and_others_are_not() -> None:
    links = [link(number, "silent") for number in range(SILENT + 3)] + [link(9, "good")]
    queue = HostQueue(links)
    given_up: list[Link] = []
    taken = []
    while one := queue.next_link():
        taken.append(one)
        given_up += queue.finish(one.host, silent=one.host == "silent")
    assert Counter(one.host for one in taken) == {"silent": SILENT, "good": 1}
    assert given_up == links[SILENT : SILENT + 3]


def test_an_answer_in_between_gives_a_host_new_credit() -> None:
    queue = HostQueue([link(number, "moody") for number in range(10)])
    seen = 0
    while one := queue.next_link():
        assert list(queue.finish(one.host, silent=seen % 2 == 0)) == []
        seen += 1
    assert seen == 10
