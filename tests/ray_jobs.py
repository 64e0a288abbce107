"""What the tests of the engine ray run in processes of their own: nodes of a cluster, and jobs that are killed.

Nodes are those of `ray start`. Ray takes care that a machine's own address is not the loopback; these nodes are told
that it is, so that nothing of theirs can be reached from outside.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from train.test_embed import build, store

from meltpoint import cli, parts
from meltpoint.params.training import Embed
from meltpoint.predict import part_files, scoring
from meltpoint.predict.records import Question
from meltpoint.predict.work import Where
from meltpoint.tasks.opening import ModelOpening
from meltpoint.train import embed
from meltpoint.train.embedding import Embedding

PART_BYTES, VIEWS = 10_000, 31  # of a file of features; augmented ones of each image


@dataclass(frozen=True)
class FatalOpening(ModelOpening):
    """The first process that has opened the model is killed in the middle of its first unit; no other one is."""

    marker: str = ""

    def __call__(self, folder: Path) -> Any:
        model = super().__call__(folder)
        return Mortal(model, self.marker)

    def describe(self) -> dict[str, Any]:
        return ModelOpening().describe()


@dataclass(frozen=True)
class FatalEmbedding(Embedding):
    """The same for an encoder."""

    marker: str = ""

    def open(self, folder: Path | None) -> Callable[[Any], Any]:
        make = super().open(folder)

        def make_or_die(unit: Any) -> Any:
            made = make(unit)
            die_once(self.marker)
            return made

        return make_or_die


class Mortal:
    """A model that kills its process once, and answers afterwards in another one."""

    def __init__(self, model: Any, marker: str) -> None:
        self.model, self.marker = model, marker

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def look(self, *asked: Any) -> Iterator[Any]:
        for seen in self.model.look(*asked):
            die_once(self.marker)
            yield seen


def die_once(marker: str) -> None:
    """Kill this process, if none was before; the file says so."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def start_node(words: list[str]) -> None:
    """`ray start` with these words, on the loopback; it ends with standard input, which whoever started it holds."""
    from ray._private import services
    from ray.scripts.scripts import main

    services.get_node_ip_address = lambda address=None: "127.0.0.1"
    sys.argv = ["ray", "start", *words]
    threading.Thread(target=lambda: (sys.stdin.read(), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
    main()


def run_job(way: str, model: str, out: str, address: str, marker: str, given: list[str]) -> None:
    """A job in parts of three pictures; `way`: a worker is killed, or this process is, after its first part.

    Where a worker is killed, views are embedded, too: a process less for the tests.
    """
    opening = FatalOpening(marker=marker) if way == "worker" else ModelOpening()
    asked = scoring.Asked(
        given, Question(5, None, window=False), Path(out), 3, False, None, "ray", Where(address=address)
    )
    if way == "driver":
        write = part_files.PartFolder.write

        def write_and_die(*words: Any) -> None:
            write(*words)
            os.kill(os.getpid(), signal.SIGKILL)

        part_files.PartFolder.write = write_and_die  # type: ignore[method-assign]
    print(scoring.score(Path(model), opening, asked).sentence)
    run_embedding(Path(out).parent / "embedding", address)


def stop_command(family: str, words: list[str]) -> None:
    """A command of `meltpoint` that gets SIGTERM after its first part; the ids of its children go into a file."""
    write = part_files.PartFolder.write

    def write_and_stop(*asked: Any) -> None:
        write(*asked)
        ids = [str(one.pid) for one in psutil.Process().children(recursive=True)]
        Path(family).write_text("\n".join(ids))
        os.kill(os.getpid(), signal.SIGTERM)

    part_files.PartFolder.write = write_and_stop  # type: ignore[method-assign]
    sys.argv = ["meltpoint", *words]
    cli.main()


def run_embedding(folder: Path, address: str) -> None:
    """Embed views in small pieces, into files of `PART_BYTES`; a worker is killed."""
    pack = embed.pack_backbone
    embed.pack_backbone = lambda *asked: FatalEmbedding(**vars(pack(*asked)), marker=str(folder / "killed"))
    parts.PART_BYTES, embed.PIECE = PART_BYTES, 7
    asked = Embed(batch=3, max_gb=1, engine="ray", address=address)
    embed.embed(build(), store(folder / "views", VIEWS), asked, folder / "features")


if __name__ == "__main__":
    import ray_jobs  # by the name under which other processes find it

    verb, *rest = sys.argv[1:]
    if verb == "node":
        ray_jobs.start_node(rest)
    elif verb == "stop":
        ray_jobs.stop_command(rest[0], rest[1:])
    else:
        ray_jobs.run_job(verb, *rest[:4], rest[4:])
