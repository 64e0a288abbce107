"""What a strategy reached and what it cost, read from the reports and named as metrics of a run."""

import re
from collections import Counter
from pathlib import Path

from meltpoint.comparison import Comparison
from meltpoint.files import read_json
from meltpoint.tracking.pipeline_state import allowed_name

MOST_CLASSES = 20  # of more, the scores of single classes stay in metrics.json
MOST_REGIONS = 40  # the same of classes of pixels
NOT_SCORES = ("images", "absent_classes", "classes", "threshold", "unknown", "not_shown")
WAYS = {"independent": "alone", "consistent": "together"}  # how the levels of a tree are decided


def read_scores(folder: Path, strategy: str) -> dict[str, float]:
    """Scores of a strategy, as far as they could be had: `val/defective/f1`, `test/defective/f1` ...

    Where heads form a tree, there are `test/tree/consistency`, `test/tree/tree_distance alone` and others.
    Of single classes it is F1 on test: `test by class/defective intact f1`. MLflow's pages put charts under the part
    before the last slash, and all classes of all heads are one heading there. Of classes of pixels it is IoU:
    `val/scene/iou/road`, `test/scene/iou/road`.
    """
    reports = folder / "reports" / "strategies" / strategy
    scores: dict[str, float | None] = {}
    for split, heads in read_json(reports / "metrics.json").items():
        for head, values in heads.items():
            scores |= {f"{split}/{head}/{name}": value for name, value in values.items() if name not in NOT_SCORES}
            classes = values["classes"]
            for label, own in classes.items():
                if "iou" in own and len(classes) <= MOST_REGIONS:
                    scores[f"{split}/{head}/iou/{label}"] = own["iou"]
                elif "f1" in own and split == "test" and len(classes) <= MOST_CLASSES:
                    scores[f"test by class/{head} {label} f1"] = own["f1"]
    for split, judged in read_json(reports / "hierarchy.json").items():  # as `trees.TreeJudgement.metrics` says it
        scores[f"{split}/tree/consistency"] = judged["consistency"]
        for way, title in WAYS.items():
            found = judged[way] or {"levels": {}}
            own = {key: value for key, value in found.items() if key not in ("levels", "distances")}
            own |= {f"{level} accuracy": values["accuracy"] for level, values in found["levels"].items()}
            scores |= {f"{split}/tree/{key} {title}": value for key, value in own.items()}
    known = {name: value for name, value in scores.items() if value is not None}
    taken = Counter(map(allowed_name, known))  # names that would become one (classes `$` and `%`) spell their letters
    return {allowed_name(_spelt(name) if taken[allowed_name(name)] > 1 else name): float(known[name]) for name in known}


def _spelt(name: str) -> str:
    return re.sub(r"[^\w\-. /]", lambda letter: f"_{ord(letter[0]):x}", name)


def read_repeats(folder: Path, strategy: str, metric: str) -> dict[str, float]:
    """The scores of the trainings of a strategy with other seeds: `repeat 2/test/defective/accuracy` ...

    It is `metric`, which chose their checkpoints, of each head that has it. A strategy trained once has none.
    """
    path = folder / "reports" / "strategies" / strategy / "repeats.json"
    scores = read_json(path)["scores"] if path.exists() else {}  # reports of older versions lack it
    return {
        allowed_name(f"repeat {number}/{split}/{head}/{metric}"): float(value)
        for split, heads in scores.items()
        for head, own in heads.items()
        for number, value in enumerate(own.get(metric, ()), start=1)
        if number > 1
    }


def cost_metrics(decision: Comparison, strategy: str) -> dict[str, float]:
    """`cost/train_seconds`, `cost/latency_p50_ms` ... of a strategy, as the comparison counted them."""
    return {f"cost/{name}": value for name, value in decision.costs_of(strategy).items()}


def read_seconds(folder: Path, strategy: str) -> float:
    """How long the training of a strategy took, without interruptions; 0 if it was not measured."""
    path = folder / "reports" / "costs" / f"train-{strategy}.json"
    return float(read_json(path)["seconds"]) if path.exists() else 0.0
