"""What a challenger needs to be compared: a report of today's test images, younger than the champion, within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from meltpoint.errors import UserError
from meltpoint.images.views import open_views
from meltpoint.metrics import LOWER_IS_BETTER
from meltpoint.model.card import read_card, views_of
from meltpoint.params.judging import Ceiling
from meltpoint.registry.ledger import AliasChange


class GateError(UserError, ValueError):
    """A floor or a ceiling names what was not measured."""


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may be champion, and why."""

    passed: bool
    why: str


def check_floors(scores: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    """Whether every floor ("head/metric") holds on test; `scores` as `scores.read_scores` names them.

    Raises:
        GateError: a floor names something that was not measured.
    """
    known = sorted(key.removeprefix("test/") for key in scores if key.startswith("test/"))
    for name in floors:
        if f"test/{name}" not in scores:
            raise GateError(
                f"register.floors names {name!r}, which was not measured on test. Measured are {', '.join(known)}. "
                "Take one of them in params.yaml."
            )
        if name.rpartition("/")[2] in LOWER_IS_BETTER:
            raise GateError(
                f"register.floors names {name!r}, of which less is better: it has no floor. Remove the line."
            )
    found = {name: scores[f"test/{name}"] for name in floors}
    low = [name for name in floors if found[name] < floors[name]]
    failed = [f"{name} is {found[name]:.3f} on test, below its floor {floors[name]:g}" for name in low]
    return Verdict(not low, "; ".join(failed) or "every floor holds")


def check_ceilings(costs: Mapping[str, float], ceilings: Mapping[Ceiling, float]) -> Verdict:
    """Whether a strategy costs no more than every ceiling allows; `costs` as `scores.read_costs` names them.

    Raises:
        GateError: a ceiling names something that was not measured.
    """
    known = sorted(key.removeprefix("cost/") for key in costs)
    for name in ceilings:
        if name not in known:
            raise GateError(
                f"register.ceilings names {name!r}, which was not measured. Measured are {', '.join(known)}. Take one "
                "of them in params.yaml, or measure again: dvc repro --force evaluate speed compare"
            )
    high = [name for name, most in ceilings.items() if costs[f"cost/{name}"] > most]
    failed = [f"{name} is {costs[f'cost/{name}']:,g}, above its ceiling {ceilings[name]:,g}" for name in high]
    return Verdict(not high, "; ".join(failed) or "every ceiling holds")


def check_split(folder: Path, strategy: str) -> Verdict:
    """Whether the report of a strategy is about the test images of today, all of them and no other."""
    views = open_views(views_of(read_card(folder / "models" / strategy), folder))
    table = pd.read_parquet(report_of(folder, strategy), columns=["id", "path", "split"])
    today, reported = (
        set(zip(test["id"].tolist(), test["path"].tolist(), strict=True))
        for test in (views.samples.iloc[views.rows("test")], table[table["split"] == "test"])
    )
    if today == reported:
        return Verdict(True, "the report is about today's test images")
    return Verdict(
        False,
        f"its report is about another test split: of today's {len(today):,} test images it lacks "
        f"{len(today - reported):,}, and {len(reported - today):,} of its own are not among them; make it again: "
        f"dvc repro --force --downstream evaluate@{strategy}",
    )


def check_age(folder: Path, strategy: str, champion: str, line: AliasChange | None) -> Verdict:
    """Whether the report of a strategy is younger than the promotion of the champion, which is `line` of the ledger.

    So a version that was rolled back does not return by the report that it came with. The age is that of the file in
    this folder (its change time), whichever way DVC put it there.
    """
    if line is None or line.after != champion:
        return Verdict(True, "the ledger does not say since when the champion is champion")
    written = datetime.fromtimestamp(int(report_of(folder, strategy).lstat().st_ctime), UTC)
    if written >= datetime.fromisoformat(line.when):
        return Verdict(True, "the report is younger than the champion")
    return Verdict(
        False,
        f"its report of {written.isoformat()} is older than the champion, which is version {champion} since "
        f"{line.when}; make it again: dvc repro --force --downstream evaluate@{strategy}",
    )


def report_of(folder: Path, strategy: str) -> Path:
    """The predictions of a strategy for val and test."""
    return folder / "reports" / "strategies" / strategy / "predictions.parquet"
