"""The engine ray on a real cluster of two nodes on this machine: processes are killed, and no row is lost or twice."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import ray_jobs
from predict.test_scoring import make_sources, read_rows
from train.test_embed import build, store

from meltpoint import parts
from meltpoint.cli import run
from meltpoint.params.training import Embed
from meltpoint.predict.engines import ray as engine
from meltpoint.predict.work import EngineError, Where
from meltpoint.train.embed import embed

if TYPE_CHECKING:
    from saved_models import Kit

TESTS = Path(__file__).parents[1]
pytestmark = [pytest.mark.ray, pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")]


@dataclass(frozen=True)
class Cluster:
    """Two nodes with a CPU each; `environment` is what programs need that belong to it."""

    address: str
    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], env=self.environment, capture_output=True, text=True, check=False
        )


@contextmanager
def node(environment: dict[str, str], *words: str) -> Iterator[str]:
    """A node while the context lasts: what it said when it ran."""
    common = ["--num-cpus=1", "--object-store-memory=100000000", "--dashboard-agent-listen-port=0", "--block"]
    with subprocess.Popen(
        [sys.executable, str(TESTS / "ray_jobs.py"), "node", *words, *common], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            told = ""
            for line in process.stdout:
                told += line
                if "--block" in line:  # the last thing that is said: it stays, and waits
                    break
            assert process.poll() is None, told
            yield told
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(family)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ, **engine.QUIET, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_memory_monitor_refresh_ms": "0",  # what else runs on this machine is no reason to kill, and
        "RAY_worker_niceness": "0",  # none to wait
    }  # fmt: skip
    short = {"prefix": "r", "dir": "/tmp", "ignore_cleanup_errors": True}  # sockets lie there: their names have a limit
    with tempfile.TemporaryDirectory(**short) as folder:
        head = node(environment, "--head", "--port=0", "--include-dashboard=false", f"--temp-dir={folder}")
        with head as told:
            address = next(word for word in told.replace("'", " ").split() if word.startswith("127.0.0.1:"))
            with node(environment, f"--address={address}"):
                del environment[engine.AUTH]  # who joins has the token alone
                yield Cluster(address, {**environment, **engine.ALONE})


@pytest.fixture
def photos(tmp_path: Path, kit: "Kit") -> list[str]:
    return make_sources(tmp_path, kit)


def read_bytes(out: Path, names: str = "part-*") -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in out.glob(names)}


def test_what_lost_processes_had_in_hand_is_done_again(
    cluster: Cluster, tree_folder: Path, tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["predict", *photos, "--model", str(tree_folder), "--part", "3"]
    run([*words, "--out", str(tmp_path / "local")])
    local = read_bytes(tmp_path / "local")
    assert len(read_rows(tmp_path / "local")) == 21

    def do(way: str) -> subprocess.CompletedProcess[str]:
        out, marker = str(tmp_path / way), str(tmp_path / "marker")
        return cluster.run(str(TESTS / "ray_jobs.py"), way, str(tree_folder), out, cluster.address, marker, *photos)

    done = do("worker")
    assert (tmp_path / "marker").exists(), f"a worker was killed\n{done.stderr}"
    printed = r"18 pictures answered, 3 cannot be used .*\nembed: writing .*\n"
    assert re.fullmatch(printed, done.stdout), done.stdout + done.stderr
    assert read_bytes(tmp_path / "worker") == local
    check_features(tmp_path / "embedding", monkeypatch)

    assert do("driver").returncode == -signal.SIGKILL
    out = tmp_path / "driver"
    (finished,) = out.glob("part-*")
    assert not (out / "_summary.json").exists()
    stamp = finished.stat().st_mtime_ns
    run([*words, "--out", str(out), "--resume"])  # with either engine
    assert read_bytes(out) == local
    assert finished.stat().st_mtime_ns == stamp


def test_a_command_that_is_told_to_end_ends_with_all_its_processes(
    tree_folder: Path, tmp_path: Path, photos: list[str]
) -> None:
    """Ray's own answer to SIGTERM is an abort after three seconds, and agents that stay."""
    out, family = tmp_path / "out", tmp_path / "family"
    words = ["predict", photos[0], "--model", str(tree_folder), "--part", "3", "--out", str(out), "--engine", "ray"]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    stopped = subprocess.run(
        [sys.executable, str(TESTS / "ray_jobs.py"), "stop", str(family), *words],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert stopped.stdout == ""
    said = re.sub("predict: .*[\r\n]", "", stopped.stderr).strip()
    assert said == "meltpoint: stopped. What is complete is kept; the same command with --resume continues from there."
    ids = [int(one) for one in family.read_text().split()]
    assert ids
    assert [one for one in ids if psutil.pid_exists(one)] == []
    assert len(list(out.glob("part-*"))) == 1
    assert list(out.glob(".part-*")) == []


def check_features(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came of a cluster, in files of a fixed size, are those of this process, to the bit."""
    assert (folder / "killed").exists(), "a worker was killed"
    monkeypatch.setattr(parts, "PART_BYTES", ray_jobs.PART_BYTES)
    embed(build(), store(folder / "views", ray_jobs.VIEWS), Embed(batch=3, max_gb=1), folder / "here")
    features = read_bytes(folder / "features", "*")
    assert len([name for name in features if re.search("augmented-.*-of-", name)]) > 2
    assert features == read_bytes(folder / "here", "*")


def test_nothing_listens_for_others(cluster: Cluster) -> None:
    ours = [one for one in psutil.process_iter() if cluster.address in " ".join(safe_words(one))]
    assert sum("raylet" in safe_words(one)[0] for one in ours) == 2
    heard = {where.laddr.ip for one in ours for where in one.net_connections() if where.status == psutil.CONN_LISTEN}
    assert heard
    assert heard <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def safe_words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [""]
    except psutil.Error:  # it has ended meanwhile
        return [""]


def test_without_the_extra_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in {**engine.QUIET, **engine.ALONE}:  # which the engine sets, and other tests go without
        monkeypatch.setenv(name, "")
    with pytest.raises(
        EngineError,
        match=r"pip install -e '.\[ray\]'.*--engine local does the same in this process, as embedding does without",
    ):
        next(iter(engine.run(None, {}, Where(), print)))  # type: ignore[arg-type]
