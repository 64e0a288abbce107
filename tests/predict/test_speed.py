from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from meltpoint.params.judging import Evaluate
from meltpoint.predict.speed import ATTEMPTS, ROUNDS, measure_speeds, measure_weight, tell_apart, tie
from meltpoint.tasks.answerer import Answerer

SETTINGS = Evaluate(batch=5, calibration_bins=5, worst=1, latency_runs=45)
Array = np.ndarray[Any, Any]
Busy = Callable[[int], float]  # how many times as long the call of that number takes


class Machine:
    """A clock that only predictions move: each model takes its seconds an image, times what else goes on."""

    def __init__(self, busy: Busy = lambda call: 1.0) -> None:
        self.now, self.calls, self.busy = 0.0, [], busy  # type: tuple[float, list[tuple[str, int]], Busy]

    def clock(self) -> float:
        return self.now

    def model(self, name: str, seconds: float, side: int = 16) -> Answerer:
        def probabilities(images: Array) -> dict[str, object]:
            assert images.dtype == np.uint8
            assert images.shape[1:] == (side, side, 3)
            self.now += seconds * len(images) * self.busy(len(self.calls))
            self.calls.append((name, len(images)))
            return {}

        card = SimpleNamespace(images=SimpleNamespace(side=side), trainable_parameters=3)
        found = SimpleNamespace(probabilities=probabilities, card=card, fit_batch=lambda batch: batch - 1, parameters=8)
        return cast(Answerer, found)

    def measure(self, **seconds: float) -> dict[str, Any]:
        models = {name: self.model(name, own) for name, own in seconds.items()}
        return measure_speeds(models, SETTINGS, self.clock)


def test_it_measures_single_images_and_batches_of_all_models_in_turn() -> None:
    machine = Machine()
    found = machine.measure(small=0.010, large=0.040)
    assert (found["attempts"], found["unrest"], found["busy"]) == (1, 0, False)
    small, large = found["strategies"]["small"], found["strategies"]["large"]
    assert (small["latency_p50_ms"], small["latency_p95_ms"], small["throughput_per_second"]) == (10, 10, 100)
    assert (large["latency_p50_ms"], large["latency_tied_ms"], large["tied_with"]) == (40, 40, [])
    assert large["rounds_ms"] == [40] * ROUNDS
    singles = [name for name, images in machine.calls if images == 1]
    assert singles.count("small") == singles.count("large") > SETTINGS.latency_runs
    changes = sum(one != other for one, other in pairwise(singles))
    assert changes >= ROUNDS, "in turn, not one after the other"
    assert {images for _, images in machine.calls} == {1, 4}


def test_equal_networks_are_equal_though_the_machine_was_busy_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Measured one after the other, these were 7.65 and 29.4 ms: the second one's time was somebody else's."""
    found = Machine(lambda call: 4.0 if 60 <= call < 90 else 1.0).measure(first=0.00765, second=0.00765)
    first, second = found["strategies"]["first"], found["strategies"]["second"]
    assert first["latency_p50_ms"] == second["latency_p50_ms"] == 7.65
    assert first["latency_tied_ms"] == second["latency_tied_ms"]
    assert first["tied_with"] == ["second"]


def test_a_busy_machine_is_measured_again_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The first measurement is disturbed now and then, the second is not."""
    found = Machine(lambda call: 3.0 if call < 186 and call // 24 % 2 else 1.0).measure(first=0.01, second=0.02)
    assert (found["attempts"], found["busy"]) == (2, False)
    assert found["strategies"]["second"]["latency_p50_ms"] == 20
    told = capsys.readouterr()
    assert "speeds were measured 2 times" in told.out
    assert "latency again, 2 of 3 at most" in told.err


def test_what_slows_a_turn_slows_all_models_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """No two turns are equally fast here; in each the second network takes 2% longer. 6 calls warm up, 4 are a turn."""
    slow = np.random.default_rng(0).uniform(1, 9, 10_000)
    found = Machine(lambda call: float(slow[(call + 2) // 4])).measure(first=0.0100, second=0.0102)["strategies"]
    ratio = found["second"]["latency_p50_ms"] / found["first"]["latency_p50_ms"]
    assert ratio == pytest.approx(1.02, abs=0.002)


def test_one_that_is_never_quiet_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    slow = [float(factor) for factor in np.repeat(rng.uniform(1, 9, 200), 12)]
    found = Machine(lambda call: slow[call % len(slow)]).measure(first=0.0100, second=0.0102)
    assert (found["attempts"], found["busy"]) == (ATTEMPTS, True)
    assert len({own["latency_tied_ms"] for own in found["strategies"].values()}) == 1
    assert "warning: the machine was busy with other work in each of" in capsys.readouterr().out


@pytest.mark.parametrize(("longer", "apart"), [(9, True), (8, True), (7, False), (0, False)])
def test_speeds_are_told_apart_by_rounds(longer: int, apart: bool) -> None:
    fast, slow = np.full(9, 10.0), np.full(9, 10.4)  # 4% are not felt
    slow[:longer] = 10.6
    assert tell_apart(fast, slow) is apart


def test_equal_speeds_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(tell_apart(*rng.lognormal(0, 0.3, (2, ROUNDS))) for _ in range(1000))
    assert wrong <= 50


def test_ties_do_not_chain() -> None:
    """Each is tied with the next, and the third is not with the first."""
    rounds = {"c": np.full(9, 10.8), "a": np.full(9, 10.0), "b": np.full(9, 10.4)}
    assert tie(rounds) == {"a": "a", "b": "a", "c": "c"}


def test_a_model_is_weighed_without_a_clock(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1500)
    predictor = SimpleNamespace(folder=tmp_path, parameters=8, card=SimpleNamespace(trainable_parameters=3))
    costs = measure_weight(cast(Answerer, predictor))
    assert list(costs) == ["parameters", "trainable_parameters", "megabytes", "peak_megabytes"]
    assert (costs["parameters"], costs["trainable_parameters"], costs["megabytes"]) == (8, 3, 0.002)
    assert costs["peak_megabytes"] > 1
