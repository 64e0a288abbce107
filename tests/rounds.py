"""Rounds in which two clones with models of their own register a new name at once on one server; one may be killed.

After each round the server, its record and both ledgers have to tell the same history: see `Team.check`.
"""

import random
import shutil
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from finished_pipeline import House, Tracked
from warm_process import WarmProcess

from meltpoint.registry.ledger import changes_of
from meltpoint.registry.plan import PLAN_FILE
from meltpoint.registry.promotion import adopt
from meltpoint.registry.rescoring import rescore
from meltpoint.registry.store_history import disagreements, unwritten_changes
from meltpoint.registry.version_files import fingerprint
from meltpoint.registry.versions import CANDIDATE, CHAMPION, PREVIOUS, aliases, find_version, versions_of
from meltpoint.tracking.store import Store, open_store

SILENCE = 10.0  # seconds, instead of a minute
KILLS = {"promotion.0": 40, "meltpoint.plan": 12}  # one dies at one of so many changes since the lease, since the plan
REGISTER, REFUSED, KILLED = ("register",), 1, -signal.SIGKILL
AFTER_A_KILL = (REGISTER, ("command", "sync"), ("command", "doctor", "--repair"))
TEAM_STAGES = Path(__file__).parent / "team_stages"


@dataclass
class Clone:
    """A working tree with a model, a ledger and a user of its own."""

    house: House
    warm: WarmProcess
    uri: str
    model: str = ""  # the name of the registered one

    @property
    def name(self) -> str:
        return self.house.folder.name

    @property
    def store(self) -> Store:
        return open_store(self.model, self.house.folder, self.uri)

    def rename(self, model: str) -> None:
        """The model is registered under a new name from now on."""
        self.model = model
        self.house.edit(lambda raw: raw["register"].update(name=model))
        (self.house.folder / "promotions.jsonl").unlink(missing_ok=True)

    def version(self) -> str | None:
        """The version that was made of the model."""
        found = find_version(self.store, fingerprint(self.house.folder / "models" / "frozen"))
        return str(found.version) if found else None

    def passes(self, champion: "Clone") -> bool:
        """What the gate has to say of the model against another clone's, whose files are taken from that clone."""
        files = champion.house.folder / "models" / "frozen"
        return rescore(self.house.state, "frozen", files, "the champion", self.house.params.gate).verdict.passed

    def run(self, words: tuple[str, ...], kill: tuple[str, int] | None = None) -> tuple[int, str, float]:
        """The exit code of a stage or command, what it printed, and its seconds."""
        start = time.monotonic()
        self.warm.start(words, kill=kill)
        return self.warm.end(), self.warm.said(), time.monotonic() - start


@dataclass
class Tally:
    """What happened in all rounds."""

    rounds: int = 0
    wins: dict[str, int] = field(default_factory=dict)  # who was the first champion, by the name of the clone
    replaced: int = 0  # champions that the other clone's model replaced
    waits: int = 0  # registers that waited for another one
    kills: int = 0
    behind: int = 0  # aliases that a ledger did not explain, and the product did
    seconds: list[float] = field(default_factory=list)  # of each `register` that ended well
    violations: list[str] = field(default_factory=list)


class Team:
    """Two clones of one server."""

    def __init__(self, clones: Sequence[Clone], seed: int) -> None:
        self.clones, self.draw, self.tally = clones, random.Random(seed), Tally()

    def round(self, model: str, kill: bool) -> None:
        """Both register `model` at once, and one is killed if asked; who did not win is evaluated and tries again."""
        for clone in self.clones:
            clone.rename(model)
            clone.house.train("frozen", self.draw.randrange(10**6))
            clone.house.decide("frozen")
        dying, remedy = self.draw.choice(self.clones) if kill else None, self.draw.choice(AFTER_A_KILL)
        if dying and remedy != REGISTER and isinstance(dying.house, Tracked):
            dying.house.commit("--amend")  # what `sync` shows is what git and DVC know
        codes = self.run(self.clones, REGISTER, dying)
        if dying and codes[dying.name] == KILLED:
            self.tally.kills += 1
            self.run([dying], remedy)
        self.run([clone for clone in self.clones if codes[clone.name] != 0], REGISTER)
        *_, champion = reigns = self.check()
        self.tally.wins[reigns[0]] = self.tally.wins.get(reigns[0], 0) + 1
        others = [clone for clone in self.clones if clone.name != champion]
        for clone in others:  # a report that is older than the champion is not compared with it
            clone.house.evaluate("frozen")
        self.run(others, REGISTER)
        self.tally.replaced += len(self.check()) - 1
        self.catch_up()
        self.tally.rounds += 1

    def run(self, clones: Sequence[Clone], words: tuple[str, ...], dying: Clone | None = None) -> dict[str, int]:
        """Run a stage or command in clones at once, and kill it in one that is `dying`; the exit codes."""
        mark = self.draw.choice(list(KILLS))
        kills = [(mark, self.draw.randrange(KILLS[mark])) if clone is dying else None for clone in clones]
        codes = {}
        with ThreadPoolExecutor(len(self.clones)) as pool:
            ended = [pool.submit(clone.run, words, kill) for clone, kill in zip(clones, kills, strict=True)]
        for clone, kill, one in zip(clones, kills, ended, strict=True):
            codes[clone.name], said, seconds = one.result()
            self.tally.waits += "waiting for it to end" in said
            self.tally.seconds += [seconds] if words == REGISTER and codes[clone.name] == 0 else []
            expected = (0, KILLED) if kill else (0,) if words == REGISTER else (0, REFUSED)
            self.expect("Traceback" not in said and codes[clone.name] in expected, f"{clone.name} {words}: {said}")
        return codes

    def check(self) -> list[str]:
        """One champion; each version judged, and none promoted past the gate; ledgers and server tell one history.

        Whose models were champions, oldest first.
        """
        store, histories = self.clones[0].store, []
        for clone in self.clones:
            known = [*changes_of(clone.house.folder, clone.model), *unwritten_changes(clone.store)]
            histories.append({(line.act, line.alias): line for line in known})
            self.expect(not (clone.house.folder / PLAN_FILE).exists(), f"{clone.name} has a plan left")
            gaps = [one for one in disagreements(clone.store) if not one.mover]
            self.expect(not gaps, f"{clone.name} cannot explain {gaps}")
        self.expect(histories[0].keys() == histories[1].keys(), f"the histories differ: {histories}")
        versions = versions_of(store).values()
        self.expect(len(versions) == len(self.clones), f"there are {len(versions)} versions")
        self.expect(all("gate" in one.tags for one in versions), "a version was not judged")
        leases = store.client.search_experiments(filter_string=f"name LIKE '{store.name}.promotion%'")
        self.expect(not leases, f"leases are left: {[one.name for one in leases]}")
        lines = [line for line in histories[0].values() if line.alias == CHAMPION]
        reigns = {line.before: str(line.after) for line in lines}
        self.expect(len(reigns) == len(lines), f"two took the same place: {lines}")
        return self.check_reigns(reigns, aliases(store))

    def check_reigns(self, reigns: dict[str | None, str], now: dict[str, str]) -> list[str]:
        """Each champion followed the one before, by the gate's leave, and the aliases say where that ended."""
        owners = {clone.version(): clone for clone in self.clones}
        champions: list[str] = []
        while (last := champions[-1] if champions else None) in reigns:
            champions.append(reigns.pop(last))
            if last is not None:
                leave = owners[champions[-1]].passes(owners[last])
                self.expect(leave, f"version {champions[-1]} took the place of {last} past the gate")
        self.expect(not reigns, f"champions that did not follow the one before: {reigns}")
        expected = dict(zip((CHAMPION, PREVIOUS), reversed(champions), strict=False))
        found = {alias: version for alias, version in now.items() if alias != CANDIDATE}
        self.expect(bool(champions) and found == expected, f"the aliases are {now}, and the ledgers say {expected}")
        return [owners[version].name for version in champions] or ["nobody"]

    def catch_up(self) -> None:
        """After `meltpoint adopt` a clone that was behind has the ledger of the other."""
        self.tally.behind += sum(len(disagreements(clone.store)) for clone in self.clones)
        ledgers = []
        for clone in self.clones:
            adopt(clone.store)
            ledgers.append({(line.act, line.alias) for line in changes_of(clone.house.folder, clone.model)})
            self.expect(not disagreements(clone.store), f"{clone.name} is behind after `meltpoint adopt`")
        self.expect(ledgers[0] == ledgers[1], f"ledgers differ after `meltpoint adopt`: {ledgers}")

    def expect(self, holds: bool, otherwise: str) -> None:
        """Write a violation down where something does not hold."""
        if not holds:
            self.tally.violations.append(f"{self.clones[0].model}: {otherwise}")


def team(finished: Path, folder: Path, uri: str, seed: int) -> Team:
    """Two copies of a finished pipeline, as repositories of git and DVC, that use the server at `uri`."""
    clones = []
    for name in ("Ada", "Bob"):
        shutil.copytree(finished, folder / name, ignore=shutil.ignore_patterns("mlruns"))
        house = Tracked(folder / name)
        house.edit(lambda raw: (raw["compare"].update(margin=0.3), raw["strategies"].pop("finetune")))
        house.begin()
        program = house.folder / "dvc.yaml"
        program.write_text(program.read_text().replace("    - finetune\n", ""))
        house.call("git", "config", "user.name", name)
        house.commit()
        warm = WarmProcess(house.folder, TEAM_STAGES, {"MLFLOW_TRACKING_URI": uri, "SILENCE": str(SILENCE)})
        clones.append(Clone(house, warm, uri))
    return Team(clones, seed)
