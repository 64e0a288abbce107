import pytest

from meltpoint.compare.formatting import (
    amount,
    chance,
    cost,
    counted,
    duration,
    gain_of,
    gap_of,
    percent,
    points,
    price,
    ratio,
    spread_of,
    value_of,
)
from meltpoint.compare.intervals import Interval


def test_shares_and_differences() -> None:
    assert percent(0.8806) == "88.1%"
    assert percent(None) == "–"
    assert points(0.0384) == "+3.8"
    assert points(-0.0002) == points(0.0002) == "0.0"
    assert spread_of("accuracy", Interval(-0.008, 0.0041)) == "-0.8 to +0.4"
    assert [gap_of("accuracy", gap) for gap in (0.01, 0.005, 0.02)] == ["1 point", "0.5 points", "2 points"]


def test_losses_are_no_shares() -> None:
    assert value_of("log_loss", 0.3124) == "0.312"
    assert (gain_of("log_loss", 0.031), gain_of("accuracy", 0.031)) == ("+0.031", "+3.1")
    assert gap_of("log_loss", 0.01) == "0.01"
    assert (counted(1, "image"), counted(1234, "image")) == ("1 image", "1,234 images")


@pytest.mark.parametrize(
    ("p_value", "text"), [(0.0004, "p<0.001"), (0.0012, "p=0.001"), (0.06, "p=0.060"), (0.4, "p=0.40")]
)
def test_chances(p_value: float, text: str) -> None:
    assert chance(p_value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (1, "1 s"),
        (4.56, "4.6 s"),
        (12.3, "12 s"),
        (60, "1 min"),
        (469, "7.8 min"),
        (5400, "1.5 h"),
        (432000, "5 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts() -> None:
    assert (amount(950), amount(12_500), amount(3_413_024), amount(2.5e9)) == ("950", "12.5 k", "3.41 M", "2.5 G")
    assert cost("latency_p50_ms", 14.23) == "14.2 ms"
    assert cost("megabytes", 13.62) == "13.6 MB"
    assert cost("peak_megabytes", 1210.2) == "1,210 MB"
    assert cost("throughput_per_second", 88.4) == "88.4"


@pytest.mark.parametrize(
    ("mine", "other", "text"),
    [
        (90, 10, "9x the time"), (431, 11, "39x the time"), (7, 5, "1.4x the time"), (10, 90, "11% of the time"),
        (1, 900, "less than 1% of the time"), (14.2, 14.5, "about the same time"), (5, 5, "the same time"),
        (5, 0, "5 against 0 time"),
    ],
)  # fmt: skip
def test_ratios(mine: float, other: float, text: str) -> None:
    assert ratio(mine, other, "time") == text


def test_a_price_is_the_cost_that_decides_and_one_that_is_felt() -> None:
    mine, other = (
        {"train_seconds": seconds, "latency_p50_ms": 10, "parameters": parameters}
        for seconds, parameters in ((90, 5), (10, 6))
    )
    assert price(mine, other, "train_seconds") == "9x the training time and the same latency"
    assert price(mine, other, "latency_p50_ms") == "the same latency and 9x the training time"


def test_one_network_costs_as_much_to_run_whatever_the_clock_said() -> None:
    mine = {"train_seconds": 90, "latency_p50_ms": 30, "parameters": 5}
    other = {"train_seconds": 10, "latency_p50_ms": 10, "parameters": 5}
    assert price(mine, other, "train_seconds") == "9x the training time and as much to run"
