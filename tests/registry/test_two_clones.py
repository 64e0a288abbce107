"""Two clones with models of their own register in one store at once; one of them may die. The store has one history."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from finished_pipeline import House

from meltpoint.registry.store_history import unwritten_changes
from meltpoint.registry.versions import aliases, versions_of
from meltpoint.tracking.store import Store, open_store

pytestmark = pytest.mark.slow
REGISTER = """
import sys
from meltpoint.params.read import read_params
from meltpoint.registry import lease
from meltpoint.registry.register import register
from meltpoint.tracking.pipeline_state import read_state
lease.BEAT, lease.SILENCE = 0.5, float(sys.argv[1])
params = read_params()
state = read_state(params.register_.name, params.effective)
print("ready", flush=True)
sys.stdin.readline()
print(register(state, params.gate).sentence)
"""


@dataclass
class Clone:
    """A working tree that registers in the store of the team."""

    house: House
    uri: str

    def start(self, silence: float = 60.0) -> "subprocess.Popen[str]":
        """A process that has read all it needs, and registers when it is told to go."""
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.uri, "DVC_ROOT": str(self.house.folder)}
        process = subprocess.Popen(
            [sys.executable, "-c", REGISTER, str(silence)], cwd=self.house.folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                return process
        raise AssertionError("it ended before it was ready")

    def register(self) -> None:
        process = go(self.start())
        output, _ = process.communicate()
        assert process.returncode == 0, output

    def store(self) -> Store:
        return open_store("shapes", self.house.folder, self.uri)


def go(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


@pytest.fixture
def clones(finished: Path, tmp_path: Path) -> list[Clone]:
    found = []
    for number, name in enumerate(("first", "second")):
        shutil.copytree(finished, tmp_path / name)
        house = House(tmp_path / name)
        house.train("frozen", 10 + number)
        house.decide("frozen")
        found.append(Clone(house, f"sqlite:///{tmp_path / 'team.db'}"))
    assert aliases(found[0].store()) == {}  # the team's store is there
    return found


def check_history(clones: list[Clone]) -> None:
    """One champion; the gate judged each version; each champion followed the one before, in the store too."""
    store = clones[0].store()
    now, versions = aliases(store), versions_of(store)
    assert len(versions) == 2
    assert all("gate" in version.tags for version in versions.values())
    lines = {(line["act"], line["alias"]): line for clone in clones for line in clone.house.ledger()}
    reigns = {line["from"]: line["to"] for line in lines.values() if line["alias"] == "champion"}
    champion = None
    while champion in reigns:
        champion = reigns.pop(champion)
    assert not reigns, "a champion followed another one than the ledgers say"
    assert champion == now["champion"]
    if len(now) > 1:
        assert now.keys() in ({"champion", "previous"}, {"champion", "candidate"})
    for clone in clones:
        theirs = {(one.act, one.alias) for one in unwritten_changes(clone.store())}
        own = {(line["act"], line["alias"]) for line in clone.house.ledger()}
        assert own | theirs == lines.keys()


def test_two_at_once_end_with_one_champion(clones: list[Clone]) -> None:
    started = [clone.start() for clone in clones]
    for process in started:
        go(process)
    outputs = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(outputs)
    check_history(clones)


@pytest.mark.parametrize("seed", range(2))
def test_one_that_dies_in_the_middle_is_followed(clones: list[Clone], seed: int) -> None:
    draw = random.Random(seed)
    dying, living = clones
    one, other = dying.start(), living.start(silence=8.0)
    go(one), go(other)
    time.sleep(draw.uniform(0, 3))
    with suppress(ProcessLookupError):
        one.send_signal(signal.SIGKILL)
    one.communicate()
    output, _ = other.communicate()
    assert other.returncode == 0, output
    dying.register()
    check_history(clones)
