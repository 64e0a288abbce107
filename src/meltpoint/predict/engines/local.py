"""Engine `local`: this process, part by part, in order; the next unit is read while the model works."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from meltpoint.predict.work import EngineError, Where, Work
from meltpoint.prefetch import map_ahead

if TYPE_CHECKING:
    import pyarrow as pa


def run(
    work: Work, pieces: Mapping[int, Sequence[str]], where: Where, tell: Callable[[int], object]
) -> "Iterator[tuple[int, pa.Table]]":
    """See `Engine`.

    Raises:
        EngineError: it was told to work elsewhere.
    """
    import pyarrow as pa

    if where != Where():
        raise EngineError(
            "The engine local works in this process alone: it takes neither an address nor a number of workers. Leave"
            " them out, or choose the engine ray."
        )
    make = work.open(work.folder)
    for part, own in pieces.items():
        units = (unit for piece in own for unit in work.read(piece))
        done: list[pa.Table] = []
        for table in map_ahead(make, units, 1, 1):
            done.append(table)
            tell(len(table))
        yield part, pa.concat_tables(done)
