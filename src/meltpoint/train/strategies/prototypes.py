"""Strategy `prototypes`: the class whose mean feature is most similar, as a linear layer that nobody trains."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from meltpoint.model.standardise import Standardise
from meltpoint.params.strategies import PrototypesStrategy
from meltpoint.progress import Stopwatch
from meltpoint.train.closed_form import Cached, conclude, sharpen
from meltpoint.train.job import Job, Outcome, count_parameters
from meltpoint.train.problem import ProblemError


def train(job: Job[PrototypesStrategy]) -> Outcome:
    """Class means of standardised features for each head, and one temperature, with which val has the least loss.

    An image is of the class whose mean has the largest cosine with its features. Their own length is the same for all
    classes, so that this is a linear layer with means of length 1 as weights and without a bias (after Snell, Swersky
    and Zemel: Prototypical Networks for Few-shot Learning, NeurIPS 2017, who take the least distance: docs/log.md).

    Raises:
        ProblemError: a class has no labelled training image.
    """
    watch, model, problem = Stopwatch("prototypes"), job.build_model(), job.problem
    cached, outputs = Cached(job, model), dict[str, Tensor]()
    for name, head in problem.heads.items():
        layers = cast(nn.Sequential, model.heads[name])
        standardise, linear = cast(Standardise, layers[0]), cast(nn.Linear, layers[1])
        standardise.fit(*cached.moments(head))
        targets, classes = problem.train.targets[name], problem.classes[name]
        if missing := [one for number, one in enumerate(classes) if not (targets == number).any()]:
            raise ProblemError(
                f"The head {name!r} has no prototype of {', '.join(missing)}: no training image has that label. Label"
                " some, or leave the strategy out."
            )
        shown = standardise(cached.read(head, problem.train.rows))
        weight = class_directions(shown, targets, len(classes), head.target == "ordinal")
        seen = standardise(cached.read(head, problem.val.rows))
        factor = sharpen(problem.objectives[name], seen @ weight.T, problem.val.targets[name])
        with torch.no_grad():
            linear.weight.copy_(factor * weight)
            linear.bias.zero_()
            outputs[name] = linear(seen)
    return conclude(job, model, outputs, problem.heads, watch, count_parameters(model.heads))


def class_directions(features: Tensor, targets: Tensor, n_classes: int, ordinal: bool) -> Tensor:
    """The weight (K, D) of each output of a head, of features float (N, D) and their class ids (N,).

    Nominal: the direction of each class's mean, of two classes the second's less the first's. Ordinal, output k, which
    tells the classes above k from k: the direction of their mean less that of k's.
    """

    def direction(classes: list[int]) -> Tensor:
        return normalize(features[torch.isin(targets, torch.tensor(classes))].mean(0), dim=0)

    if ordinal or n_classes == 2:
        above = [list(range(step + 1, n_classes)) for step in range(n_classes - 1)]
        return torch.stack([direction(higher) - direction([step]) for step, higher in enumerate(above)])
    return torch.stack([direction([number]) for number in range(n_classes)])
