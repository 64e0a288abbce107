"""Finds files inside installed Python packages without importing them."""

from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from meltpoint.data.listing import SourceError, nearest


def find_package(package: str, file: str, place: str) -> Path:
    """The folder of a package, of several the one that holds `file`; `place` is the section of params.yaml.

    The package is not imported (only those above a dotted name).

    Raises:
        SourceError: it is not installed, or is no package.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        near = nearest(package, packages_distributions())
        raise SourceError(
            f"{place}.package is {package!r}, and no such package is installed.{near} "
            "Install it into .venv (its import name may differ from its name on an index), or correct the name."
        )
    folders = [Path(folder).absolute() for folder in spec.submodule_search_locations]
    return next((folder for folder in folders if (folder / file).is_file()), folders[0])


def require_entry(root: Path, path: str, key: str, package: str) -> Path:
    """`root`/`path`, which is there.

    Raises:
        SourceError: it is not; the message has the nearest name; `key` is its place in params.yaml.
    """
    wanted = root / path
    if wanted.exists():
        return wanted
    held = [str(entry.relative_to(root)) for entry in sorted(wanted.parent.glob("*"))] or [
        entry.name for entry in sorted(root.iterdir())
    ]
    raise SourceError(
        f"{key} is {path!r}, which is not in the package {package!r}; there are {held[:20]}."
        f"{nearest(path, held)} Correct it; it is relative to the package."
    )


def version_of(package: str) -> str:
    """The version of the distribution that a package came with; empty where it is not known."""
    names = packages_distributions().get(package.split(".")[0], [])
    try:
        return version(names[0]) if names else ""
    except PackageNotFoundError:
        return ""
