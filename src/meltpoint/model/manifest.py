"""The sha256 of every file of a model folder, written last: a folder that has a manifest is complete and unchanged."""

import re
from pathlib import Path
from typing import Any

from meltpoint.errors import UserError
from meltpoint.files import read_json, sha256_of, write_json

MANIFEST = "manifest.json"
MEND = "Restore the folder with `dvc checkout`, or train again."
MOST = 5  # names in a message
DIGEST = re.compile(r"[0-9a-f]{64}")


class ManifestError(UserError, RuntimeError):
    """The files of a model folder are not those that its manifest lists; `what` says which, in a few words."""

    def __init__(self, message: str, what: str = "its manifest cannot be read") -> None:
        super().__init__(message)
        self.what = what


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` over every other file that lies in `folder` or below it.

    Raises:
        ManifestError: something there is not a regular file.
    """
    names = _names(folder)
    if others := [name for name in names if not (folder / name).is_file()]:
        raise ManifestError(
            f"{folder} holds what is not a regular file: {_shorten(others)}. A model consists of regular files only."
            " Remove the others, and train again."
        )
    write_json(folder / MANIFEST, {"algorithm": "sha256", "files": {name: sha256_of(folder / name) for name in names}})


def has_manifest(folder: Path) -> bool:
    """Whether the folder has a manifest, a regular file: those that older versions wrote have none."""
    return (folder / MANIFEST).is_file()


def check_manifest(folder: Path) -> None:
    """Compare every file of `folder` with its manifest.

    Raises:
        ManifestError: a file has changed, is missing or was added, all are named; or the manifest cannot be read. A
            pipe, a device, a link to one, and an empty folder are never as they were saved.
    """
    listed, there = _read(folder / MANIFEST), set(_names(folder))
    changed = [name for name in sorted(listed.keys() & there) if _digest(folder / name) != listed[name]]
    faults = {"changed": changed, "missing": sorted(listed.keys() - there), "added": sorted(there - listed.keys())}
    told = "; ".join(f"{fault}: {_shorten(names)}" for fault, names in faults.items() if names)
    if told:
        raise ManifestError(
            f"The files of {folder} are not those that were saved. {told}. Only the files that {MANIFEST} lists are"
            f" loaded, to the byte. {MEND}",
            told,
        )


def _names(folder: Path) -> list[str]:
    """All that is in a folder but its manifest, as paths with slashes, sorted; of folders only those that are empty."""
    inside = list(folder.rglob("*"))
    filled = {above for path in inside for above in path.parents}
    return sorted({path.relative_to(folder).as_posix() for path in inside if path not in filled} - {MANIFEST})


def _digest(path: Path) -> str:
    """The sha256 of a regular file, or of one behind a link; no digest of what is none, or cannot be read."""
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError:
        return ""


def _read(path: Path) -> dict[str, str]:
    try:
        written = read_json(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}. It has to be JSON. {MEND}") from None
    files: Any = written.get("files") if isinstance(written, dict) else None
    if not isinstance(files, dict) or not all(_is_digest(value) for value in files.values()):
        raise ManifestError(f"{path} is no manifest: it has to list a sha256 for each file under `files`. {MEND}")
    return files


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
