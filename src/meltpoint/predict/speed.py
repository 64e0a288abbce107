"""What predicting costs on this machine: latency, throughput, size, memory. Images are noise, which costs the same."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from meltpoint.arrays import Pixels
from meltpoint.model.card import Card
from meltpoint.params.judging import Evaluate
from meltpoint.predict.predictor import Predictor
from meltpoint.progress import megabytes, peak_megabytes, track
from meltpoint.terminal import say

ROUNDS = 9  # in each of which models take turns, beginning with another one each time
WARM_UP = 3  # predictions of each model before the clock starts
BATCHES = 5  # of each model for the throughput, of which the median counts
FELT = 0.05  # a model is slower if it is by more than this share: equal networks differ by where they lie in memory
RISK = 0.05  # of calling one slower that is not
CALM = 0.15  # spread of a model's rounds, as a share of their median, up to which the machine is quiet enough
ATTEMPTS = 3  # measurements at most, where the machine is busy

Seconds = NDArray[np.float64]
Attempt = dict[str, Seconds]  # of single images, (ROUNDS, runs) of each model
Clock = Callable[[], float]


class Timed(Protocol):
    """A model, as far as it is asked here."""

    @property
    def card(self) -> Card:
        """What the model says of itself."""

    def probabilities(self, images: Pixels) -> Mapping[str, NDArray[np.float32]]:
        """Images uint8 (N, S, S, 3) of the card's size to the probabilities of each head."""

    def fit_batch(self, batch: int) -> int:
        """How many images go through the model at once where `batch` are asked for."""


def measure_weight(predictor: Predictor) -> dict[str, float]:
    """What needs no clock.

    `parameters`, `trainable_parameters`, `megabytes` of the model folder (10**6 bytes), and `peak_megabytes` this
    process has held.
    """
    return {
        "parameters": predictor.parameters,
        "trainable_parameters": predictor.card.trainable_parameters,
        "megabytes": round(megabytes(predictor.folder), 3),
        "peak_megabytes": round(peak_megabytes(), 1),
    }


def measure_speeds(
    predictors: Mapping[str, Timed], settings: Evaluate, clock: Clock = time.perf_counter, stage: str = "speed"
) -> dict[str, Any]:
    """From pixels in memory to probabilities in memory, preparation included: all models in turn, in this process.

    Each round times some single images of every model, `settings.latency_runs` or a few more in all, the models by
    turns; where the machine was too busy, all of it again, and the calmest measurement counts. By strategy:
    `latency_p50_ms` (see `compare_latencies`) and `latency_p95_ms`; `latency_tied_ms`, that of the fastest model it
    cannot be distinguished from, `tied_with`; `rounds_ms`, the median of each round; `throughput_per_second` in batches
    of `settings.batch` or as many as fit.
    Besides `attempts`, `unrest` of the one that counts, and whether the machine was `busy` in all of them.
    """
    noise: dict[str, Pixels] = {}
    for name, predictor in predictors.items():
        side = predictor.card.images.side
        shape = (predictor.fit_batch(settings.batch), side, side, 3)
        noise[name] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for _ in range(WARM_UP):
            predictor.probabilities(noise[name][:1])
    attempts: list[Attempt] = []
    while len(attempts) < ATTEMPTS and (not attempts or _unrest(attempts[-1]) > CALM):
        told = f"latency again, {len(attempts) + 1} of {ATTEMPTS} at most" if attempts else "latency"
        attempts.append(_attempt(predictors, noise, -(-settings.latency_runs // ROUNDS), clock, told))
    best = min(attempts, key=_unrest)
    unrest = _unrest(best)
    if unrest > CALM:
        say(
            f"warning: the machine was busy with other work in each of {ATTEMPTS} measurements: rounds of the same"
            f" model spread by {unrest:.0%}. Speeds that could not be distinguished count as equal. For better ones"
            f" stop other work and run: dvc repro --force --single-item {stage}"
        )
    elif len(attempts) > 1:
        say(f"the machine was busy with other work: speeds were measured {len(attempts)} times, and the calmest counts")
    throughputs, rounds = _throughputs(predictors, noise, clock), _rounds(best)
    middle = {name: round(1000 * seconds, 3) for name, seconds in compare_latencies(attempts, best).items()}
    leaders = tie(rounds)
    strategies = {
        name: {
            "latency_p50_ms": middle[name],
            "latency_p95_ms": round(1000 * float(np.percentile(best[name], 95)), 3),
            "latency_tied_ms": middle[leaders[name]],
            "tied_with": [other for other in leaders if other != name and leaders[other] == leaders[name]],
            "rounds_ms": [round(1000 * float(value), 3) for value in rounds[name]],
            "throughput_per_second": round(throughputs[name], 2),
        }
        for name in predictors
    }
    return {"attempts": len(attempts), "unrest": round(unrest, 4), "busy": unrest > CALM, "strategies": strategies}


def compare_latencies(attempts: Sequence[Attempt], calm: Attempt) -> dict[str, float]:
    """Seconds that each model takes for an image, such that equal networks get equal ones though the machine is busy.

    How models differ is the median, over the turns of all `attempts`, of what each took beside the others of its turn:
    other work slows all of a turn. How fast they are together is the median of the attempt that was `calm`.
    """
    logs = [np.log(np.stack([attempt[name].ravel() for name in calm])) for attempt in attempts]  # (M, turns) each
    beside = np.concatenate([own - own.mean(axis=0) for own in logs], axis=1)
    apart = np.median(beside, axis=1)
    together = np.median(np.log(np.stack([calm[name].ravel() for name in calm])) - apart[:, None])
    return dict(zip(calm, np.exp(together + apart).tolist(), strict=True))


def tell_apart(fast: Seconds, slow: Seconds) -> bool:
    """Whether the second model is slower than the first, by medians (R,) of the same rounds.

    It is if it took over 5% longer in so many rounds that chance alone does it in 5% of cases at most: 8 of 9.
    """
    longer = int((slow > (1 + FELT) * fast).sum())
    return bool(bdtrc(longer - 1, len(fast), 0.5) <= RISK)  # the chance of so many rounds or more


def tie(rounds: Mapping[str, Seconds]) -> dict[str, str]:
    """Of each model the fastest one that it cannot be distinguished from, perhaps itself.

    The fastest of all leads those that cannot be distinguished from it, the fastest of the others the next. So ties do
    not chain: a model that is slower than the fastest is not tied to it by one in between.
    """
    waiting = sorted(rounds, key=lambda name: float(np.median(rounds[name])))
    leaders: dict[str, str] = {}
    while waiting:
        first = waiting[0]
        tied = [name for name in waiting if name == first or not tell_apart(rounds[first], rounds[name])]
        leaders |= dict.fromkeys(tied, first)
        waiting = [name for name in waiting if name not in tied]
    return leaders


def _attempt(
    predictors: Mapping[str, Timed], noise: Mapping[str, Pixels], runs: int, clock: Clock, told: str
) -> Attempt:
    names = list(predictors)
    seconds = {name: np.zeros((ROUNDS, runs)) for name in names}
    for number in track(range(ROUNDS), told, unit="round"):
        for run in range(runs):
            start = (number * runs + run) % len(names)
            for name in names[start:] + names[:start]:
                predictors[name].probabilities(noise[name][:1])  # the caches are its own again
                seconds[name][number, run] = _seconds(predictors[name], noise[name][:1], clock)
    return seconds


def _rounds(attempt: Attempt) -> dict[str, Seconds]:
    """The median (ROUNDS,) of each round of each model."""
    return {name: np.median(values, axis=1) for name, values in attempt.items()}


def _unrest(attempt: Attempt) -> float:
    """The largest distance between the quartiles of a model's rounds, as a share of their median."""
    edges = [np.percentile(values, [25, 50, 75]) for values in _rounds(attempt).values()]
    return max(float((high - low) / middle) if middle else 0.0 for low, middle, high in edges)


def _throughputs(predictors: Mapping[str, Timed], noise: Mapping[str, Pixels], clock: Clock) -> dict[str, float]:
    """Images a second."""
    for name, predictor in predictors.items():
        predictor.probabilities(noise[name])
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in track(range(BATCHES), "throughput", unit="round"):
        for name, predictor in predictors.items():
            seconds[name].append(_seconds(predictor, noise[name], clock))
    return {name: len(noise[name]) / max(median(own), 1e-9) for name, own in seconds.items()}


def _seconds(predictor: Timed, images: Pixels, clock: Clock) -> float:
    start = clock()
    predictor.probabilities(images)
    return clock() - start
