"""Several params.yaml side by side: each runs in its own workspace, and one table compares their scores."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from meltpoint.compare.formatting import markdown
from meltpoint.comparison import read_comparison
from meltpoint.errors import UserError
from meltpoint.files import read_json, whole_file
from meltpoint.model.nets import BackboneError
from meltpoint.params.read import read_params
from meltpoint.params.yaml12 import dump, load
from meltpoint.progress import megabytes, track
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.terminal import say

WORKSPACES = Path(".variants")
SHARED = ("src", "stages")  # of the repository, by a link
COPIED = ("dvc.yaml", ".dvcignore")
STEP, LARGEST = 16, 512  # pixels: between the sizes that are tried, and the last of them
ROUNDS = 30  # predictions of each model in turn, of which the median counts
SLACK = 1.03  # a latency so much above another counts as equal


class VariantError(UserError, RuntimeError):
    """Variants cannot be run, or have no class in common."""


@dataclass(frozen=True)
class Trained:
    """One strategy of one variant: its model, and its scores on test by head."""

    variant: str
    strategy: str
    shipped: bool
    answerer: Answerer
    scores: dict[str, Any]


def compare_variants(files: Sequence[Path], root: Path, equal_latency: bool) -> str:
    """Run each params file up to its decision, and put precision, recall, latency and megabytes into one table.

    With `equal_latency` each variant that is faster than the slowest runs again, with images as large as that latency
    allows. What has been run is not run again: a workspace is a DVC repository that shares the cache of `root`.

    Raises:
        VariantError: a file is missing, a run fails, or the variants share no class.
    """
    names = [file.stem for file in files]
    if len(set(names)) < max(2, len(names)):
        raise VariantError(
            f"The variants are {names}; two or more files with different names are needed. Add or rename one."
        )
    trained = [one for file in files for one in _run(file.stem, _read(file, root), root)]
    if equal_latency:
        for name, params in _enlarged(files, trained, root):
            trained += _run(name, params, root)
    table = _tabulate(trained)
    with whole_file(root / WORKSPACES / "table.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    return table


def _read(file: Path, root: Path) -> dict[str, Any]:
    """A params file as a mapping, with places in the repository made absolute: it is run from another folder."""
    if not file.exists():
        raise VariantError(f"There is no params file {file}. Known ones are in presets/, as presets/documents.yaml.")
    read_params(file)  # says what is wrong with it
    params: dict[str, Any] = load(file.read_text(encoding="utf-8"))
    params["data"] = _absolute(params["data"], root)
    return params


def _absolute(value: Any, root: Path) -> Any:
    match value:
        case dict():
            return {key: _absolute(own, root) for key, own in value.items()}
        case str() if "/" in value and (root / value).exists():
            return str((root / value).absolute())
        case _:
            return value


def _run(name: str, params: dict[str, Any], root: Path) -> list[Trained]:
    """Bring the workspace of a variant to its decision; a model for each strategy."""
    folder = root / WORKSPACES / name
    folder.mkdir(parents=True, exist_ok=True)
    for shared in SHARED:
        if not (folder / shared).exists():
            (folder / shared).symlink_to(os.path.relpath(root / shared, folder), target_is_directory=True)
    for copied in COPIED:
        shutil.copy(root / copied, folder / copied)
    with whole_file(folder / "params.yaml") as temporary:
        temporary.write_text(dump(params), encoding="utf-8")
    if not (folder / ".dvc").exists():
        _dvc(folder, name, "init", "--no-scm", "--quiet")
        _dvc(folder, name, "config", "core.analytics", "false")
        _dvc(folder, name, "cache", "dir", "--quiet", str((root / ".dvc" / "cache").absolute()))
    say(f"--- {name}: {folder}")
    _dvc(folder, name, "repro", "compare")
    winner = read_comparison(folder / "reports" / "compare.json").winner
    return [
        Trained(
            name,
            strategy,
            strategy == winner,
            open_answerer(folder / "models" / strategy),
            read_json(folder / "reports" / "strategies" / strategy / "metrics.json")["test"],
        )
        for strategy in params["strategies"]
    ]


def _dvc(folder: Path, name: str, *words: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, env=environment, check=False)
    if done.returncode:
        raise VariantError(
            f"The variant {name!r} stopped: `dvc {' '.join(words)}` in {folder} failed; the lines above say why."
            " Correct that and run the same command again; what was done is kept."
        )


def _enlarged(files: Sequence[Path], trained: list[Trained], root: Path) -> list[tuple[str, dict[str, Any]]]:
    """The variants that leave time, with images as large as the slowest variant's latency allows."""
    own = _latencies([one.answerer for one in trained])
    slowest, found = max(own), []
    for file in files:
        index = next(number for number, one in enumerate(trained) if one.variant == file.stem)
        answerer, size = trained[index].answerer, None
        if own[index] * SLACK < slowest:
            for larger in range(answerer.card.images.side + STEP, LARGEST + 1, STEP):
                try:
                    resized = _resize(answerer, larger)
                except BackboneError:  # the backbone does not take this size
                    continue
                if _latencies([resized])[0] > slowest * SLACK:
                    break
                size = larger
        if size is None:
            say(f"--- {file.stem}: no larger image size is as fast as the slowest variant")
            continue
        params = _read(file, root)
        params["views"][answerer.card.views]["side"] = size
        found.append((f"{file.stem}-{size}", params))
    return found


def _resize(answerer: Answerer, size: int) -> Answerer:
    """The same architecture for images of another size, with random weights: it is good for measuring latency only."""
    from meltpoint.model.fuse import fuse
    from meltpoint.model.model import build_model

    predictor, card = answerer.predictor, answerer.card
    heads = {name: head.head for name, head in card.heads.items()}
    outputs = {name: head.outputs for name, head in card.heads.items()}
    model = fuse(build_model(card.backbone, heads, outputs, size, pretrained=False)).to(predictor.device or "cpu")
    images = card.images.model_copy(update={"side": size})
    larger = replace(predictor, card=card.model_copy(update={"images": images}), model=model)
    return replace(answerer, predictor=larger)


def _latencies(answerers: Sequence[Answerer]) -> list[float]:
    """The median milliseconds that one image takes, of each model, measured in turns."""
    noise = np.random.default_rng(0)
    images = [
        noise.integers(0, 256, (1, one.card.images.side, one.card.images.side, 3), dtype=np.uint8) for one in answerers
    ]
    seconds: list[list[float]] = [[] for _ in answerers]
    for _ in track(range(ROUNDS), "latency", unit="round"):
        for answerer, image, own in zip(answerers, images, seconds, strict=True):
            start = time.perf_counter()
            answerer.probabilities(image)
            own.append(time.perf_counter() - start)
    return [1000 * median(own) for own in seconds]


def _tabulate(trained: Sequence[Trained]) -> str:
    """A Markdown table: a row for each strategy of each variant, two columns for each class that all of them know."""
    known = [[name for head in one.scores.values() for name in head.get("classes", {})] for one in trained]
    common = [name for name in dict.fromkeys(known[0]) if all(name in own for own in known)]
    if not common:
        raise VariantError(
            f"The variants share no class; they have {known}. Give the classes the same names in data.labels."
        )
    columns = [(name, score) for name in common for score in ("precision", "recall")]
    titles = ["variant", "strategy", "pixels", *(f"{markdown(name)} {score}" for name, score in columns)]
    lines = [f"| {' | '.join([*titles, 'latency ms', 'MB'])} |", f"|---|---|{'---:|' * len(titles)}"]
    for one, latency in zip(trained, _latencies([one.answerer for one in trained]), strict=True):
        strategy = f"**{one.strategy}**" if one.shipped else one.strategy
        cells = [markdown(one.variant), strategy, str(one.answerer.card.images.side)]
        main = one.answerer.card.main_head  # the scores of a class are by the main head, if it knows the class
        heads = [one.scores[main], *(head for key, head in one.scores.items() if key != main)]
        classes = {name: own for head in reversed(heads) for name, own in head.get("classes", {}).items()}
        scores = [classes[name][score] for name, score in columns]
        cells += ["–" if score is None else f"{score:.1%}" for score in scores]
        cells += [f"{latency:.1f}", f"{megabytes(one.answerer.predictor.folder):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Scores are of the test images; the strategy that its decision ships is bold.", ""])
