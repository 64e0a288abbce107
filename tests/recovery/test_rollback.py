"""An earlier champion comes back after it answered as it did; what cannot be checked changes nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from meltpoint.errors import UserError
from meltpoint.files import read_json, write_json
from meltpoint.recovery.rollback import RollbackError, rollback
from meltpoint.registry.golden_answers import AnswersError
from meltpoint.registry.version_files import VersionError, fetch
from meltpoint.registry.versions import aliases
from meltpoint.tracking.store import Store, open_store


@pytest.fixture
def twice(house: Any) -> Store:
    """Two champions, one after the other."""
    house.register()
    house.train("frozen", 3)
    assert house.register().alias == "champion"
    return open_store("shapes")


def test_there_and_back_again(twice: Store, house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first = house.ledger()[0]
    told = rollback(twice, None, "blind at night")
    assert told.startswith("shapes version 1 is the champion again; version 2 is previous")
    assert "comparing it with the predictions stored with it" in capsys.readouterr().out
    assert aliases(twice) == {"champion": "1", "previous": "2"}
    champion, previous = house.ledger()[3:]
    assert (champion["alias"], champion["from"], champion["to"]) == ("champion", "2", "1")
    assert champion["why"] == "rollback from version 2: blind at night"
    assert [champion[name] for name in ("key", "value", "metric", "strategy", "trained")] == [
        first[name] for name in ("key", "value", "metric", "strategy", "trained")
    ]
    assert (previous["alias"], previous["from"], previous["to"]) == ("previous", "1", "2")
    assert champion["aliases"] == {"champion": "1", "previous": "1"}
    assert previous["aliases"] == aliases(twice)

    ledger = house.folder / "promotions.jsonl"  # later, the old report is offered again
    ledger.write_text(re.sub(r'"when": "\d{4}', '"when": "2100', ledger.read_text()))
    outcome = house.register()
    assert outcome.alias == "candidate"
    assert "is older than the champion, which is version 1 since 2100" in outcome.sentence

    rollback(twice, "2", None)
    assert aliases(twice) == {"champion": "2", "previous": "1"}, "a champion is no candidate"


@pytest.mark.parametrize(
    ("to", "message"),
    [("2", "Version 2 of shapes is the champion already"), ("9", "Version 9 of shapes was never champion"),
     ("one", "Version one of shapes was never champion.*Allowed are those that were: 1.")],
)  # fmt: skip
def test_what_was_no_champion_is_told(twice: Store, house: Any, to: str, message: str) -> None:
    with pytest.raises(RollbackError, match=message):
        rollback(twice, to, None)
    assert len(house.ledger()) == 3


def test_the_best_champion_so_far_is_not_forgotten(twice: Store, house: Any) -> None:
    before = [line["anchor"] for line in house.ledger() if line["alias"] == "champion"]
    rollback(twice, None, "")
    assert [line["anchor"] for line in house.ledger() if line["alias"] == "champion"] == [*before, before[-1]]


def test_a_first_champion_has_none_before_it(house: Any) -> None:
    house.register()
    with pytest.raises(RollbackError, match="no earlier champion of shapes to go back to: the champion is 1"):
        rollback(open_store("shapes"), None, None)


def refused(store: Store, error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message):
        rollback(store, None, None)
    assert aliases(store) == {"champion": "2", "previous": "1"}
    assert len((store.root / "promotions.jsonl").read_text().splitlines()) == 3


def test_a_version_that_mlflow_lacks_is_a_sentence(twice: Store) -> None:
    for alias in ("previous", "champion"):
        twice.client.delete_registered_model_alias("shapes", alias)
    twice.client.delete_model_version("shapes", "1")
    with pytest.raises(RollbackError, match=r"names version 1 of shapes, and MLflow has no such version.*doctor"):
        rollback(twice, "1", None)


def test_a_version_that_is_not_what_it_was_stays_where_it_is(twice: Store) -> None:
    files: Path = fetch("models:/shapes/1")
    expected = files.with_name("check") / "expected.json"
    said = read_json(expected)
    write_json(expected, [said[0] | {"shape.p.circle": 2.0}, *said[1:]])
    refused(twice, AnswersError, "does not answer as it did when it was registered: picture 0: shape.p.circle was 2.0")
    write_json(expected, said)

    card, content = files / "card.json", (files / "card.json").read_bytes()
    card.write_text(json.dumps(json.loads(content) | {"licence": "mine"}))
    refused(twice, RollbackError, "are not those that were registered: their digest is")
    card.write_bytes(content)

    files.rename(files.with_name("away"))
    refused(twice, VersionError, "its files are gone")
