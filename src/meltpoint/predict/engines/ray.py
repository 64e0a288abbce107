"""Engine `ray`: the processes of a Ray cluster. Tasks read, actors hold a model each, units lie in shared memory.

What a lost process had in hand is done again by another one. Parts are put together here, where each unit counts once.
Ray's processes talk to each other in pickles: see docs/ray.md on who may reach them. None of it is written or kept.
"""

import logging
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.errors import UserError
from meltpoint.predict.work import EngineError, Where, Work

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.exceptions import RayError

    from meltpoint.predict.work import Made

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what makes Ray listen on the loopback alone, on each system
MOST_BLOCKS = 10_000  # that the pieces are dealt in
BLOCK = 8_000_000  # bytes of units that an actor is given at once, and does again if it is lost
GO_ON = "Parts that are finished are kept: run the same command with --resume."

Units = dict[tuple[int, int], "pa.Table"]  # results by piece and place in it


def run(
    work: Work, pieces: Mapping[int, Sequence[str]], where: Where, tell: Callable[[int], object]
) -> "Iterator[tuple[int, pa.Table]]":
    """See `Engine`.

    Raises:
        EngineError: Ray is not installed, there is no such cluster, or it was lost.
        UserError: what `work` itself raises.
    """
    import pyarrow as pa

    results: defaultdict[int, Units] = defaultdict(dict)
    lengths: defaultdict[int, dict[int, int]] = defaultdict(dict)  # how many units a piece has, once that is known
    with _cluster(where.address):
        for row in _rows(work, pieces, where.workers):
            part, key, table = row["part"], (row["piece"], row["place"]), _unpack(row["unit"])
            if key not in results[part]:
                results[part][key] = table
                tell(len(table))
            if row["last"]:
                lengths[part][row["piece"]] = row["place"] + 1
            if len(lengths[part]) == len(pieces[part]) and len(results[part]) == sum(lengths[part].values()):
                units = results.pop(part)
                yield part, pa.concat_tables([units[key] for key in sorted(units)])
    if results:
        raise EngineError(f"The Ray cluster has given back {len(results)} parts with rows missing. {GO_ON}")


class Maker:
    """An actor: it opens the model once, from files that came through shared memory, and works on units."""

    def __init__(self, work: Work, files: list[Any]) -> None:
        import ray

        self.make: Made | Exception
        with tempfile.TemporaryDirectory() as folder:
            for name, content in ray.get(files[0]).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            try:
                self.make = work.open(Path(folder) if work.folder else None)
            except Exception as error:  # noqa: BLE001 - Ray would start an actor that fails here again for ever
                self.make = error

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """A table with one unit, which lies in shared memory, to one with its results."""
        if isinstance(self.make, Exception):
            raise self.make
        result = self.make(_unpack(batch["unit"][0]))
        return batch.set_column(batch.column_names.index("unit"), "unit", _pack(result))


def _rows(work: Work, pieces: Mapping[int, Sequence[str]], workers: int | None) -> Iterator[dict[str, Any]]:
    """The units of all pieces with their results, in whatever order."""
    import pyarrow as pa
    import ray
    from ray.exceptions import RayError

    todo = [
        {"part": part, "piece": number, "asked": piece}
        for part, own in pieces.items()
        for number, piece in enumerate(own)
    ]
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = (int(there.get(kind, 0)) for kind in ("CPU", "GPU"))
    if not cpus:
        raise EngineError("The Ray cluster has no CPU to work with. Start a node: ray start --address HOST:PORT")
    folder = work.folder
    names = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    files = ray.put({str(path.relative_to(folder or "")): np.fromfile(path, np.uint8) for path in names})

    def read(batch: pa.Table) -> Iterator[pa.Table]:
        """One row, a piece, to a row for each of its units."""
        units = iter(work.read(batch["asked"][0].as_py()))
        unit, place = next(units), 0
        while unit is not None:
            following = next(units, None)
            row = {"part": batch["part"], "piece": batch["piece"], "place": [place], "last": [following is None]}
            yield pa.table({**row, "unit": _pack(unit)})
            unit, place = following, place + 1

    blocks = min(len(todo), MOST_BLOCKS)
    try:
        read_units = ray.data.from_items(todo, override_num_blocks=blocks).map_batches(
            read, batch_size=1, batch_format="pyarrow", num_cpus=0, concurrency=min(cpus, blocks)
        )
        made = read_units.map_batches(
            Maker, batch_size=1, batch_format="pyarrow", num_cpus=1, num_gpus=1 if gpus else None,
            concurrency=min(workers or gpus or cpus, len(todo)),
            fn_constructor_kwargs={"work": work, "files": [files]},
        )  # fmt: skip
        for batch in made.iter_batches(batch_size=None, batch_format="pyarrow"):
            for place in range(len(batch)):
                yield {name: batch[name][place].as_py() for name in ("part", "piece", "place", "last")} | {
                    "unit": batch["unit"][place]
                }
    except RayError as error:
        raise _explain(error) from error


def _explain(error: "RayError") -> Exception:
    """What the user can mend among the causes of an error of Ray; a bug as it is; or that the cluster is lost."""
    from ray.exceptions import RayTaskError

    causes: list[BaseException] = [error]
    while following := getattr(causes[-1], "cause", None) or causes[-1].__cause__:
        causes.append(following)
    found = next(
        (cause for cause in causes if isinstance(cause, UserError) and not isinstance(cause, RayTaskError)), None
    )
    if found is not None or isinstance(error, RayTaskError):
        return found or error
    return EngineError(f"The Ray cluster is lost: {(str(error).splitlines() or [''])[0]} {GO_ON}")


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine's loopback for the time being."""
    given = {**QUIET, **({} if address else ALONE)}
    os.environ |= {name: os.environ.get(name, value) for name, value in given.items()}  # read when ray is imported
    try:
        import ray
        import ray.data
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise EngineError(
            f"The engine ray needs the package ray, which is not installed ({error}). Install the extra: pip install"
            f" -e '.[ray]'. If pip finds none, Ray has no build for Python {version} yet. Without it, --engine local"
            " does the same in this process."
        ) from None
    try:
        with _mute():
            dashboard = None if address else False
            ray.init(address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=50)
    except Exception as error:  # Ray has no error of its own for a start that fails
        why = (str(error).splitlines() or [""])[0]
        if address is None:
            raise EngineError(
                f"Ray cannot be started on this machine: {why} Try again, or use --engine local."
            ) from error
        raise EngineError(
            f"There is no Ray cluster at {address!r} that this machine is a node of ({why}). Make it one: ray start"
            " --address HOST:PORT; or the first one: ray start --head. Without --address Ray is started on this machine"
            " alone."
        ) from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.target_max_block_size = False, BLOCK
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _mute() -> Iterator[None]:
    """Nothing reaches standard error: Ray's core says there how much it will say. What goes wrong is an exception."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _pack(table: "pa.Table") -> "pa.Array":
    """A table as one cell: how it is laid out in memory, so that whoever unpacks it copies nothing."""
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    content = stream.getvalue()
    ends = pa.py_buffer(np.array([0, content.size], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, content])


def _unpack(cell: "pa.LargeBinaryScalar") -> "pa.Table":
    import pyarrow as pa

    return pa.ipc.open_stream(cell.as_buffer()).read_all()
