import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meltpoint.train import launch as module
from meltpoint.train.launch import LaunchError, run_workers
from meltpoint.train.worker import main


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that stands for the worker; write its source."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "WORKER", "double")
    return tmp_path / "double.py"


def test_each_worker_knows_its_place(tmp_path: Path, worker: Path) -> None:
    worker.write_text(
        "import os, pathlib, sys\n"
        "told = ' '.join(os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR'))\n"
        "pathlib.Path(sys.argv[1]).with_name('rank' + os.environ['RANK']).write_text(told)"
    )
    before = signal.getsignal(signal.SIGTERM)
    run_workers(tmp_path / "job.json", 3)
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(3)] == [f"{rank} 3 127.0.0.1" for rank in range(3)]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_crash_is_a_bug(tmp_path: Path, worker: Path) -> None:
    worker.write_text("raise SystemExit(5)")
    with pytest.raises(RuntimeError, match="Training process 1 of 1 crashed") as caught:
        run_workers(tmp_path / "job.json", 1)
    assert not isinstance(caught.value, LaunchError)


def test_a_place_where_machines_cannot_meet_is_refused_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        for meeting, reason in ((taken, "in use"), ("203.0.113.7:29400", "address"), ("gpu-1.invalid:29400", "known")):
            with pytest.raises(LaunchError, match=f"train.rendezvous is '{meeting}', .*{reason}"):
                run_workers(tmp_path / "job.json", 1, 2, meeting)


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "job.json")])
    with pytest.raises(LaunchError, match="There is no .*job.json on this machine"):
        main()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_go_when_their_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "double.py").write_text(
        "import os, pathlib, sys, threading, time\n"
        "from meltpoint.train.worker import end_with_parent\n"
        "threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()\n"
        "pathlib.Path(sys.argv[1]).with_name('pid').write_text(str(os.getpid())); time.sleep(600)"
    )
    code = (
        "import pathlib, sys; from meltpoint.train import launch; launch.WORKER = 'double';"
        "launch.run_workers(pathlib.Path(sys.argv[1]), 1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "job.json")], env=environment, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    parent.send_signal(number)
    parent.wait()
    worker = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_running(worker))


def is_running(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def wait_for(done: "object") -> None:
    deadline = time.monotonic() + 500  # a busy machine takes minutes to start two processes with torch
    while not done() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert done()  # type: ignore[operator]
