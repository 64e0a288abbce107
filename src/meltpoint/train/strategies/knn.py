"""Strategy `knn`: the most similar training images vote; how many of them is chosen on val."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from meltpoint.model.heads.knn import Neighbours
from meltpoint.model.model import build_heads
from meltpoint.params.heads import Head, KnnHead
from meltpoint.params.strategies import KnnStrategy
from meltpoint.progress import Stopwatch
from meltpoint.tasks.contract import MISSING
from meltpoint.terminal import say
from meltpoint.train.batches import cut
from meltpoint.train.closed_form import ROWS, Cached, conclude
from meltpoint.train.job import Job, Outcome
from meltpoint.train.losses import choose_best

MANY = 500e6  # bytes of vectors from which a model is heavy to carry


def train(job: Job[KnnStrategy]) -> Outcome:
    """Keep the features of the labelled training images; of the numbers in `k`, take the one that is best on val."""
    watch, model, problem = Stopwatch("knn"), job.build_model(), job.problem
    cached, heads, outputs, weight = Cached(job, model), dict[str, Head](), dict[str, Tensor](), 0
    for name, asked in problem.heads.items():
        assert isinstance(asked, KnnHead)
        targets = problem.train.targets[name]
        known = (targets != MISSING).numpy()
        head = asked.model_copy(update={"vectors": int(known.sum())})
        layers = cast(nn.Sequential, build_heads({name: head}, model.backbone, problem.n_outputs)[name].eval())
        neighbours, to_outputs = cast(Neighbours, layers[0]), layers[1]
        neighbours.fill(cached.read(head, problem.train.rows[known]), targets[known])
        counts = sorted({min(count, head.vectors) for count in job.settings.k})
        if more := sorted(count for count in job.settings.k if count > head.vectors):
            say(
                f"{name}: k is at most {head.vectors:,}, the labelled training images; instead of"
                f" {', '.join(map(str, more))} all vote"
            )
        seen = cached.read(head, problem.val.rows)
        parts = [neighbours.vote(seen[part], counts) for part in cut(np.arange(len(seen)), ROWS)]
        found = to_outputs(torch.cat(parts, 1))
        tally = problem.objectives[name].tally()
        tally.add(found, problem.val.targets[name])
        best = choose_best(tally.scores(lambda rows: rows), problem.metric)
        neighbours.k.fill_(counts[best])
        say(f"{name}: k {counts[best]} of {counts} is best on val")
        heads[name], model.heads[name], outputs[name] = head, layers, found[best]
        weight += neighbours.vectors.nbytes
    if weight >= MANY:
        say(
            f"warning: the model carries {weight / 1e6:,.0f} MB of vectors, and compares each new image with all"
            " of them. `half: true` halves them, `shots` keeps fewer; prototypes carry one vector a class."
        )
    return conclude(job, model, outputs, heads, watch, trainable=0)
