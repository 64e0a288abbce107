"""Parts a dataset into train, val and test: stratified, without leaks, every class everywhere, or a refusal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meltpoint.arrays import Floats, Ints
from meltpoint.data.assignment import assign
from meltpoint.data.groups import draw_groups, join_groups, name_groups
from meltpoint.data.strata import build_strata, combine_labels, part_plainly
from meltpoint.duplicate import Duplicate
from meltpoint.errors import UserError
from meltpoint.params.data import Split
from meltpoint.tables import SPLITS, Classes, memberships

RANDOM_SPLITS = 20  # plain random splits over which their leak is averaged
GLUED = 0.5  # of all images in one group of duplicates: then something that all share was taken for a duplicate
SHOWN = 8  # missing classes that a message lists


class SplitError(UserError, ValueError):
    """The dataset cannot be split as params.yaml wants."""


@dataclass(frozen=True)
class SplitResult:
    """The result of `split_samples`.

    `samples`: the table with `split` (train, val or test) and `group` filled, in its order; `report`: for
    reports/split.json; `parted`: for each pair, whether a plain random split would have parted it; `sentence`.
    """

    samples: pd.DataFrame
    report: dict[str, Any]
    parted: list[bool]
    sentence: str


def split_samples(samples: pd.DataFrame, classes: Classes, pairs: Sequence[Duplicate], split: Split) -> SplitResult:
    """Split a table of samples; `pairs` are positions of its rows that are duplicates of each other.

    The result depends on `split.seed` and on each image's path and bytes, not on the order of rows. Images of one group
    and duplicates stay in one split, and a group keeps its split while others come and go (`assign` says how well).
    With `split.official` the splits that the source names are kept as they are, and only what it lacks is cut from
    train; pairs that they part are reported.

    Raises:
        SplitError: a class would be missing from a split, an unknown split is named, or half of the images are one
            group of duplicates.
    """
    links = np.array([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    numbers = join_groups(samples, links)
    draws = draw_groups(samples, numbers, split.seed)
    order = np.lexsort((samples["path"].to_numpy(dtype=object), draws))  # the same however the table is sorted
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    table, links, draws = samples.iloc[order].reset_index(drop=True), rank[links], draws[order]
    groups = _by_appearance(numbers[order])
    largest = np.bincount(join_groups(table.assign(group=None), links)).max(initial=0)
    if largest > max(GLUED * len(table), 2):
        raise SplitError(
            f"Duplicates join {largest:,} of {len(table):,} images into one group. At most {GLUED:.0%} of them may"
            " be duplicates of each other. Raise split.duplicates.correlation, lower split.duplicates.common if the"
            " pictures share a frame or a background, or remove the copies."
        )
    official = table["split"].notna().to_numpy() & split.official
    parts = _part(table, classes, groups, draws, official, split)
    result = table.assign(split=pd.Series(np.array(SPLITS)[parts], dtype="string"), group=name_groups(table, groups))
    _check_classes(result, classes)
    shares, (_, combined) = _shares(split), combine_labels(table, classes)
    generators = (np.random.default_rng([split.seed, number]) for number in range(RANDOM_SPLITS))
    random_parts = [part_plainly(combined, shares, generator) for generator in generators]
    report = _report(result, classes, groups, pairs, links)
    report["leaked_by_random_split"] = round(float(np.mean([_leaked(one, groups).sum() for one in random_parts])), 1)
    report["official"] = None
    if official.any():
        before, after = (one["split"].fillna("").to_numpy(dtype=object) for one in (table, result))
        report["official"] = {
            "kept": _counts(result["split"][official & (before == after)]),
            "cut_from_train": int((official & (before == "train") & (after != "train")).sum()),
            "leaks": sorted(result["path"][_leaked(parts, groups, ("val", "test")) & official]),
        }
    parted = (random_parts[0][links[:, 0]] != random_parts[0][links[:, 1]]).tolist()
    return SplitResult(result.iloc[rank].set_axis(samples.index), report, parted, _sentence(report))


def _part(
    table: pd.DataFrame, classes: Classes, groups: Ints, draws: Floats, official: NDArray[np.bool_], split: Split
) -> Ints:
    """The split of each row as a position in SPLITS, (N,); `draws` (N,) are those of the rows' groups."""
    unknown = sorted(set(table["split"][official]) - set(SPLITS))
    if unknown:
        raise SplitError(
            f"The source names the splits {unknown}; known are {list(SPLITS)}. Rename them in the source, or set"
            " split.official: false to split anew."
        )
    kept = official & (table["split"] != "train").to_numpy(dtype=bool, na_value=True)
    parts = np.zeros(len(table), dtype=np.int64)
    parts[kept] = [SPLITS.index(name) for name in table["split"][kept]]
    shares = _shares(split)
    shares[np.unique(parts[kept])] = 0.0  # a split that the source has takes nothing from train
    if shares.sum() > 0 and not kept.all():
        codes, combined = combine_labels(table[~kept], classes)
        shares = shares / shares.sum()
        numbers = _by_appearance(groups[~kept])
        _, first = np.unique(numbers, return_index=True)
        strata = build_strata(codes, combined, numbers, shares)
        parts[~kept] = assign(strata, shares, draws[~kept][first])[numbers]
    return parts


def _by_appearance(numbers: Ints) -> Ints:
    """Numbers of groups, made 0..G-1 in the order of their first rows."""
    codes, _ = pd.factorize(numbers)
    return np.asarray(codes, dtype=np.int64)


def _shares(split: Split) -> Floats:
    return np.array([split.ratios.train, split.ratios.val, split.ratios.test])


def _leaked(parts: Ints, groups: Ints, later: tuple[str, ...] = ("test",)) -> NDArray[np.bool_]:
    """Whether an image is in one of the `later` splits while another of its group is in train, (N,)."""
    in_train = np.bincount(groups[parts == 0], minlength=groups.max(initial=-1) + 1) > 0
    leaked: NDArray[np.bool_] = np.isin(parts, [SPLITS.index(name) for name in later]) & in_train[groups]
    return leaked


def _check_classes(result: pd.DataFrame, classes: Classes) -> None:
    flaws = []
    for label, names in classes.items():
        for name, inside in zip(names, memberships(result, label, names).T, strict=True):
            rows = result[inside]
            missing = [split for split in SPLITS if not (rows["split"] == split).any()]
            if missing:
                amount = f"{len(rows):,} images in {rows['group'].nunique():,} groups"
                flaws.append(f"class {name!r} of {label!r} would be missing from {', '.join(missing)} ({amount})")
    if flaws:
        more = f"\n  - and {len(flaws) - SHOWN} more" if len(flaws) > SHOWN else ""
        listed = "".join(f"\n  - {flaw}" for flaw in flaws[:SHOWN])
        raise SplitError(
            f"The split would leave classes out:{listed}{more}\nEach class needs an image in train, val and test, and"
            " so at least three that are no duplicates and of different groups. Add images of it, merge it with another"
            " class in data.labels, enlarge the smallest split in split.ratios, or set split.official: false."
        )


def _report(
    result: pd.DataFrame, classes: Classes, groups: Ints, pairs: Sequence[Duplicate], links: Ints
) -> dict[str, Any]:
    sizes = np.bincount(groups)
    labels = result[list(classes)].astype("object").fillna("").to_numpy()
    disagree = (labels[links[:, 0]] != labels[links[:, 1]]).any(axis=1)
    exact = sum(pair.exact for pair in pairs)
    return {
        "images": _counts(result["split"]),
        "classes": {
            label: {
                name: _counts(result["split"][inside])
                for name, inside in zip(names, memberships(result, label, names).T, strict=True)
            }
            for label, names in classes.items()
        },
        "groups": int((sizes > 1).sum()),
        "largest_group": int(sizes.max(initial=0)),
        "duplicates": {
            "pairs": len(pairs),
            "exact": exact,
            "near": len(pairs) - exact,
            "images": len(np.unique(links)),
            "labelled_differently": int(disagree.sum()),
        },
    }


def _counts(splits: pd.Series) -> dict[str, int]:
    return {split: int((splits == split).sum()) for split in SPLITS}


def _sentence(report: dict[str, Any]) -> str:
    images, duplicates = report["images"], report["duplicates"]
    parts = ", ".join(f"{count:,} {split}" for split, count in images.items())
    found = f"{duplicates['pairs']:,} pairs of duplicates among {duplicates['images']:,} images"
    leak = f"a plain random split would leak {report['leaked_by_random_split']:,.0f} test images"
    leaks = len(report["official"]["leaks"]) if report["official"] else 0
    warning = f"; the official split leaks {leaks:,} images, see reports/split.json" if leaks else ""
    return f"{parts}; {found}, kept together in {report['groups']:,} groups ({leak}){warning}"
