"""How fast a machine is at what stages spend their time on: measured by `meltpoint init`, else what two cores reach."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meltpoint.files import read_json, write_json

PLACE = Path(".checkpoints/speeds.json")  # below the working directory; ignored by git, removed by `make clean`


@dataclass(frozen=True)
class Speeds:
    """Seconds of single steps on this machine, all its cores together unless said.

    side: of the images that the backbone was timed with; its time grows with the number of pixels.
    backbone: its name. start: to start Python with torch and timm. decode: of one image on one thread.
    forward: of the frozen backbone for an image. step: of one forward and backward pass of the whole model for an
    image. heads: of the heads' own forward and backward pass, over features of an image. features: bytes of these.
    busy: how many times longer it takes while other programs run, as they did then. measured: whether on this machine.
    """

    backbone: str
    side: int
    start: float
    decode: float
    forward: float
    step: float
    heads: float
    features: int
    cores: int
    device: str
    busy: float
    measured: bool


# EfficientNet-Lite0 on two cores with AVX2, other programs running; a photograph of half a megapixel.
USUAL = Speeds(
    backbone="tf_efficientnet_lite0",
    side=224,
    start=6.0,
    decode=0.006,
    forward=0.012,
    step=0.08,
    heads=2e-5,
    features=5120,
    cores=2,
    device="cpu",
    busy=1.0,
    measured=False,
)


def write_speeds(speeds: Speeds) -> None:
    """Keep what was measured for `meltpoint plan`."""
    write_json(PLACE, asdict(speeds))


def read_speeds() -> Speeds:
    """What was measured here, or what is usual, scaled to the cores of this machine."""
    try:
        return Speeds(**read_json(PLACE))
    except (OSError, ValueError, TypeError):  # none, or one of another version
        cores = os.cpu_count() or 1
        share = USUAL.cores / cores
        return replace(USUAL, cores=cores, forward=USUAL.forward * share, step=USUAL.step * share)
