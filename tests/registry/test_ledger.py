"""The ledger only grows, a whole line at a time."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meltpoint.registry.ledger import LEDGER, Change, LedgerError, append, holder, read


def change(after: str | None, before: str | None = None, alias: str = "champion") -> Change:
    return Change("shapes", alias, before, after, "because", "shape/accuracy", 0.9, "d", "g", "k")


def test_a_line_says_everything(tmp_path: Path) -> None:
    append(tmp_path, change("2", "1"))
    line = json.loads((tmp_path / LEDGER).read_text())
    assert line.pop("when").endswith("+00:00")
    assert line == {
        "model": "shapes", "alias": "champion", "from": "1", "to": "2", "version": "2", "why": "because",
        "metric": "shape/accuracy", "value": 0.9, "data": "d", "git": "g", "key": "k",
    }  # fmt: skip


def test_the_last_line_of_an_alias_holds(tmp_path: Path) -> None:
    assert holder(tmp_path, "shapes", "champion") is None
    append(tmp_path, change("1"))
    append(tmp_path, change("1", alias="previous"))
    append(tmp_path, change("2", "1"))
    found = holder(tmp_path, "shapes", "champion")
    assert found is not None
    assert found["to"] == "2"


def test_an_alias_that_is_taken_away_names_its_version(tmp_path: Path) -> None:
    append(tmp_path, change(None, "3", "candidate"))
    assert (read(tmp_path)[0]["to"], read(tmp_path)[0]["version"]) == (None, "3")


def test_many_at_once_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(tmp_path, change(str(number))), range(40)))
    assert sorted(int(line["to"]) for line in read(tmp_path)) == list(range(40))


def test_a_line_cut_by_hand_does_not_swallow_the_next(tmp_path: Path) -> None:
    append(tmp_path, change("1"))
    (tmp_path / LEDGER).write_text((tmp_path / LEDGER).read_text().rstrip("\n"))
    append(tmp_path, change("2"))
    assert [line["to"] for line in read(tmp_path)] == ["1", "2"]


def test_a_line_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("[1, 2]\n")
    with pytest.raises(LedgerError, match=r"Line 1 .*git checkout -- promotions\.jsonl"):
        read(tmp_path)
