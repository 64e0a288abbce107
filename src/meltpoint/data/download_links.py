"""Downloads the images of lists of links: few at a time of one host, with retries; existing files are kept."""

import csv
import errno
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, get_args

import requests

from meltpoint.data.link_lists import Link, read_links
from meltpoint.data.listing import shortened
from meltpoint.errors import UserError
from meltpoint.files import whole_file, write_json
from meltpoint.http import DownloadError, RetryPolicy, StoppedError, Wait, download_image, open_session
from meltpoint.progress import track
from meltpoint.signatures import is_image

SHOWN = 5  # reasons in the closing sentence
PER_HOST = 2  # links of one host at a time
SILENT = 3  # links of one host in a row without any answer, after which the others are given up
UNNAMEABLE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

State = Literal["fetched", "there", "dead", "not tried"]


class LinkDownloadError(UserError, RuntimeError):
    """Images cannot be downloaded."""


@dataclass(frozen=True)
class LinkOutcome:
    """The result for a link, or for a line that is no link; `silent`: its host did not answer."""

    link: Link
    state: State
    reason: str = ""
    bytes: int = 0
    silent: bool = False


class HostQueue:
    """Links that wait. Take the next one, and report when it is done; hosts alternate."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._waiting: dict[str, deque[Link]] = {}
        for link in links:
            self._waiting.setdefault(link.host, deque()).append(link)
        self._free = deque([host for _ in range(PER_HOST) for host in self._waiting])  # once for each that may run
        self._silent: Counter[str] = Counter()

    def next_link(self) -> Link | None:
        """A link whose host has a free place; None while there is none."""
        while self._free:
            host = self._free.popleft()
            if self._waiting[host]:
                return self._waiting[host].popleft()
        return None

    def finish(self, host: str, silent: bool) -> Iterator[Link]:
        """A link of `host` is done. Gives the links that are given up, since the host has been silent too often."""
        self._free.append(host)
        self._silent[host] = self._silent[host] + 1 if silent else 0
        if self._silent[host] >= SILENT:
            yield from self._waiting[host]
            self._waiting[host].clear()


def download_links(
    lists: Path,
    into: Path,
    parallel: int,
    timeout: float,
    retries: int,
    max_megabytes: float,
    pause: Wait | None = None,
) -> str:
    """Download the images of the links in `lists` (a folder of .txt files, or one) to `into`, as `folder/file.jpg`.

    Existing images are not downloaded again, so a run that was stopped continues where it was. `parallel` images are
    downloaded at a time, of one host never more than two; `timeout` is in seconds to connect and of silence, and ten
    times that ends an attempt, from the request to the last byte. Failures that may be temporary are tried again
    `retries` times, after pauses that double, or as long as the server says. What is no image, or larger than
    `max_megabytes` (10**6 bytes), is not kept. `into`/fetch.json counts the results by class, and `into`/fetch.csv
    lists the result for each link; both are written too when Ctrl-C ends it. `pause` replaces the pauses in tests.
    Returns a summary in a sentence.

    Raises:
        LinksError: there are no links.
        LinkDownloadError: a number is out of bounds, or images cannot be written.
    """
    if parallel < 1 or timeout <= 0 or retries < 0 or max_megabytes <= 0:
        came = f"parallel {parallel}, timeout {timeout:g}, retries {retries}, megabytes {max_megabytes:g}"
        raise LinkDownloadError(f"A number is out of range: {came}. All must be above 0; retries may be 0. Correct it.")
    policy = RetryPolicy(timeout, retries, round(max_megabytes * 1e6))
    try:
        report = _download(lists, into, parallel, policy, pause)
    except OSError as error:
        raise LinkDownloadError(
            f"{error.filename or into} cannot be read or written: {error.strerror}. What came so far is kept in "
            f"{into}. Free some space or grant permission, then run it again: it goes on from there."
        ) from None
    shown = ", ".join(f"{reason} {count:,}" for reason, count in list(report["reasons"].items())[:SHOWN])
    bare = [label for label, own in report["classes"].items() if not own["fetched"] + own["there"]]
    reasons = f" ({shown})" if shown else ""
    rest = f", {report['not_tried']:,} not tried" if report["not_tried"] else ""
    without = f"; without any image: {shortened(bare)}" if bare else ""
    n_classes = len(report["classes"])
    return (
        f"{report['fetched']:,} of {report['links']:,} images fetched, {report['bytes'] / 1e6:,.1f} MB, "
        f"{report['there']:,} were there, {report['dead']:,} links are dead{rest}{reasons}; {n_classes - len(bare)} of "
        f"{n_classes} classes have images{without}; all of it is in {into / 'fetch.json'} and fetch.csv"
    )


def _download(lists: Path, into: Path, parallel: int, policy: RetryPolicy, pause: Wait | None) -> dict[str, Any]:
    links, flaws = read_links(lists)
    outcomes = [LinkOutcome(flaw, "dead", flaw.flaw) for flaw in flaws]
    done: set[str] = set()
    stop = Event()
    try:
        with open_session(parallel) as session:
            job = partial(_fetch, session, into, policy, pause or stop.wait)
            with closing(_outcomes(links, into, job, parallel, stop)) as coming:
                for outcome in track(coming, "fetch", len(links)):
                    outcomes.append(outcome)
                    done.add(outcome.link.path)
    finally:
        outcomes += [LinkOutcome(link, "not tried", "ended") for link in links if link.path not in done]
        report = _write(sorted(outcomes, key=lambda one: (one.link.label, one.link.path)), into)
    return report


def _outcomes(
    links: Sequence[Link], into: Path, job: Callable[[Link], LinkOutcome], parallel: int, stop: Event
) -> Generator[LinkOutcome, None, None]:
    """The result of each link, as it arrives; closing this generator stops the work too."""
    missing = []
    for link in links:
        try:
            with (into / link.path).open("rb") as file:
                is_there = is_image(file.read(16))
        except OSError:
            is_there = False
        if is_there:
            yield LinkOutcome(link, "there")
        else:
            missing.append(link)
    queue, running = HostQueue(missing), dict[Future[LinkOutcome], Link]()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            while True:
                while len(running) < parallel and (taken := queue.next_link()):
                    running[pool.submit(job, taken)] = taken
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    host, outcome = running.pop(future).host, future.result()
                    yield outcome
                    for given_up in queue.finish(host, outcome.silent):
                        yield LinkOutcome(given_up, "not tried", f"its host was silent {SILENT} times", silent=True)
        finally:
            stop.set()


def _fetch(session: requests.Session, into: Path, policy: RetryPolicy, wait: Wait, link: Link) -> LinkOutcome:
    """Fetch one image; an OSError that is not about this name alone is raised."""
    target = into / link.path
    try:
        if not target.parent.resolve().is_relative_to(into.resolve()):
            return LinkOutcome(link, "dead", "a link on the disk leads out of the folder")
        return LinkOutcome(link, "fetched", bytes=download_image(session, link.url, target, policy, wait))
    except DownloadError as error:
        return LinkOutcome(link, "dead", error.reason, silent=error.silent)
    except StoppedError:
        return LinkOutcome(link, "not tried", "ended")
    except OSError as error:
        if error.errno not in UNNAMEABLE:
            raise
        return LinkOutcome(link, "dead", f"cannot be written: {error.strerror}")


def _write(outcomes: Sequence[LinkOutcome], into: Path) -> dict[str, Any]:
    """Write fetch.csv and fetch.json; what the latter holds."""
    classes: dict[str, list[LinkOutcome]] = {}
    for outcome in outcomes:
        classes.setdefault(outcome.link.label, []).append(outcome)
    report = {
        **_count_states(outcomes),
        "bytes": sum(outcome.bytes for outcome in outcomes),
        "reasons": dict(Counter(outcome.reason for outcome in outcomes if outcome.reason).most_common()),
        "classes": {label: _count_states(own) for label, own in sorted(classes.items())},
    }
    with whole_file(into / "fetch.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["class", "path", "url", "state", "reason"])
        table.writerows((one.link.label, one.link.path, one.link.url, one.state, one.reason) for one in outcomes)
    write_json(into / "fetch.json", report)
    return report


def _count_states(outcomes: Sequence[LinkOutcome]) -> dict[str, int]:
    states = Counter(outcome.state for outcome in outcomes)
    return {"links": len(outcomes), **{state.replace(" ", "_"): states[state] for state in get_args(State)}}
