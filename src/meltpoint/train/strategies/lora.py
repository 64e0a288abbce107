"""Strategy `lora`: from the heads that frozen features give, with low-rank changes of the backbone learning too."""

from meltpoint.model.adapters import adapt, merge
from meltpoint.model.model import Model
from meltpoint.params.strategies import LoraStrategy
from meltpoint.terminal import say
from meltpoint.train.batches import mix_one
from meltpoint.train.job import Job, Outcome
from meltpoint.train.loop import HEADS
from meltpoint.train.tuning import fit_tuned, let_learn, tune

NET = "backbone.net."  # names of the parameters of the timm model begin so
NOISE = 0x10AA  # tells the seed of the adapters from other numbers made of the same seed
SEEDS = 2**31


def train(job: Job[LoraStrategy]) -> Outcome:
    """Fit the heads on frozen features, then train them with the adapters, and merge these into the weights."""
    outcome = fit_tuned(job, prepare)
    merge(outcome.model.backbone.net)
    return outcome


def work(job: Job[LoraStrategy]) -> None:
    """The training in one of several processes."""
    model = job.build_model()
    tune(job, model, prepare(job, model))


def prepare(job: Job[LoraStrategy], model: Model) -> dict[str, float]:
    """Let adapters of the backbone and the heads learn: names of what learns, and rates relative to `lr`."""
    settings, seed = job.settings, mix_one(job.recipe.seed, NOISE) % SEEDS
    adapted = adapt(model.backbone.net, settings.rank, settings.alpha, settings.where, seed)
    adapters = [f"{NET}{name}.{part}" for name in adapted.names for part in ("down", "up")]
    learning = let_learn(model, adapters)
    unread = [name for name in adapted.names if f"{NET}{name}.up" not in learning]
    for what, names in (("are neither linear nor 1x1", adapted.skipped), ("reach no head", unread)):
        if names:
            say(
                f"{len(names)} layers {what}, and stay as they are: {', '.join(names[:3])}{' ...' if names[3:] else ''}"
            )
    scales = dict.fromkeys(adapters, settings.adapter_lr / settings.lr) | {
        f"{HEADS}.{name}": 1.0 for name, _ in model.heads.named_parameters()
    }
    return {name: scale for name, scale in scales.items() if name in learning}
