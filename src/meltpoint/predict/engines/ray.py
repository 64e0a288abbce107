"""Engine `ray`: the processes of a Ray cluster. Tasks read, actors hold a model each, units lie in shared memory.

What a lost process had in hand is done again by another one. Parts are put together here, where each unit counts once.
Ray's processes talk to each other in pickles: see docs/ray.md on who may reach them. None of it is written or kept.
"""

import logging
import os
import socket
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from meltpoint.errors import Terminated, UserError, told_to_end
from meltpoint.predict.work import EngineError, LostError, Where, Work
from meltpoint.terminal import answers_alone, complain

if TYPE_CHECKING:
    import pyarrow as pa

    from meltpoint.predict.work import Made

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_BACKEND_LOG_LEVEL": "fatal",
         "RAY_COLOR_PREFIX": "0"}  # fmt: skip
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what makes Ray listen on the loopback alone, on each system
AUTH = "RAY_AUTH_MODE"  # `token`: who joins shows one; by itself Ray looks for it only where the address is `auto`
MOST_BLOCKS = 10_000  # that the pieces are dealt in
BLOCK = 8_000_000  # bytes of units that an actor is given at once, and does again if it is lost
OPEN = (
    "No token of Ray is here, so that this cluster asks for none: whoever reaches its ports can run programs on it."
    " Stop it, run ray get-auth-token --generate, copy ~/.ray/auth_token to each node, and start it again."
)

Units = dict[tuple[int, int], "pa.Table"]  # results by piece and place in it


def run(
    work: Work, pieces: Mapping[int, Sequence[str]], where: Where, tell: Callable[[int], object]
) -> "Iterator[tuple[int, pa.Table]]":
    """See `Engine`.

    Raises:
        EngineError: Ray is not installed, or there is no such cluster.
        LostError: it was lost.
        UserError: what `work` itself raises.
    """
    import pyarrow as pa

    results: defaultdict[int, Units] = defaultdict(dict)
    lengths: defaultdict[int, dict[int, int]] = defaultdict(dict)  # how many units a piece has, once that is known
    missing = set(pieces)
    with told_to_end(), _cluster(where.address):
        for row in _rows(work, pieces, where.workers):
            if row["fault"] is not None:
                raise UserError(row["fault"])
            part, key, table = row["part"], (row["piece"], row["place"]), _unpack(row["unit"])
            if key not in results[part]:
                results[part][key] = table
                tell(len(table))
            if row["last"]:
                lengths[part][row["piece"]] = row["place"] + 1
            if len(lengths[part]) == len(pieces[part]) and len(results[part]) == sum(lengths[part].values()):
                units = results.pop(part)
                missing.remove(part)
                yield part, pa.concat_tables([units[key] for key in sorted(units)])
    if missing:
        raise LostError(f"The Ray cluster has given back {len(missing)} parts with rows missing.")


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
        try:
            if isinstance(self.make, Exception):
                raise self.make
            if batch["fault"][0].is_valid:
                return batch
            return batch.set_column(
                batch.column_names.index("unit"), "unit", _pack(self.make(_unpack(batch["unit"][0])))
            )
        except UserError as error:
            return _fault(batch, error)


def _rows(work: Work, pieces: Mapping[int, Sequence[str]], workers: int | None) -> Iterator[dict[str, Any]]:
    """The units of all pieces with their results, in whatever order."""
    import pyarrow as pa
    import ray
    from ray.exceptions import RayError, RayTaskError

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
        piece = {"part": batch["part"], "piece": batch["piece"], "fault": pa.array([None], pa.string())}
        try:
            units = iter(work.read(batch["asked"][0].as_py()))
            unit, place = next(units), 0
            while unit is not None:
                following = next(units, None)
                row = {**piece, "place": [place], "last": [following is None], "unit": _pack(unit)}
                yield pa.table(row)
                unit, place = following, place + 1
        except UserError as error:
            yield _fault(
                pa.table({**piece, "place": [-1], "last": [True], "unit": pa.array([b""], pa.large_binary())}), error
            )

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
        batches: Iterator[Any] = iter(made.iter_batches(batch_size=None, batch_format="pyarrow"))
        for batch in batches:
            for place in range(len(batch)):
                row = {name: batch[name][place] for name in batch.column_names}
                yield {name: cell if name == "unit" else cell.as_py() for name, cell in row.items()}
    except RayTaskError:
        raise  # a bug
    except RayError as error:
        raise LostError(f"The Ray cluster is lost: {_first_line(error)}") from error


def _fault(row: "pa.Table", error: UserError) -> "pa.Table":
    """A row whose error goes to the user as it is: not every exception arrives whole by Ray's own way."""
    import pyarrow as pa

    return row.set_column(row.column_names.index("fault"), "fault", pa.array([str(error)]))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine's loopback for the time being.

    Ray sets its own handlers of SIGTERM, and one of them aborts this process three seconds later.
    """
    if address and address != "auto":
        _reach(address)
    given = {**QUIET, **({} if address else ALONE), **({AUTH: "token"} if address and _has_token() else {})}
    os.environ |= {name: os.environ.get(name, value) for name, value in given.items()}  # read when ray is imported
    try:
        import ray
        import ray.data
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise EngineError(
            f"The engine ray needs the package ray, which is not installed ({error}). Install the extra: pip install"
            f" -e '.[ray]'. If pip finds none, Ray has no build for Python {version} yet. Without it, --engine local"
            " does the same in this process, as embedding does without `engine`."
        ) from None
    try:
        with _mute():
            dashboard = None if address else False
            ray.init(address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=50)
    except SystemExit:  # by SIGTERM
        raise Terminated from None
    except Exception as error:  # Ray has no error of its own for a start that fails
        if address is None:
            raise EngineError(
                f"Ray cannot be started on this machine: {_first_line(error)} Try again, or use --engine local."
            ) from error
        raise _none_at(address, error) from None
    if address and os.environ.get(AUTH, "").lower() != "token":
        complain(OPEN)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.target_max_block_size = False, BLOCK
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with told_to_end(), answers_alone():  # what Ray says of lost processes is no answer
        try:
            yield
        finally:
            ours = psutil.Process().children(recursive=True) if address is None else []
            ray.shutdown(wait_for_processes=True)
            for one in ours:  # its agents would stay for a minute
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(ours)


def _has_token() -> bool:
    return (
        any(os.environ.get(f"RAY_AUTH_{name}") for name in ("TOKEN", "TOKEN_PATH"))
        or (Path.home() / ".ray" / "auth_token").exists()
    )


def _reach(address: str) -> None:
    """Refuse at once what does not answer: Ray would ask it for minutes.

    Raises:
        EngineError: nothing does at this HOST:PORT.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:  # of a host, of a text, of a number
        raise _none_at(address, error) from None


def _none_at(address: str, error: Exception) -> EngineError:
    return EngineError(
        f"There is no Ray cluster at {address!r} that this machine is a node of ({_first_line(error)}). Make it"
        " one: ray start --address HOST:PORT; or the first one: ray start --head. Without --address Ray is started"
        " on this machine alone."
    )


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
