"""A number belongs to the model of its oldest line; a model without a number is found until a line gives it one."""

from meltpoint.registry.histories import owners, strays
from meltpoint.registry.ledger import AliasChange, VersionFacts


def line(hour: int, after: str, key: str, alias: str = "champion") -> AliasChange:
    facts = VersionFacts("m", 0.9, "d", "g", key)
    return AliasChange("shapes", alias, "1", after, "w", facts, when=f"2026-01-01T{hour:02}:00:00+00:00")


def test_the_older_model_keeps_its_number() -> None:
    one, other, later = line(1, "2", "a"), line(2, "2", "b"), line(3, "2", "b", "candidate")
    assert owners([one, other, later]) == {"2": "a"}
    assert strays([one, other, later]) == [other]
    assert strays([one, other, later, line(4, "3", "b", "number")]) == []


def test_of_two_at_one_time_each_clone_finds_the_same() -> None:
    one, other = line(1, "2", "a"), line(1, "2", "b")
    assert strays([one, other]) == strays([other, one]) == [other]


def test_a_line_without_a_fingerprint_owns_nothing() -> None:
    assert owners([line(1, "2", ""), line(2, "2", "b")]) == {"2": "b"}
    assert strays([line(1, "2", ""), line(2, "2", "b")]) == []
