"""Which images belong together according to the source: by a column of its table, or by a part of their paths."""

import re
from collections.abc import Collection, Sequence

import pandas as pd

from meltpoint.data.labels import NO_NAME
from meltpoint.data.listing import SourceError, nearest, shortened
from meltpoint.params.data import GroupPattern


def read_groups(
    columns: pd.DataFrame, paths: Sequence[str], group: str | GroupPattern | None, stated: Collection[str]
) -> pd.Series:
    """The declared group of each row, as strings; missing where there is none.

    `columns` are the source's, `paths` of the same rows; in the columns `stated` a word such as "none" is a name.

    Raises:
        SourceError: there is no such column, or the pattern is not in every path.
    """
    if group is None:
        return pd.Series(pd.NA, index=columns.index, dtype="string")
    if isinstance(group, GroupPattern):
        found = [re.search(group.pattern, path) for path in paths]
        missed = [path for path, one in zip(paths, found, strict=True) if one is None]
        if missed:
            raise SourceError(
                f"data.group.pattern is {group.pattern!r}, which is in {len(paths) - len(missed):,} of {len(paths):,} "
                f"paths; it is not in {shortened(missed)}. Every path has to match, from the folder of the source on. "
                "Correct it, add an empty alternative (pattern|) for images that are in no group, or set data.group to "
                "null."
            )
        # Its first group, or all that it matches; what is empty is no group of images.
        cells = [one[min(1, one.re.groups)] or None for one in found if one is not None]
        return pd.Series(cells, index=columns.index, dtype="string")
    if group not in columns.columns:
        known = [str(column) for column in columns.columns]
        raise SourceError(
            f"data.group is {group!r}, and the source has no such column; it has {known}.{nearest(group, known)} "
            "Correct it, set it to {pattern: ...} for a part of the paths, or to null."
        )
    named = columns[group].astype("string")
    return named.mask(named.str.casefold().isin(NO_NAME) & (group not in stated))
