"""Strategy `frozen`: the backbone stays as it is, and heads learn on its features."""

from meltpoint.params.strategies import FrozenStrategy
from meltpoint.train.job import Job, Outcome, count_parameters
from meltpoint.train.probe import probe


def train(job: Job[FrozenStrategy]) -> Outcome:
    """Fit the heads with each weight decay at once, and take for each head the one that is best on val."""
    model = job.build_model()
    fitted = probe(job, model.backbone, job.checkpoint)
    model.heads = fitted.heads
    decays = ", ".join(f"{head} {decay:g}" for head, decay in fitted.weight_decays.items())
    return Outcome(
        model=model,
        heads=job.problem.heads,
        trainable=count_parameters(model.heads),
        epochs=job.settings.probe.epochs,
        seconds=fitted.seconds,
        peak_megabytes=fitted.peak_megabytes,
        sentence=f"{job.problem.describe(fitted.scores)} on val, with the weight decays {decays}",
    )
