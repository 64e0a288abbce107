"""The strategies as rows that both the page and the text show: score, interval, cost, and how each stands."""

from dataclasses import dataclass
from typing import Any

from meltpoint.compare import formatting
from meltpoint.compare.decision import Decision
from meltpoint.compare.intervals import Interval

STANDINGS = {
    "ship": "ship",
    "leads": "leads so far",
    "as good": "as good, more expensive",
    "worse": "worse",
    "open": "not settled",
}

MOST_CLASSES, ENDS = 24, 10  # classes that are all shown; of more, this many of the hardest and of the easiest


@dataclass(frozen=True)
class Branch:
    """One way to decide the levels of a tree, by one strategy, on test and val (see `hierarchy.Decoding.metrics`)."""

    name: str
    way: str
    together: bool
    test: dict[str, Any]
    val: dict[str, Any]
    consistency: tuple[float, float]  # of these answers, on test and val: 1 where the tree decides


def branches_of(decision: Decision) -> list[Branch]:
    """Both ways of every strategy; none without a tree, or if no image of val or test is labelled on every level."""
    branches: list[Branch] = []
    for name, found in decision.results.hierarchies.items():
        if found and found["test"]["images"] and found["val"]["images"]:
            test, val = found["test"], found["val"]
            raw = (test["consistency"], val["consistency"])
            branches += [
                Branch(name, "each head alone", False, test["independent"], val["independent"], raw),
                Branch(name, "the tree decides", True, test["consistent"], val["consistent"], (1.0, 1.0)),
            ]
    return branches


def shown_classes(decision: Decision) -> list[tuple[str, list[str]]]:
    """The classes of the main head under titles: all, or the hardest and the easiest for the winner, on test."""
    results = decision.results
    names = results.classes[results.main_head]
    if len(names) <= MOST_CLASSES:
        return [("", names)]
    scores = results.metrics[decision.winner]["test"][results.main_head]["classes"]
    by = results.wording.ranking
    ranked = sorted((name for name in names if scores[name]["support"]), key=lambda name: scores[name][by])
    ends = min(ENDS, len(ranked) // 2)
    return [("the hardest", ranked[:ends]), ("the easiest", ranked[-ends:][::-1])] if ends else [("", ranked)]


def write_text(decision: Decision) -> str:
    """compare.md: the sentence and two tables whose columns line up in a terminal too."""
    settings, head = decision.settings, decision.results.main_head
    metric = formatting.METRICS[settings.metric]
    title = f"Ship {decision.winner}" if decision.verdict == "ship" else "Not enough evidence"
    lines = [f"# {title}", "", formatting.markdown(decision.sentence), "", *_strategies(decision)]
    if decision.pairs:
        unit = "" if settings.metric in formatting.LOSSES else ", in points"
        against = f"By how much {decision.winner} is better than each other strategy, {metric} on {head}{unit}:"
        lines += ["", against, "", *_pairs(decision)]
    lines += _classes(decision)
    lines += _trees(branches_of(decision))
    return "\n".join(
        [
            *lines,
            "",
            f"The evidence is the test split ({say_images(decision)}). It is about {say_trained(decision)}; margin "
            f"{formatting.gap_of(settings.metric, settings.margin)}, confidence {settings.confidence:.0%}.",
            *([say_flattered(decision)] if decision.spread is not None else []),
            "The whole report: reports/compare.html",
            "",
        ]
    )


def say_ends(metric: str, interval: Interval) -> str:
    """An interval of a score: 85.4 to 90.4."""
    return f"{formatting.value_of(metric, interval.low)} to {formatting.value_of(metric, interval.high)}".replace(
        "%", ""
    )


def say_images(decision: Decision) -> str:
    """The images of test, and their groups where some belong together."""
    images, groups = decision.images["test"], decision.groups["test"]
    text = formatting.counted(images, "image")
    return text if images == groups else f"{text} in {formatting.counted(groups, 'group')}"


def say_trained(decision: Decision) -> str:
    """What the intervals are about: these models, or recipes where each was trained several times."""
    counts = {row.name: len(row.trainings) for row in decision.rows}
    if max(counts.values()) == 1:
        return "these trained models: each was trained once, which tells nothing about another training"
    if min(counts.values()) > 1:
        return "the recipes: the intervals include the chance of both images and seeds"
    once = ", ".join(name for name, count in counts.items() if count == 1)
    return f"the recipes that were trained several times, and this one trained model of {once}"


def say_flattered(decision: Decision) -> str:
    """How much too high the best score is to be expected, because it is the best of several on the same images."""
    if decision.spread is None:
        return ""
    count = len(decision.rows)
    much = formatting.flattery(decision.settings.metric, count, decision.spread)
    return (
        f"{count} models are compared on these test images. The best of {count} equally good models would score about "
        f"{much} too high by chance; `meltpoint history` also counts the models of earlier rounds. New images make "
        "this smaller: a share of them goes to test automatically."
    )


def _strategies(decision: Decision) -> list[str]:
    head, key = decision.results.main_head, decision.settings.metric
    shown = ["train_seconds", "latency_p50_ms", "megabytes", "trainable_parameters"]
    costs = [formatting.COSTS[name] for name in shown]
    titles = ["strategy", "encoder", f"test {formatting.METRICS[key]} on {head}", "val", *costs, "standing"]
    rows = [
        [
            f"**{row.name}**" if row.wins else row.name,
            row.encoder,
            formatting.value_of(key, row.test) + (f" ({say_ends(key, row.interval)})" if row.interval else ""),
            formatting.value_of(key, row.val),
            *(formatting.cost(name, row.cost[name]) for name in shown),
            STANDINGS[row.standing],
        ]
        for row in decision.rows
    ]
    return align([titles, *rows])


def _pairs(decision: Decision) -> list[str]:
    titles = ["against", "on", "difference", f"{decision.settings.confidence:.0%} interval", "p", "p (Holm)"]
    rows = [
        [
            pair.b,
            pair.split,
            formatting.gain_of(decision.settings.metric, pair.difference.value),
            formatting.spread_of(decision.settings.metric, pair.difference.interval),
            formatting.chance(pair.difference.p_value)[1:].lstrip("="),
            formatting.chance(pair.p_holm)[1:].lstrip("="),
        ]
        if pair.difference and pair.p_holm is not None
        else [pair.b, pair.split, *[formatting.MISSING] * 4]
        for pair in decision.pairs
    ]
    return align([titles, *rows])


def _classes(decision: Decision) -> list[str]:
    """The score of each class of the main head, if the task lists them."""
    results, head, score = decision.results, decision.results.main_head, decision.results.wording.ranking
    if not results.wording.listed:
        return []
    found = [row.metrics["test"][head]["classes"] for row in decision.rows]
    names = [name for _, shown in shown_classes(decision) for name in shown]
    titles = ["class", *results.strategies]
    rows = [
        [formatting.markdown(name), *(formatting.percent(scores[name][score]) for scores in found)] for name in names
    ]
    return ["", f"{formatting.METRICS[score]} of each class of {head}, on test:", "", *align([titles, *rows])]


def _trees(branches: list[Branch]) -> list[str]:
    if not branches:
        return []
    levels = list(branches[0].test["levels"])
    titles = ["strategy", "answers", *(f"accuracy on {level}" for level in levels), "paths", "tree distance", "F1"]
    rows = [
        [
            branch.name,
            branch.way,
            *(formatting.percent(branch.test["levels"][level]["accuracy"]) for level in levels),
            formatting.percent(branch.consistency[0]),
            formatting.edges(branch.test["tree_distance"]),
            formatting.percent(branch.test["hierarchical_f1"]),
        ]
        for branch in branches
    ]
    title = (
        "What the tree does, on test: share of answers that are paths, edges that a mistake is off, hierarchical F1:"
    )
    return ["", title, "", *align([titles, *rows])]


def align(rows: list[list[str]]) -> list[str]:
    """A Markdown table of text cells, the first row its head, padded so that columns line up."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
