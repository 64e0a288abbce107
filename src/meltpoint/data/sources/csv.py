"""Source kind `csv`: a table of image paths, relative to a folder, and label columns."""

from pathlib import Path

from meltpoint.data.delimited import list_table
from meltpoint.data.listing import Listing, locate
from meltpoint.params.sources import CsvSource


def read(source: CsvSource, work: Path) -> Listing:  # noqa: ARG001  (every source takes a scratch folder)
    """List the rows of the table.

    Raises:
        SourceError: the table or the folder is missing, or the table does not hold what params.yaml says.
    """
    return list_table(source, locate(source.table), locate(source.images), f"csv {source.table}")
