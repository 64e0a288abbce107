"""The sorted entries of a folder, and which of them are hidden or left behind by a desktop."""

import os

from meltpoint.data.listing import SourceError, printable

# What desktops leave behind; names with a leading dot are hidden anyway.
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """Files and folders by name.

    Raises:
        SourceError: the folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        raise SourceError(f"There is no permission to read the folder {printable(folder)!r}. Grant it.") from None


def is_junk(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is hidden or left by a desktop."""
    return entry.name.startswith(".") or entry.name in JUNK


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one, of the data."""
    return entry.is_dir() and not is_junk(entry)
