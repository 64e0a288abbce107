"""Images that lists of links name."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "download the images that lists of links name"
ABOUT = """\
Download the images that lists of links name into a folder: few at a time, with retries, time-outs, and checks of size
and kind. LISTS is a folder of .txt files, or one such file, with a line `folder/file.jpg URL` for each image. Images
that are there already are not downloaded again, so a run that was stopped continues where it was. fetch.json in the
folder counts images and dead links by class, fetch.csv lists each link.

  meltpoint fetch-urls yoga82/links --into photos/yoga82
"""


def describe(fetch: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    fetch.add_argument("lists", type=Path, metavar="LISTS", help="a folder of .txt files with links, or one such file")
    fetch.add_argument("--into", type=Path, required=True, metavar="DIR", help="where the images go")
    fetch.add_argument("--parallel", type=int, default=8, help="images at a time (default 8)")
    fetch.add_argument("--timeout", type=float, default=20, help="seconds that a server may be silent (default 20)")
    fetch.add_argument("--retries", type=int, default=2, help="after a failure that may pass (default 2)")
    fetch.add_argument("--max-megabytes", type=float, default=20, help="of an image (default 20)")


def run(asked: argparse.Namespace) -> None:
    """Download the images that lists of links name; print what came of it.

    Raises:
        UserError: no links, numbers out of bounds, or no place to write.
    """
    from meltpoint.data.download_links import download_links

    limits = (asked.parallel, asked.timeout, asked.retries, asked.max_megabytes)
    say(download_links(asked.lists, asked.into, *limits))
