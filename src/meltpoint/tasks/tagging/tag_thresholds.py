"""From which probability on a tag is given: learnt of val for each tag, by its best F1 or a wished precision."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meltpoint.arrays import Flags, Floats, Ints
from meltpoint.metrics import ratio
from meltpoint.params.heads import TagThresholds
from meltpoint.terminal import say

EVEN = 0.5  # what decides where nothing is learnt
SHOWN = 5  # tags that a warning names

Numbers = NDArray[np.floating]


def given(probabilities: Numbers, thresholds: Sequence[float] | None) -> Flags:
    """Which tags images get, (N, K), of their probabilities: those above the tag's threshold, in float32."""
    limits = np.full(probabilities.shape[1], EVEN) if thresholds is None else np.array(thresholds)
    return np.asarray(probabilities.astype(np.float32) > limits.astype(np.float32))


def count_tags(truth: NDArray[np.int8], said: Flags) -> tuple[Ints, Ints, Ints]:
    """Images with the tag that get it, without it that get it, and with it that do not: each (K,)."""
    has, lacks = truth == 1, truth == 0
    counts = ((has & said).sum(0), (lacks & said).sum(0), (has & ~said).sum(0))
    return counts[0].astype(np.int64), counts[1].astype(np.int64), counts[2].astype(np.int64)


def choose_all(
    head: str,
    tags: Sequence[str],
    probabilities: Numbers,
    truth: NDArray[np.int8],
    groups: NDArray[np.object_],
    wish: TagThresholds | None,
) -> list[float]:
    """The threshold of each tag, from probabilities and truth (N, K) of val and its groups (N,); says what it found."""
    if wish is None:
        return [EVEN] * len(tags)
    from meltpoint.tasks.thresholds import choose_purest, one_of_each  # scipy, which a served model does without

    found: list[float | None] = []
    for place in range(len(tags)):
        known = np.flatnonzero(truth[:, place] >= 0)
        if wish.at_least is None:
            found.append(choose_best_f1(probabilities[known, place], truth[known, place] == 1))
        else:
            known = known[one_of_each(groups[known])]
            found.append(choose_purest(probabilities[known, place], truth[known, place] == 1, wish.at_least).value)
    bare = [tag for tag, value in zip(tags, found, strict=True) if value is None]
    thresholds = [EVEN if value is None else value for value in found]
    if bare:
        more = f" and {len(bare) - SHOWN} more" if len(bare) > SHOWN else ""
        reason = (
            "no image of val has them" if wish.at_least is None else f"val cannot show a precision of {wish.at_least:g}"
        )
        say(f"warning: {head}: {EVEN} is the threshold of {', '.join(bare[:SHOWN])}{more}, because {reason}")
    counts = [part.sum() for part in count_tags(truth, given(probabilities, thresholds))]
    f1 = ratio(np.array(2.0 * counts[0]), np.array(float(2 * counts[0] + counts[1] + counts[2])))
    say(
        f"{head}: thresholds of {len(tags)} tags, {min(thresholds):.3f} to {max(thresholds):.3f}; on val they give a"
        f" micro F1 of {float(f1):.3f}"
    )
    return thresholds


def choose_best_f1(values: Numbers, has: Flags) -> float | None:
    """The probability above which the F1 of values (N,) is best, halfway to the next; None if no image has the tag."""
    if not has.any():
        return None
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order].astype(np.float64), np.cumsum(has[order])
    seen = np.arange(1, len(ranked) + 1)
    f1: Floats = 2 * hits / (seen + has.sum())
    ends = np.append(ranked[1:] != ranked[:-1], True)  # images of one value pass together
    best = int(np.argmax(np.where(ends, f1, -1.0)))
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else max(0.0, 2 * float(ranked[best]) - 1)
    middle = (float(ranked[best]) + below) / 2
    return middle if np.float32(middle) < np.float32(ranked[best]) else below
