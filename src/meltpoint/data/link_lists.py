"""Lists of links to images, a file for each class: `folder/file.jpg`, white space, an http(s) address."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from meltpoint.data.delimited import decode_text
from meltpoint.data.listing import PathError, nearest, plain_path, printable
from meltpoint.errors import UserError

LINE = re.compile(r"(?P<path>.+?)\s+(?P<url>[A-Za-z][A-Za-z0-9+.-]*:\S.*)")  # a path may hold spaces


class LinksError(UserError, ValueError):
    """There are no lists of links."""


@dataclass(frozen=True)
class Link:
    """An image to download: its class, its path relative to the folder of images, where it is, and on which host.

    Of a line that is no link, `flaw` says why not.
    """

    label: str
    path: str
    url: str
    host: str
    flaw: str = ""


def read_links(lists: Path) -> tuple[list[Link], list[Link]]:
    """The links of every .txt file in the folder `lists`, or of that one file; and the lines with a flaw.

    The class of a link is the first folder of its path, or the name of its list where the path has none.

    Raises:
        LinksError: there is no such folder or file, or no link in it.
    """
    files = sorted(lists.glob("*.txt")) if lists.is_dir() else [lists]
    if not lists.exists() or not files:
        near = nearest(lists.name, [entry.name for entry in lists.parent.glob("*")])
        raise LinksError(
            f"There are no lists of links at {str(lists)!r}.{near} A folder with a .txt file for each class is needed,"
            " or one such file. Name it as LISTS."
        )
    links: dict[str, Link] = {}
    flaws: list[Link] = []
    for file in files:
        for line in filter(None, map(str.strip, decode_text(file.read_bytes())[0].splitlines())):
            link = _read(line, file.stem)
            if not link.flaw and links.setdefault(link.path, link) != link:
                link = replace(link, flaw="another link has this path")
            flaws += [link] if link.flaw else []
    if not links:
        raise LinksError(
            f"None of the {len(flaws):,} lines in {str(lists)!r} is a link. Allowed is `folder/file.jpg`, white space,"
            f" and an http(s) address{f'; the first is {flaws[0].path!r}' if flaws else ''}. Name other lists as LISTS."
        )
    return list(links.values()), flaws


def _read(line: str, stem: str) -> Link:
    match = LINE.fullmatch(line)
    if match is None:
        return Link(stem, printable(line[:200]), "", "", "no address in the line")
    path, url = match["path"], match["url"]
    try:
        plain = plain_path(path)
    except PathError as error:
        return Link(stem, printable(path[:200]), url, "", str(error))
    label = plain.split("/", 1)[0] if "/" in plain else stem
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme.lower() in ("http", "https") else None
    except ValueError:
        host = None
    return Link(label, plain, url, host) if host else Link(label, plain, url, "", "no http(s) address")
