"""Strategy `finetune`: from the heads that frozen features give, with the last stages of the backbone learning too."""

from meltpoint.model.model import Model
from meltpoint.params.strategies import FinetuneStrategy
from meltpoint.train.job import Job, Outcome
from meltpoint.train.loop import HEADS
from meltpoint.train.optimiser import scale_stages
from meltpoint.train.tuning import fit_tuned, let_learn, tune


def train(job: Job[FinetuneStrategy]) -> Outcome:
    """Fit the heads on frozen features, then train them with the last stages of the backbone."""
    return fit_tuned(job, prepare)


def work(job: Job[FinetuneStrategy]) -> None:
    """The training in one of several processes."""
    model = job.build_model()
    tune(job, model, prepare(job, model))


def unfreeze(model: Model, strategy: FinetuneStrategy) -> dict[str, float]:
    """Let the heads and the last stages learn, and nothing else; names of what learns, and rates relative to `lr`."""
    stages = scale_stages(model.backbone.stages(), strategy.unfreeze, strategy.layer_decay or 1.0)
    slower = strategy.backbone_lr / strategy.lr
    scales = {f"backbone.{name}": slower * scale for name, scale in stages.items()}
    scales |= {f"{HEADS}.{name}": 1.0 for name, _ in model.heads.named_parameters()}
    learning = let_learn(model, scales)
    return {name: scale for name, scale in scales.items() if name in learning}


def prepare(job: Job[FinetuneStrategy], model: Model) -> dict[str, float]:
    """`unfreeze`, as the job's settings say."""
    return unfreeze(model, job.settings)
