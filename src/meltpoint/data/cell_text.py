"""A value of JSON or parquet as the text of a table's cell."""

from typing import Any

from meltpoint.data.listing import is_text
from meltpoint.tables import PRESENT


def cell_of(value: Any) -> str | None:
    """A value as the text of a cell: nothing is empty, a list is joined by `|`; None: what no cell can hold."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        cells = [cell_of(one) for one in value]
        whole = [cell for cell in cells if cell is not None and PRESENT not in cell]
        return PRESENT.join(whole) if len(whole) == len(cells) else None
    if isinstance(value, dict | bytes):
        return None
    text = str(value).strip()
    return text if is_text(text) else None
