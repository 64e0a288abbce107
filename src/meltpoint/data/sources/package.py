"""Source kind `package`: images and a table inside an installed Python package, whose code is never run."""

from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from meltpoint.data.delimited import list_table
from meltpoint.data.listing import Listing, SourceError, nearest
from meltpoint.params.data import PackageSource


def read(source: PackageSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the rows of the table inside the package.

    Raises:
        SourceError: the package is not installed, or does not hold what params.yaml says.
    """
    places = _places(source.package)
    root = next((place for place in places if (place / source.table).is_file()), places[0])
    for key, path in (("table", source.table), ("images", source.images)):
        _require(root, path, f"data.source.{key}", source.package)
    title = f"package {source.package} {_version(source.package)}".strip()
    return list_table(source, root / source.table, root / source.images, title)


def _places(package: str) -> list[Path]:
    """The folders of a package; finding it does not import it (only the packages above a dotted name)."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        near = nearest(package, packages_distributions())
        raise SourceError(
            f"data.source.package is {package!r}, and no such package is installed.{near} "
            "Install it into .venv (its import name may differ from its name on an index), or correct the name."
        )
    return [Path(place).absolute() for place in spec.submodule_search_locations]


def _require(root: Path, path: str, key: str, package: str) -> None:
    wanted = root / path
    if wanted.exists():
        return
    held = [str(entry.relative_to(root)) for entry in sorted(wanted.parent.glob("*"))] or [
        entry.name for entry in sorted(root.iterdir())
    ]
    raise SourceError(
        f"{key} is {path!r}, and the package {package!r} holds no such thing; there are {held[:20]}."
        f"{nearest(path, held)} Correct it; it is relative to the package."
    )


def _version(package: str) -> str:
    names = packages_distributions().get(package.split(".")[0], [])
    try:
        return version(names[0]) if names else ""
    except PackageNotFoundError:
        return ""
