"""The ledger only grows, a whole line at a time."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from meltpoint.registry.ledger import LEDGER, AliasChange, LedgerError, VersionFacts, latest_change, read_ledger
from meltpoint.registry.ledger import append as append_lines

ROOT = Path(__file__).parents[2]


def change(after: str | None, before: str | None = None, alias: str = "champion", act: str = "") -> AliasChange:
    facts = VersionFacts("shape/accuracy", 0.9, "d", "g", "k", "frozen", "t")
    return AliasChange("shapes", alias, before, after, "because", facts, {}, act)


def append(root: Path, *changes: AliasChange) -> None:
    append_lines(root, changes)


def test_a_line_says_everything(tmp_path: Path) -> None:
    append(tmp_path, change("2", "1", act="a"))
    line = json.loads((tmp_path / LEDGER).read_text())
    assert line.pop("when").endswith("+00:00")
    assert line == {
        "model": "shapes", "alias": "champion", "from": "1", "to": "2", "version": "2", "why": "because",
        "metric": "shape/accuracy", "value": 0.9, "data": "d", "git": "g", "key": "k", "strategy": "frozen",
        "trained": "t", "anchor": None, "aliases": {}, "act": "a", "who": None,
    }  # fmt: skip


def test_an_act_is_written_once(tmp_path: Path) -> None:
    first, second = change("1", act="a"), change("2", alias="previous", act="a")
    append(tmp_path, first)
    append(tmp_path, first, second)
    assert read_ledger(tmp_path) == [first, second]


def test_a_line_of_the_first_ledgers_is_read(tmp_path: Path) -> None:
    old = {"when": "2026-11-21T11:55:22+00:00", "from": None, "to": "1", "version": "1", "model": "shapes",
           "alias": "champion", "why": "good", "metric": "m", "value": 0.8, "data": "d", "git": "g",
           "key": "k"}  # fmt: skip
    (tmp_path / LEDGER).write_text(json.dumps(old) + "\n")
    append(tmp_path, change("2"))
    assert read_ledger(tmp_path)[0].as_row() == old | dict.fromkeys(
        ("strategy", "trained", "aliases", "act", "anchor", "who")
    )
    assert (tmp_path / LEDGER).read_text().splitlines()[0] == json.dumps(old), "what is written stays as it is"


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    append(tmp_path, change("1"))
    before, code = (tmp_path / LEDGER).read_bytes(), (
        "import resource, signal, sys; from pathlib import Path; from meltpoint.registry.ledger import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); root = Path(sys.argv[1]); lines = read_ledger(root)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)); append(root, lines * 9)"
    )  # fmt: skip
    asked = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "File too large" in asked.stderr
    assert (tmp_path / LEDGER).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlruns", LEDGER]


def test_the_last_line_of_an_alias_holds(tmp_path: Path) -> None:
    assert latest_change(tmp_path, "shapes", "champion") is None
    append(tmp_path, change("1"))
    append(tmp_path, change("1", alias="previous"))
    append(tmp_path, change("2", "1"))
    found = latest_change(tmp_path, "shapes", "champion")
    assert found is not None
    assert found.after == "2"


def test_an_alias_that_is_taken_away_names_its_version(tmp_path: Path) -> None:
    append(tmp_path, change(None, "3", "candidate"))
    assert (read_ledger(tmp_path)[0].as_row()["to"], read_ledger(tmp_path)[0].as_row()["version"]) == (None, "3")


def test_many_at_once_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(tmp_path, change(str(number))), range(40)))
    assert sorted(int(change.after or 0) for change in read_ledger(tmp_path)) == list(range(40))


def test_a_line_cut_by_hand_does_not_swallow_the_next(tmp_path: Path) -> None:
    append(tmp_path, change("1"))
    (tmp_path / LEDGER).write_text((tmp_path / LEDGER).read_text().rstrip("\n"))
    append(tmp_path, change("2"))
    assert [change.after for change in read_ledger(tmp_path)] == ["1", "2"]


def test_a_line_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("[1, 2]\n{}\n")
    with pytest.raises(LedgerError, match=r"Line 1 .*git checkout -- promotions\.jsonl"):
        read_ledger(tmp_path)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> b\n", "conflict in git.*Delete the lines that begin with"),
        ('{"when": "2026', "the file ends in it.*Delete this line.*meltpoint adopt"),
    ],
)
def test_no_advice_loses_a_promotion(tmp_path: Path, text: str, remedy: str) -> None:
    append(tmp_path, change("1"))
    with (tmp_path / LEDGER).open("a") as file:
        file.write(text)
    with pytest.raises(LedgerError, match=f"Line 2 .*{remedy}"):
        read_ledger(tmp_path)


def test_git_merges_the_lines_of_two_branches(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        name = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run([*name, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "one")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    lines = [replace(change(str(day), act=str(day)), when=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2, 3)]
    for branch, line in (("one", lines[0]), ("two", lines[2])):
        git("checkout", "-q", "-B", branch)
        append(tmp_path, line)
        git("add", ".gitattributes", LEDGER)
        git("commit", "-qm", branch)
    git("checkout", "-q", "one")
    append(tmp_path, lines[1])
    git("commit", "-qam", "one more")
    git("merge", "-q", "two")
    assert read_ledger(tmp_path) == lines, "in the order of time"


def test_a_line_that_lacks_something_is_told(tmp_path: Path) -> None:
    append(tmp_path, change("1"))
    row = json.loads((tmp_path / LEDGER).read_text())
    (tmp_path / LEDGER).write_text(json.dumps({key: value for key, value in row.items() if key != "why"}) + "\n")
    with pytest.raises(LedgerError, match=r"Line 1 .* lacks 'why'.*git checkout -- promotions\.jsonl"):
        read_ledger(tmp_path)
