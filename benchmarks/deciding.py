"""How often the rule ships what it should not, how often each interval holds the truth: simulated, with known truth.

  python benchmarks/deciding.py                 all tables, as docs/deciding.md shows them (an hour or two)
  python benchmarks/deciding.py --draws 50      the same, rougher and sooner
  python benchmarks/deciding.py rule intervals  some of them

Images are drawn, and what each strategy says of them (`worlds`). Each line is a cell with a truth of its own; whatever
the code under test does with the draws is what a comparison or the gate does with predictions.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from scipy.stats import norm

from meltpoint.compare.intervals import Interval, tango_statistic
from meltpoint.compare.measured import Measured
from meltpoint.compare.verdict import Ruling, rule
from meltpoint.params.judging import Compare, Metric
from meltpoint.tasks.classification import paired as classification
from reporting import print_tables
from worlds import SHARED, World, draw, draw_masks, list_cells, make_groups

Table = Callable[[int], Iterator[str]]

MARGIN = 0.01
SIZES = (50, 200, 655, 2000, 10_000)
SCENARIOS: dict[str, Callable[[int], list[float]]] = {
    "all equal": lambda count: [0.9] * count,
    "the cheapest 2 points worse": lambda count: [0.88] + [0.9] * (count - 1),
    "all but the dearest 1 point worse": lambda count: [0.89] * (count - 1) + [0.9],
}


def settings(metric: Metric = "accuracy", margin: float = MARGIN) -> Compare:
    """The default's, but for the metric and the margin."""
    return Compare(metric=metric, margin=margin, confidence=0.95, cost="train_seconds")


def rule_table(draws: int) -> Iterator[str]:
    """What the rule ships, how often one that loses the margin or more to another, and what Tango's tests ship."""
    yield "| strategies | truth | test images | ships | ships one that loses the margin | Tango at 5%/(K-1) ships |"
    yield "|---|---|---|---|---|---|"
    for count in (2, 3, 6, 12):
        for title, truth in SCENARIOS.items():
            for images in SIZES:
                shipped, wrong, tango = ships(np.random.default_rng(count + images), images, truth(count), draws)
                yield f"| {count} | {title} | {images:,} | {shipped:.0%} | {wrong:.1%} | {tango:.0%} |"


def ships(rng: np.random.Generator, images: int, truth: list[float], draws: int) -> tuple[float, float, float]:
    """Shares of draws in which the rule ships, ships one that loses the margin, and Tango's tests ship."""
    found = []
    for _ in range(draws):
        test = draw(rng, images, truth)
        ruling = _rule(test.measure("accuracy"), draw(rng, images, truth).measure("accuracy"))
        loss = max(truth) - truth[int(ruling.winner)]
        shipped = ruling.verdict == "ship"
        found.append((shipped, shipped and loss > MARGIN - 1e-9, _tango_ships(test)))
    shipped, wrong, tango = np.mean(found, axis=0)
    return float(shipped), float(wrong), float(tango)


def _rule(test: Measured, val: Measured, margin: float = MARGIN) -> Ruling:
    """Strategies are called by their numbers, the cheapest first."""
    names = [str(number) for number in range(len(test.runs))]
    costs = {name: float(name) for name in names}
    return rule(names, test, names[int(val.scores.argmax())], costs, settings(margin=margin))


def _tango_ships(answers: classification.Answers) -> bool:
    """Whether Tango's one-sided tests at 5%/(K-1) let any strategy pass."""
    right = np.stack([own[0] for own in answers.predicted]) == answers.true
    least = norm.isf(0.05 / (len(right) - 1))

    def passes(first: int, second: int) -> bool:
        gained, lost = (right[first] & ~right[second]).sum(), (right[second] & ~right[first]).sum()
        return float(tango_statistic(lost, gained, len(answers.group), MARGIN)) <= -least

    count = range(len(right))
    return any(all(passes(first, second) for second in count if second != first) for first in count)


def needed_table(draws: int) -> Iterator[str]:
    """Where the verdict is open: the images that are said to settle it, beside those that do so in 80% of cases."""
    yield "| truth | test images | open | needed in truth | said, median | true number in the range said |"
    yield "|---|---|---|---|---|---|"
    for lost, images in ((0.0, 200), (0.0, 655), (0.02, 200)):
        rng, truth, said, still = np.random.default_rng(images), [0.9 - lost, 0.9], [], 0
        alone = 1 - SHARED * SHARED  # of the images, on which the two err independently
        differing = alone * (truth[0] * 0.1 + 0.9 * (1 - truth[0])) + (1 - alone) * lost
        power = norm.isf(0.2) if lost else norm.isf(0.6)  # of two equals either may pass
        more = differing * ((norm.isf(0.05) + power) / (MARGIN + lost)) ** 2 - images
        for _ in range(draws):
            ruling = _rule(draw(rng, images, truth).measure("accuracy"), draw(rng, images, truth).measure("accuracy"))
            still += ruling.verdict != "ship"
            said += [ruling.needed] if ruling.needed else []
        low, high = (median(getattr(one, end) for one in said) for end in ("low", "high"))
        holds = np.mean([one.low <= more <= one.high for one in said])
        yield (
            f"| {100 * lost:g} points apart | {images} | {still / draws:.0%} | {more:,.0f} more | "
            f"{low:,.0f} to {high:,.0f} more | {holds:.0%} |"
        )


def groups_table(draws: int) -> Iterator[str]:
    """Accuracies of images in groups: what intervals hold, and how often a loss at the margin is said to be smaller."""
    yield "| images | groups, sizes | alike | holds the score | holds the difference | a loss at the margin ruled out |"
    yield "|---|---|---|---|---|---|"
    cells = [
        (655, 655, 0.0),
        (200, 40, 0.0),
        (655, 131, 0.0),
        (2000, 400, 0.0),
        (655, 33, 0.0),
        (655, 20, 0.0),
    ]
    for images, count, uneven in [*cells, (655, 131, 1.0), (2000, 100, 1.0), (2000, 100, 2.0), (655, 20, 1.0)]:
        rng, found = np.random.default_rng(images + count), []
        for _ in range(draws):
            group = make_groups(rng, images, count, uneven)
            alike = 0.7 if count < images else 0.0
            measured = draw(rng, images, [0.88, 0.9], group, alike).measure("accuracy")
            score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
            assert score is not None
            assert difference is not None
            shown = measured.shows(0, 1, 0.02, 0.05)
            found.append((_holds(score, 0.88), _holds(difference.interval, -0.02), shown))
        shares = " | ".join(f"{share:.1%}" for share in np.mean(found, axis=0))
        sizes = f"log-normal, {uneven:g}" if uneven else "equal"
        yield f"| {images:,} | {count}, {sizes} | {alike:.0%} | {shares} |"


def seeds_table(draws: int) -> Iterator[str]:
    """Methods whose trainings spread by a point: how often the interval holds what one method gains over the other."""
    yield "| trainings of each | 655 images | 2,000 | 10,000 |"
    yield "|---|---|---|---|"
    for trainings in ([1, 1], [3, 3], [5, 5], [1, 5]):
        cells = []
        for images in (655, 2000, 10_000):
            rng = np.random.default_rng(images)
            held = [holds_seeds(rng, images, trainings) for _ in range(draws)]
            cells.append(f"{np.mean(held):.1%}")
        yield f"| {' and '.join(map(str, trainings))} | {' | '.join(cells)} |"


def holds_seeds(rng: np.random.Generator, images: int, trainings: list[int]) -> bool:
    """Whether the interval of a difference holds that of two equally good methods, trained so often each."""
    difference = draw(rng, images, [0.9, 0.9], trainings=trainings).measure("accuracy").difference(0, 1, 0.95)
    assert difference is not None
    return _holds(difference.interval, 0.0)


def intervals_table(draws: int) -> Iterator[str]:
    """How often the metric refuses, 95% intervals hold the truth, and a loss as large as the true one is ruled out."""
    yield "| metric | classes, largest to smallest | images | refuses | score | difference | falsely ruled out |"
    yield "|---|---|---|---|---|---|---|"
    for metric, classes, uneven, images, accuracy, sure in list_cells():
        world = World(np.random.default_rng(classes + images), classes, uneven, accuracy, sure)
        refused, *found = covers(world, metric, images, draws)
        holds = ["–" if np.isnan(share) else f"{share:.1%}" for share in found]
        tail = f", {sure:.2%} of one's answers wrongly sure" if sure else ""
        yield f"| {metric}{tail} | {classes}, {uneven:g}:1 | {images:,} | {refused:.0%} | {' | '.join(holds)} |"
    for images, shown in ((20, 1.0), (20, 0.5), (100, 0.3)):
        shares = covers_masks(np.random.default_rng(images), images, shown, draws)
        holds = [f"{share:.1%}" for share in shares]
        yield f"| miou | 4, the last on {shown:.0%} of images | {images} | | {' | '.join(holds)} |"


def covers(world: World, metric: Metric, images: int, draws: int) -> tuple[float, float, float, float]:
    """Shares of refusals, of intervals of the score and of the difference that hold the truth, and of false claims."""
    truth = world.draw(400_000).measure(metric)
    gain = truth.sign * float(truth.scores[0] - truth.scores[1])
    found, refused, ahead = [], 0, (0, 1) if gain < 0 else (1, 0)
    for _ in range(draws):
        measured = world.draw(images).measure(metric)
        score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
        if score is None or difference is None:
            refused += 1
        else:
            found.append(
                (
                    _holds(score, float(truth.scores[0])),
                    _holds(difference.interval, gain),
                    measured.shows(*ahead, abs(gain), 0.05),
                )
            )
    held = np.mean(found, axis=0) if len(found) > draws / 5 else np.full(3, np.nan)
    return refused / draws, float(held[0]), float(held[1]), float(held[2])


def covers_masks(rng: np.random.Generator, images: int, shown: float, draws: int) -> tuple[float, float, float]:
    """The last three of `covers`, of mean IoU."""
    truth = draw_masks(rng, 20_000, shown).measure("miou")
    gain = float(truth.scores[0] - truth.scores[1])
    found, ahead = [], (0, 1) if gain < 0 else (1, 0)
    for _ in range(draws):
        measured = draw_masks(rng, images, shown).measure("miou")
        score, difference = measured.interval(0, 0.95), measured.difference(0, 1, 0.95)
        if score is not None and difference is not None:
            claimed = measured.shows(*ahead, abs(gain), 0.05)
            found.append((_holds(score, float(truth.scores[0])), _holds(difference.interval, gain), claimed))
    score_holds, holds, claimed = np.mean(found, axis=0)
    return float(score_holds), float(holds), float(claimed)


def gate_table(draws: int) -> Iterator[str]:
    """What a challenger with a known difference to the champion becomes; of several, the one that the rule ships."""
    yield "| the challenger is | the best of | test images | margin | becomes champion |"
    yield "|---|---|---|---|---|"
    for gain, margin in ((-0.02, 0.01), (-0.01, 0.01), (0.0, 0.01), (0.03, 0.01), (-0.003, 0.02)):
        for images in (655, 10_000):
            yield _gate_row(gain, margin, images, 1, draws)
    for count, images, margin in ((3, 2000, 0.02), (6, 655, 0.03), (6, 2000, 0.03)):
        yield _gate_row(-margin, margin, images, count, draws)


def _gate_row(gain: float, margin: float, images: int, count: int, draws: int) -> str:
    rng = np.random.default_rng(images)
    passed = [becomes_champion(rng, gain, margin, images, count) for _ in range(draws)]
    return f"| {100 * gain:+.1f} points | {count} | {images:,} | {100 * margin:g} | {np.mean(passed):.1%} |"


def becomes_champion(rng: np.random.Generator, gain: float, margin: float, images: int, count: int) -> bool:
    """Whether one of so many equal challengers is shipped and passes the gate, being better by `gain`."""
    answers = draw(rng, images, [0.9 + gain] * count + [0.9])
    winner = 0
    if count > 1:
        own = classification.Answers(answers.true, answers.group, answers.predicted[:count], answers.classes)
        ruling = _rule(own.measure("accuracy"), own.measure("accuracy"), margin)
        if ruling.verdict != "ship":
            return False
        winner = int(ruling.winner)
    return answers.measure("accuracy").shows(winner, count, margin, 0.05 / count)


def descent_table(draws: int) -> Iterator[str]:
    """Twenty rounds of challengers 0.3 points below the champion, margin 2, new test images each round."""
    yield "| the gate asks | test images | promotions of 20 | points lost | more than the margin |"
    yield "|---|---|---|---|---|"
    for anchored, gate in ((False, "the present champion"), (True, "the best champion so far too")):
        for images in (655, 2000, 10_000):
            rng = np.random.default_rng(images)
            ends = [descend(rng, images, anchored) for _ in range(max(10, draws // 5))]
            promotions, lost = np.mean(ends, axis=0)
            beyond = np.mean([end[1] > 0.02 + 1e-9 for end in ends])
            yield f"| {gate} | {images:,} | {promotions:.1f} | {100 * lost:.1f} | {beyond:.0%} |"


def descend(rng: np.random.Generator, images: int, anchored: bool) -> tuple[int, float]:
    """Promotions, and what was lost. The best so far gives way to one that is shown to be better."""
    champion = best = 0.9
    promotions = 0
    for _ in range(20):
        challenger = champion - 0.003
        measured = draw(rng, images, [challenger, champion, best]).measure("accuracy")
        if measured.shows(0, 1, 0.02, 0.05) and (not anchored or measured.shows(0, 2, 0.02, 0.05)):
            promotions += 1
            champion = challenger
            best = challenger if measured.shows(0, 2, 0.0, 0.05) else best
    return promotions, 0.9 - champion


def scale_table(draws: int) -> Iterator[str]:  # noqa: ARG001 - once is enough
    """Seconds for what a comparison of two strategies asks of a metric."""
    yield "| images | classes | metric | seconds |"
    yield "|---|---|---|---|"
    for images, classes in ((655, 2), (1_000_000, 1000)):
        rng = np.random.default_rng(0)
        true = rng.integers(0, classes, images)
        said = [np.where(rng.random(images) < 0.9, true, rng.integers(0, classes, images))[None] for _ in range(2)]
        names = [f"{number}" for number in range(classes)]
        for metric in ("accuracy", "macro_f1"):
            start = time.perf_counter()
            answers = classification.Answers(true, np.arange(images), said, names)
            _rule(answers.measure(metric), answers.measure(metric))
            yield f"| {images:,} | {classes:,} | {metric} | {time.perf_counter() - start:.2f} |"


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


TABLES: dict[str, Table] = {
    "rule": rule_table, "needed": needed_table, "intervals": intervals_table, "groups": groups_table,
    "seeds": seeds_table, "gate": gate_table, "descent": descent_table, "scale": scale_table,
}  # fmt: skip


if __name__ == "__main__":
    print_tables(__doc__, TABLES, 500)
