"""A fine-tuning step against a plain PyTorch loop on the same model, batch and size."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from meltpoint.images.views import Views
from meltpoint.model.backbones import build_backbone
from meltpoint.params.read import Params
from meltpoint.params.strategies import FinetuneStrategy
from meltpoint.train.checkpoint import Checkpoint, Saved
from meltpoint.train.device import build_accelerator
from meltpoint.train.job import Job
from meltpoint.train.loop import Loop
from meltpoint.train.problem import Problem, build_problem
from meltpoint.train.strategies.finetune import unfreeze
from reporting import Row, Timed, side_by_side
from stage_set import photographs, preset

IMAGES, ROUNDS = 192, 5
START = Saved({}, {"step": 0, "seconds": 0.0, "best": None, "loss_sum": 0.0, "loss_count": 0})


def measure(folder: Path) -> list[Row]:
    """Images a second of a whole epoch, batches read and the optimiser stepped; ours also keeps an average."""
    params = preset(train={"checkpoint_steps": 1_000_000})
    views = photographs(params, IMAGES, 8, folder / "views")
    problem = build_problem(views, params.recipe("finetune"))
    loop, plain = _our_loop(params, problem, views, folder), _plain_loop(params, problem, views)
    ours, theirs = side_by_side(loop, plain, ROUNDS)
    note = f"batches of {_strategy(params).batch} at {views.size} px, all layers learn"
    rates = IMAGES / ours.seconds, IMAGES / theirs.seconds
    return [Row("fine-tuning, images a second", *rates, "a plain PyTorch loop", note)]


def _strategy(params: Params) -> FinetuneStrategy:
    strategy = params.strategies["finetune"]
    assert isinstance(strategy, FinetuneStrategy)
    return strategy


def _our_loop(params: Params, problem: Problem, views: Views, folder: Path) -> Callable[[], Timed]:
    checkpoint = Checkpoint(folder / "checkpoint")
    checkpoint.folder.mkdir()
    unread: Any = None  # features: the loop trains from images
    job: Job[FinetuneStrategy] = Job(params.recipe("finetune"), views, unread, problem, checkpoint)
    model = job.build_model()
    scales, accelerator = unfreeze(model, job.settings), build_accelerator(params.train)

    def run() -> Timed:
        loop = Loop(job, model, scales, accelerator, START)
        start = time.perf_counter()
        loop.run_epoch(0)
        return Timed(time.perf_counter() - start, loop.loss)

    return run


def _plain_loop(params: Params, problem: Problem, views: Views) -> Callable[[], Timed]:
    backbone = build_backbone(params.recipe("frozen").encoder, {"final"}, views.size).to(
        memory_format=torch.contiguous_format
    )
    heads = {name: torch.nn.Linear(1280, objective.n_outputs) for name, objective in problem.objectives.items()}
    learning = [*backbone.parameters(), *(parameter for head in heads.values() for parameter in head.parameters())]
    optimiser = torch.optim.AdamW(learning, lr=1e-4)

    def run() -> Timed:
        start, batch = time.perf_counter(), _strategy(params).batch
        for numbers in torch.randperm(IMAGES)[: IMAGES // batch * batch].split(batch):  # type: ignore[no-untyped-call]
            images = torch.from_numpy(views.plain[problem.train.rows[numbers.numpy()]]).permute(0, 3, 1, 2)
            seen = backbone.net((images.contiguous().float() / 255 - 0.5) / 0.5)
            losses = [
                objective.loss(heads[name](seen), problem.train.targets[name][numbers], 0.05)
                for name, objective in problem.objectives.items()
            ]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
        return Timed(time.perf_counter() - start, None)

    return run
