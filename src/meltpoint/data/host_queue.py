"""A queue of links: many hosts at once, few links of one host, and no more links of a host that does not answer."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from meltpoint.data.link_lists import Link

PER_HOST = 2  # links of one host at a time
SILENT = 3  # links of one host in a row without any answer, after which the others are given up


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
