"""Strategy `words`: linear heads whose weights are the vectors of texts, and pictures of each class beside them.

The backbone stays as it is. On val it is learnt how much a likeness counts (the temperature), and how much the pictures
do: those that give the true classes the largest probability (the least cross-entropy).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from meltpoint.arrays import Floats, Ints
from meltpoint.errors import UserError
from meltpoint.model.heads.cosine import Cosine
from meltpoint.model.library import open_text
from meltpoint.model.model import build_heads
from meltpoint.model.prompts import fill_prompts
from meltpoint.model.text_vectors import embed_words
from meltpoint.params.heads import Head
from meltpoint.params.strategies import WordsStrategy
from meltpoint.progress import Stopwatch, peak_megabytes
from meltpoint.terminal import say
from meltpoint.train.batches import cut, mix_one
from meltpoint.train.feature_source import FeatureSource, open_source
from meltpoint.train.job import Job, Outcome
from meltpoint.train.losses import Validation, name_scores

DRAW = 0xE8A  # tells the seed of the pictures that are drawn from other numbers made of the same seed
AT_LEAST = 64  # images whose features are read at once
COLDEST, HOTTEST = math.log(0.1), math.log(10_000)  # of a temperature by which likenesses are multiplied
START = (0.0, math.log(5.5))  # of the pictures' weight and sharpness, in logarithms; the paper's are 1 and 5.5
GAIN = 1e-4  # of the loss on val, for which pictures are kept


class WordsError(UserError, ValueError):
    """A class has no words of the kind that is asked for."""


@dataclass(frozen=True)
class Mixture:
    """How likenesses become outputs: temperature * (words + weight * exp(-sharpness (1 - closeness)) values)."""

    temperature: float
    weight: float
    sharpness: float
    loss: float  # on val


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures: their features (n, D) of length 1, and what each counts, (n, n_outputs)."""

    keys: Tensor
    values: Tensor


def train(job: Job[WordsStrategy]) -> Outcome:
    """Make the heads of the classes' words, and calibrate them on val."""
    problem, settings = job.problem, job.settings
    job.checkpoint.resume()
    model, encoder = job.build_model(), open_text(job.recipe.encoder)
    vectors = {name: embed_words(encoder, describe(job, name)) for name in problem.heads}
    watch, heads, notes = Stopwatch("words"), dict[str, Head](), list[str]()
    source = open_source(problem, {"final": "final"}, job.features, model.backbone)
    val = read_features(source, problem.val.rows)
    for name, head in problem.heads.items():
        targets = problem.val.targets[name]
        known = (targets >= 0).reshape(len(targets), -1).any(1)  # of tags: where anything is
        outputs = problem.n_outputs[name]
        words = spread(vectors[name], outputs)  # (n_outputs, D)
        pictures = None
        if settings.examples:
            counted = problem.objectives[name].counts_for(problem.train.targets[name])
            chosen = draw_examples(counted.numpy(), settings.examples, job.recipe.seed)
            labels = one_hot(counted[chosen], len(vectors[name])).float()
            pictures = Pictures(read_features(source, problem.train.rows[chosen]), spread(labels.T, outputs).T)
        mixture, used = mix(val[known], words, pictures, _loss_of(job, name, known))
        heads[name] = head.model_copy(update={"examples": len(used.keys) if used else 0})
        built = build_heads({name: heads[name]}, model.backbone, problem.n_outputs)[name]
        model.heads[name] = fill_head(built, mixture, words, used)
        notes.append(_note(name, mixture, used))
        if pictures and not used:
            say(f"{name}: the pictures do not make val any surer, and are left out")
        if not used and mixture.temperature < 1:
            say(f"warning: the words of {name} tell next to nothing about val. Describe what is seen in other words.")
    validation = Validation(problem, torch.device("cpu"))
    with torch.no_grad():
        validation.add({name: head(val) for name, head in model.heads.items()}, np.arange(len(val)))
    scores = {name: {key: float(value) for key, value in own.items()} for name, own in validation.scores().items()}
    job.checkpoint.log({"epoch": 1, **name_scores(scores, problem.weights)}, 1)
    return Outcome(
        model=model.eval(),
        heads=heads,
        trainable=0,
        epochs=0,
        seconds=watch.seconds,
        peak_megabytes=peak_megabytes(),
        sentence=f"{problem.describe(scores)} on val, {'; '.join(notes)}",
    )


def describe(job: Job[WordsStrategy], name: str) -> dict[str, list[str]]:
    """The texts of each class of a head: names in the prompts, then descriptions, as the strategy asks for.

    Raises:
        WordsError: the data have no names in the language, or no descriptions of the label.
    """
    settings, label = job.settings, job.problem.heads[name].label
    texts: dict[str, list[str]] = {one: [] for one in job.problem.classes[name]}
    if "names" in settings.texts:
        languages = job.texts.names.get(label, {})
        if settings.language is not None and settings.language not in languages:
            raise WordsError(
                f"The classes of {label!r} have names in {sorted(languages) or 'no language'}, and"
                f" strategies.{job.recipe.strategy}.language is {settings.language!r}. Add a column to"
                f" data.names.{label}, or set language to null."
            )
        names = languages[settings.language] if settings.language else {}
        for one, own in texts.items():
            own += fill_prompts(settings.prompts, names.get(one) or one.replace("_", " "))
    if "descriptions" in settings.texts:
        sentences = job.texts.descriptions.get(label, {})
        if lacking := [one for one in texts if not sentences.get(one)]:
            raise WordsError(
                f"strategies.{job.recipe.strategy}.texts asks for descriptions, and of {label!r} {lacking} have none."
                f" Name a table as data.descriptions.{label}, with a sentence for each class."
            )
        for one, own in texts.items():
            own += sentences[one]
    return texts


def read_features(source: FeatureSource, rows: Ints) -> Tensor:
    """Features of some rows' plain views, float32 (n, D), each of length 1."""
    pieces = [source.read_plain(piece)["final"].float() for piece in cut(rows, max(AT_LEAST, source.at_once))]
    return normalize(torch.cat(pieces), dim=1)


def spread(of_classes: Tensor, n_outputs: int) -> Tensor:
    """What belongs to each class, (C, ...), as it is for outputs; of two classes one output has the difference."""
    return of_classes[1:] - of_classes[:1] if n_outputs == 1 else of_classes


def draw_examples(targets: Ints, count: int, seed: int) -> Ints:
    """The places, rising, of `count` images of each class, or of all where there are fewer, drawn by the seed."""
    rng = np.random.default_rng(mix_one(seed, DRAW))
    order = rng.permutation(len(targets))
    drawn = [order[targets[order] == one][:count] for one in range(targets.max() + 1)]
    return np.sort(np.concatenate(drawn))


def mix(
    features: Tensor, words: Tensor, pictures: Pictures | None, loss: Callable[[Tensor], float]
) -> tuple[Mixture, Pictures | None]:
    """The mixture of least loss on images of val, features (n, D), and the pictures unless words do as well alone."""
    likeness = features @ words.T

    def of_words(temperature: float) -> float:
        return loss(math.exp(temperature) * likeness)

    alone = minimize_scalar(of_words, bounds=(COLDEST, HOTTEST), method="bounded")
    best = Mixture(math.exp(alone.x), 0.0, 1.0, float(alone.fun))
    if pictures is None:
        return best, None
    distance = (features @ pictures.keys.T - 1).T.contiguous()  # (pictures, n)
    counts, kept = pictures.values.T.to_sparse(), torch.empty_like(distance)  # a picture counts for one class or two

    def blend(logs: Floats) -> float:
        temperature, weight, sharpness = np.exp(np.clip(logs, -10, 10)).tolist()
        of_pictures = torch.sparse.mm(counts, torch.mul(distance, sharpness, out=kept).exp_()).T
        return loss(temperature * (likeness + weight * of_pictures))

    start = np.array([float(alone.x), *START])
    simplex = np.vstack([start, start + np.eye(3)])  # steps of a factor of e: by default they are shares of the start
    both = minimize(blend, start, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 150})
    if not both.fun < best.loss - GAIN:
        return best, None
    temperature, weight, sharpness = np.exp(np.clip(both.x, -10, 10)).tolist()
    return Mixture(temperature, weight, sharpness, float(both.fun)), pictures


def fill_head(head: nn.Module, mixture: Mixture, words: Tensor, pictures: Pictures | None) -> nn.Module:
    """A head `cosine` with the words (n_outputs, D), and the pictures that it was built for."""
    cosine = cast(Cosine, cast(nn.Sequential, head)[-1])
    with torch.no_grad():
        cosine.words.weight.copy_(mixture.temperature * words)
        if pictures:
            cosine.keys.copy_(pictures.keys)
            cosine.values.copy_(mixture.temperature * mixture.weight * pictures.values)
            cosine.sharpness.fill_(mixture.sharpness)
    return head.eval()


def _loss_of(job: Job[WordsStrategy], name: str, known: Tensor) -> Callable[[Tensor], float]:
    objective, targets = job.problem.objectives[name], job.problem.val.targets[name][known]
    return lambda outputs: float(objective.loss(outputs, targets, 0.0))


def _note(name: str, mixture: Mixture, pictures: Pictures | None) -> str:
    beside = f", {len(pictures.keys)} pictures at {mixture.weight:.3g} beside them" if pictures else ""
    return f"{name}: likenesses times {mixture.temperature:.3g}{beside}"
