"""Strategy `pretrained`: the classifier that came with the weights, untouched; its classes stand for ours."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from meltpoint.errors import UserError
from meltpoint.model.classifier import load_classifier
from meltpoint.model.heads.pretrained import Mapped
from meltpoint.model.model import build_heads
from meltpoint.params.heads import Head, PretrainedHead
from meltpoint.params.strategies import PretrainedStrategy
from meltpoint.progress import Stopwatch
from meltpoint.terminal import say
from meltpoint.train.batches import cut
from meltpoint.train.closed_form import ROWS, Cached, conclude
from meltpoint.train.job import Job, Outcome

SHOWN = 8  # classes that a message names
NONE = -1  # stands for a class of the classifier that is none of ours


class MappingError(UserError, ValueError):
    """Classes of the data and of the pretrained classifier that cannot be brought together."""


def train(job: Job[PretrainedStrategy]) -> Outcome:
    """Nothing is trained: each class of the data is given the classes of the classifier that are called as it is.

    Raises:
        MappingError: no class of a head is one of the classifier's, or `classes` names what is not there.
        BackboneError, WeightsError: the weights came without such a classifier.
    """
    watch, model, problem, asked = Stopwatch("pretrained"), job.build_model(), job.problem, job.settings.classes
    classifier = load_classifier(job.recipe.encoder, job.views.size)
    cached, heads, outputs = Cached(job, model), dict[str, Head](), dict[str, Tensor]()
    if strange := sorted(asked.keys() - {one for own in problem.classes.values() for one in own}):
        raise MappingError(
            f"strategies.{job.recipe.strategy}.classes names {strange}, and the data have no such classes."
            f" They have {_few(next(iter(problem.classes.values())))}. Correct the names."
        )
    for name, head in problem.heads.items():
        assert isinstance(head, PretrainedHead)
        classes = problem.classes[name]
        owner = map_classes(classes, classifier.names, asked, f"strategies.{job.recipe.strategy}.classes")
        tell_mapped(name, classes, owner, problem.val.targets[name])
        heads[name] = head.model_copy(update={"known": len(owner)})
        layers = cast(nn.Sequential, build_heads({name: heads[name]}, model.backbone, problem.n_outputs)[name].eval())
        layers[0].load_state_dict(classifier.layer.state_dict())
        cast(Mapped, layers[1]).owner.copy_(owner)
        model.heads[name] = layers
        parts = cut(problem.val.rows, ROWS)
        with torch.no_grad():
            outputs[name] = torch.cat([layers(cached.read(head, rows)) for rows in parts])
    return conclude(job, model, outputs, heads, watch, trainable=0)


def map_classes(
    classes: Sequence[str], known: Sequence[Sequence[str]], asked: Mapping[str, Sequence[str]], where: str
) -> Tensor:
    """For each class of a classifier the class id that it counts for, int64 (known,); -1: none.

    `known` are the names of each, its id first. A class gets those that `asked` lists for it, by id or name; else the
    one whose id it is; else all that share a whole name with it, whatever the case, and `_` or `-` for a blank.

    Raises:
        MappingError: a listed name is none of the known, or one of the known would count for two classes.
    """
    places: dict[str, list[int]] = {}
    for number, names in enumerate(known):
        for name in dict.fromkeys(map(_plain, names)):
            places.setdefault(name, []).append(number)
    owner = np.full(len(known), NONE)
    for code, label in enumerate(classes):
        found: list[int] = []
        for name in asked.get(label, [label, *label.split(", ")]):
            if label in asked and _plain(name) not in places:
                near = difflib.get_close_matches(_plain(name), places, n=3, cutoff=0.6)
                raise MappingError(
                    f"{where}.{label}: the pretrained classifier has no class {name!r}."
                    f"{' Did you mean ' + ' or '.join(near) + '?' if near else ''} Its classes have WordNet ids, as"
                    f" {known[0][0]}, and names, as {known[0][1]!r}."
                )
            found += places.get(_plain(name), [])
        for number in found:
            if owner[number] not in (NONE, code):
                raise MappingError(
                    f"The pretrained class {known[number][0]} ({', '.join(known[number][1:])}) would count for"
                    f" {classes[owner[number]]!r} and for {label!r}. Say under {where} which ones each has:"
                    f" {{{label}: [ID, ...]}}."
                )
            owner[number] = code
    return torch.from_numpy(owner)


def tell_mapped(name: str, classes: Sequence[str], owner: Tensor, val: Tensor) -> None:
    """Say which classes of a head are mapped, and how many images of val (n,), class ids, are of those that are not.

    Raises:
        MappingError: none is.
    """
    unmapped = [code for code in range(len(classes)) if not (owner == code).any()]
    if len(unmapped) == len(classes):
        raise MappingError(
            f"The pretrained classifier has none of the {len(classes)} classes of {name}: {_few(classes)}. Its classes"
            " are those of ImageNet, by WordNet id (n02123045) or name (tabby). List which of them each class has in"
            " the strategy's `classes`: {cat: [tabby, n02123159]}; or take another kind of strategy, as prototypes."
        )
    used = int((owner != NONE).sum())
    say(
        f"{name}: {len(classes) - len(unmapped)} of {len(classes)} classes are {used:,} of the classifier's"
        f" {len(owner):,}"
    )
    if unmapped:
        images, labelled = int(torch.isin(val, torch.tensor(unmapped)).sum()), int((val >= 0).sum())
        say(
            f"warning: {name}: the classifier does not know {len(unmapped)} of {len(classes)} classes, and never"
            f" answers them: {_few([classes[code] for code in unmapped])}; {images:,} of {labelled:,} images"
            " of val are of these. `classes` of the strategy can list what stands for them."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
