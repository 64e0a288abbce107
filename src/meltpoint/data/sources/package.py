"""Source kind `package`: images and a table inside an installed Python package, whose code is never run."""

from pathlib import Path

from meltpoint.data.delimited import list_table
from meltpoint.data.listing import Listing
from meltpoint.data.packages import find_package, require_entry, version_of
from meltpoint.params.sources import PackageSource


def read(source: PackageSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the rows of the table inside the package.

    Raises:
        SourceError: the package is not installed, or does not hold what params.yaml says.
    """
    root = find_package(source.package, source.table, "data.source")
    for key, path in (("table", source.table), ("images", source.images)):
        require_entry(root, path, f"data.source.{key}", source.package)
    title = f"package {source.package} {version_of(source.package)}".strip()
    return list_table(source, root / source.table, root / source.images, title)
