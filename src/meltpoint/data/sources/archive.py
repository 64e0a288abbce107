"""Source kind `archive`: a zip or tar, local or at a URL, and inside it what another kind reads."""

from dataclasses import replace
from pathlib import Path

from meltpoint.data.archive_download import fetch_archive, plain_url
from meltpoint.data.listing import Listing, SourceError, nearest, repository
from meltpoint.data.read_source import read_source
from meltpoint.data.unpack import unpack
from meltpoint.params.sources import ArchiveSource, FolderSource


def read(source: ArchiveSource, work: Path) -> Listing:
    """Fetch, check, unpack below `work`, and list what is inside; the archive of a URL is kept for the next time.

    Raises:
        FetchError: it cannot be downloaded, or is not the one that params.yaml names.
        ArchiveError: it is damaged or dangerous.
        SourceError: what is inside is not what params.yaml says.
    """
    max_bytes = round(source.max_gigabytes * 1e9)
    archive = fetch_archive(source.location, source.sha256, repository() / ".checkpoints" / "archives", max_bytes)
    root = unpack(archive, work.absolute() / "unpacked", source.max_members, max_bytes)
    keys = ("path",) if isinstance(source.inside, FolderSource) else ("table", "images")
    places = {key: _below(root, getattr(source.inside, key), key) for key in keys}
    listing = read_source(source.inside.model_copy(update=places), work)
    return replace(listing, title=f"archive {plain_url(source.location)}")


def _below(root: Path, path: str, key: str) -> str:
    found = root / path
    if found.exists() and found.resolve().is_relative_to(root.resolve()):
        return str(found)
    held = sorted(str(entry.relative_to(root)) for pattern in ("*", "*/*") for entry in root.glob(pattern))
    raise SourceError(
        f"data.source.inside.{key} is {path!r}, which is not in the archive; it holds {held[:20]}."
        f"{nearest(path, held)} Correct it; it is relative to the archive's root, which is called '.'."
    )
