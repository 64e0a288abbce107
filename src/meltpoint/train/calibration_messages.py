"""What was learnt on val, in words: what holds for new images, what it costs, and why a wish cannot be promised."""

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Flags
from meltpoint.params.model import Threshold
from meltpoint.progress import say
from meltpoint.tasks.thresholds import CONFIDENCE, Point, most_promised

SURE = f"with {CONFIDENCE:.0%} confidence"

Numbers = NDArray[np.floating]


def say_threshold(
    head: str, classes: list[str], wish: Threshold, point: Point, probabilities: Numbers, is_second: Flags
) -> None:
    """What a head's threshold promises, and what it does to val: probabilities (N,) of the second class, the truth."""
    first, second = classes
    if point.value is None:
        say(
            f"warning: heads.{head}.threshold wants {_about(wish, second, point)} The more probable class is the"
            " answer."
        )
        return
    called = probabilities >= point.value
    hits, alarms = _percent(called[is_second]), _percent(called[~is_second])
    right = _percent(is_second[called])
    told = (
        f"{head} answers {second!r} from a probability of {point.value:.4g} on: {SURE} a {wish.metric} of"
        f" {wish.at_least:g} at least for new images. On val it is {point.reached:.3f}, of {point.images:,}"
        f" {_counted(wish, second)}"
    )
    if wish.metric == "recall":
        say(f"{told}; {alarms} of {first!r} are called {second!r} too, and {right} of what is called so is")
        if len(called) and called[~is_second].mean() > 0.5:
            say(f"warning: this recall of {second!r} costs most of {first!r}. Want less, or train a better model.")
    else:
        say(f"{told}; {hits} of {second!r} are found")


def say_set(head: str, coverage: float, point: Point, shown: Numbers, said: Numbers, right: Flags) -> None:
    """What a set of classes promises: probabilities (N, C), those of the answers (N,), and whether they are right."""
    if point.value is None:
        say(
            f"warning: heads.{head}.unknown wants a coverage of {coverage:g}, and val has {_images(point.images)}, one"
            f" of each group. {_from_on(point)} No answer is called unknown."
        )
        return
    sure = (said >= point.value) & ((shown >= point.value).sum(1) == 1)
    say(
        f"{head}: the classes with a probability of {point.value:.4g} or more hold the true one, {SURE}, in"
        f" {coverage:g} of new images at least ({point.reached:.3f} of {point.images:,} on val). What is not alone"
        f" among them is unknown: {_percent(~sure)} of val, and {_percent(right[sure])} of the other answers are right"
    )


def say_unknown(head: str, share: float, point: Point, said: Numbers, right: Flags) -> None:
    """What answering only what one is sure of promises: probabilities of the answers (N,), whether they are right."""
    if point.value is None:
        say(
            f"warning: heads.{head}.unknown wants {share:g} of the answers to be right, which val does not show {SURE},"
            f" however sure they are: that takes {point.needed:,} answers, all of them right, or more with few errors"
            f" among them, and the surest {point.images:,} are right in {point.reached:.3f}. No answer is called"
            " unknown. Want less, label more, or train a better model."
        )
        return
    sure = said >= point.value
    say(
        f"{head} is unknown below a probability of {point.value:.4g}: {_percent(sure)} of its answers on val are above,"
        f" and {_percent(right[sure])} of these are right; {SURE} {share:g} at least for new images"
    )


def _about(wish: Threshold, second: str, point: Point) -> str:
    """Why no threshold can be promised."""
    if wish.metric == "recall":
        return (
            f"a recall of {wish.at_least:g}, and val has {_images(point.images)} of {second!r}, one of each"
            f" group. {_from_on(point)}"
        )
    return (
        f"a precision of {wish.at_least:g}, which val does not show {SURE} for any: that takes {point.needed:,} images"
        f" that are called {second!r}, all of them rightly, or more with few errors among them. Of the"
        f" {point.images:,} that look most like it {point.reached:.3f} are. Want less, label more, or train a better"
        " model."
    )


def _from_on(point: Point) -> str:
    """How many images there would have to be, and what can be had from those that there are."""
    most = f"; {point.images:,} can promise {most_promised(point.images):.2f}" if point.images else ""
    return f"{SURE.capitalize()} it can be promised from {point.needed:,} on{most}. Label more, or want less."


def _counted(wish: Threshold, second: str) -> str:
    return f"images of {second!r}" if wish.metric == "recall" else "that are called so"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images" if count else "no image"


def _percent(flags: Flags) -> str:
    return f"{flags.mean():.1%}" if len(flags) else "none"
