"""The gate: a report about today's test images, younger than the champion, within every limit."""

from typing import Any

import pandas as pd
import pytest

from meltpoint.errors import UserError
from meltpoint.registry.gate import GateError, check_age, check_ceilings, check_floors, check_split
from meltpoint.registry.ledger import AliasChange, VersionFacts

SCORES = {"test/shape/accuracy": 0.9, "val/shape/accuracy": 0.1, "test by class/shape circle f1": 0.2}


def test_every_floor_has_to_hold() -> None:
    assert check_floors(SCORES, {}).passed
    assert check_floors(SCORES, {"shape/accuracy": 0.9}).passed
    verdict = check_floors(SCORES, {"shape/accuracy": 0.95})
    assert not verdict.passed
    assert verdict.why == "shape/accuracy is 0.900 on test, below its floor 0.95"


def test_a_floor_of_nothing_is_told() -> None:
    with pytest.raises(GateError, match=r"'shape/acuracy'.*Measured are shape/accuracy\."):
        check_floors(SCORES, {"shape/acuracy": 0.5})


def test_every_ceiling_has_to_hold() -> None:
    costs = {"cost/latency_p95_ms": 12.5, "cost/megabytes": 14.0}
    assert check_ceilings(costs, {}).passed
    assert check_ceilings(costs, {"latency_p95_ms": 12.5, "megabytes": 20}).passed
    verdict = check_ceilings(costs, {"latency_p95_ms": 12, "megabytes": 13.5})
    assert not verdict.passed
    assert verdict.why == "latency_p95_ms is 12.5, above its ceiling 12; megabytes is 14, above its ceiling 13.5"


def test_a_ceiling_of_nothing_is_told(house: Any) -> None:
    with pytest.raises(GateError, match=r"'parameters'.*Measured are megabytes\. "):
        check_ceilings({"cost/megabytes": 1.0}, {"parameters": 5})
    house.edit(lambda raw: raw["register"].update(ceilings={"beauty": 1}))
    with pytest.raises(UserError, match=r"register\.ceilings\.beauty.*latency_p50_ms"):
        _ = house.params


def test_a_report_about_other_images_is_refused(house: Any) -> None:
    assert check_split(house.folder, "frozen").passed
    path = house.folder / "reports" / "strategies" / "frozen" / "predictions.parquet"
    table = pd.read_parquet(path)
    row = table.index[table["split"] == "test"][0]
    table.assign(split=table["split"].where(table.index != row, "val")).to_parquet(path)
    verdict = check_split(house.folder, "frozen")
    assert not verdict.passed
    assert "of today's 18 test images it lacks 1, and 0 of its own are not among them" in verdict.why
    table.assign(path=table["path"].where(table.index != row, "other.png")).to_parquet(path)
    assert "lacks 1, and 1 of its own are not among them" in check_split(house.folder, "frozen").why


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (("3", "2100-01-01T00:00:00+00:00"), False),
        (("3", "2020-01-01T00:00:00+00:00"), True),
        (("2", "2100-01-01T00:00:00+00:00"), True),
        (None, True),
    ],
    ids=["older", "younger", "another version", "no ledger"],
)
def test_a_report_older_than_the_champion_is_refused(house: Any, line: tuple[str, str] | None, passed: bool) -> None:
    facts = VersionFacts("m", 0.9, "d", "g", "k")
    change = AliasChange("shapes", "champion", None, line[0], "", facts, when=line[1]) if line else None
    verdict = check_age(house.folder, "frozen", "3", change)
    assert verdict.passed is passed
    assert ("is older than the champion, which is version 3 since 2100" in verdict.why) is not passed


def test_a_loss_has_no_floor() -> None:
    with pytest.raises(GateError, match="less is better"):
        check_floors({"test/shape/log_loss": 0.1}, {"shape/log_loss": 0.5})
