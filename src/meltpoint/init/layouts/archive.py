"""A zip or tar of class folders, or of a table with its images: unpacked to look, and left as it is."""

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from meltpoint.data.unpack import unpack
from meltpoint.files import sha256_of
from meltpoint.init.found import SCRATCH, SPREADSHEETS, Found, InitError, data_name, shown_path

STARTS = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # zip, gzip, bzip2, xz; a plain tar has its mark further on
INSIDE = ("coco", "voc", "masks", "table", "folder")
MEMBERS = 1_000_000
HINT = "Unpack it yourself, for example into datasets/, and run `meltpoint init` on the folder."


def find(root: Path, wanted: str | None) -> Found | None:
    """The archive at `root`, by what is in it; None if it is none.

    Raises:
        ArchiveError: it is damaged or dangerous.
        InitError: it holds what the pipeline reads from a folder only, or nothing that is known.
    """
    if not root.is_file() or root.suffix.lower() in SPREADSHEETS:
        return None
    with root.open("rb") as file:
        start = file.read(262)
    if not start.startswith(STARTS) and start[257:262] != b"ustar":
        return None
    max_bytes = shutil.disk_usage(Path()).free // 2
    inner = unpack(root, SCRATCH.absolute() / "unpacked" / data_name(root), MEMBERS, max_bytes)
    for kind in INSIDE:
        found: Found | None = import_module(f"meltpoint.init.layouts.{kind}").find(inner, wanted)
        if found is None:
            continue
        if found.table is not None or found.source["kind"] not in ("folder", "csv"):
            raise InitError(f"{root} holds {found.layout}, which is read from a folder only. {HINT}")
        return _packed(found, root, inner)
    raise InitError(f"{root} holds neither class folders nor a table of images. {HINT}")


def _packed(found: Found, root: Path, inner: Path) -> Found:
    content = list(inner.rglob("*"))
    size = sum(path.stat().st_size for path in content if path.is_file())
    keys = ("path",) if found.source["kind"] == "folder" else ("table", "images")
    paths = {key: (Path.cwd() / found.source[key]).relative_to(inner).as_posix() for key in keys}
    source = {
        "kind": "archive",
        "location": shown_path(root),
        "sha256": sha256_of(root),
        "max_members": max(1000, 2 * len(content)),
        "max_gigabytes": max(1.0, round(2 * size / 1e9, 1)),
        "inside": {**found.source, **paths},
    }
    return replace(found, source=source, layout=f"an archive of {found.layout}")
