"""How fast this machine is at what stages spend their time on: as measured here, else as two usual cores are."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meltpoint.files import read_json, write_json
from meltpoint.params.model import Backbone
from meltpoint.params.recipe import Recipe

PLACE = Path(".checkpoints/speeds.json")  # below the working directory; ignored by git, removed by `make clean`


@dataclass(frozen=True)
class EncoderSpeed:
    """Seconds for one image of `side` pixels, all cores together; they grow with the number of pixels.

    encoder: its name and arguments. forward: of the frozen encoder. step: one forward and backward pass of the whole
    model. heads: the same of the heads alone, over stored features. features: bytes of these.
    """

    encoder: str
    side: int
    forward: float
    step: float
    heads: float
    features: float


# EfficientNet-Lite0 on two cores with AVX2, other programs running; and a photograph of half a megapixel. Its heads and
# features are counted for masks alone: a dense_pyramid on four stages.
USUAL = EncoderSpeed("tf_efficientnet_lite0", side=224, forward=0.012, step=0.08, heads=0.015, features=3.1e6)
USUAL_CORES, USUAL_START, USUAL_DECODE = 2, 6.0, 0.006


@dataclass(frozen=True)
class Speeds:
    """start: seconds to start Python with torch and timm. decode: of one image on one thread.

    busy: how many times longer everything takes while other programs run, as they did when this was measured.
    encoders: those that were measured here.
    """

    start: float
    decode: float
    cores: int
    device: str
    busy: float
    encoders: Sequence[EncoderSpeed]

    def of(self, backbone: Backbone, side: int) -> EncoderSpeed:
        """The speed at `side` pixels, scaled from the nearest size at which the encoder was measured.

        An encoder that was not measured is taken to be as fast as one that was, or as the usual one if none was.
        """
        own = [timed for timed in self.encoders if timed.encoder == name_of(backbone)]
        share = USUAL_CORES / self.cores
        usual = replace(USUAL, forward=USUAL.forward * share, step=USUAL.step * share, heads=USUAL.heads * share)
        timed = min(own or self.encoders or [usual], key=lambda timed: abs(timed.side - side))
        scale = (side / timed.side) ** 2
        scaled = {part: getattr(timed, part) * scale for part in ("forward", "step", "heads", "features")}
        return replace(timed, **scaled)

    def describe(self, backbone: Backbone, side: int) -> str:
        """Where the speed at `side` pixels comes from."""
        timed = self.of(backbone, side)
        if name_of(backbone) not in {own.encoder for own in self.encoders}:
            return f"not measured here: the estimate is that of {timed.encoder} at this size"
        return "measured here" if timed.side == side else f"scaled from what was measured here at {timed.side} px"


def name_of(backbone: Backbone) -> str:
    """What decides how long an encoder takes: its name and arguments."""
    return f"{backbone.name} {backbone.args or ''}".strip()


def measure_speeds(recipes: Sequence[Recipe], outputs: Mapping[str, int], decode: float) -> Speeds:
    """Time this machine with the models of recipes, some seconds each; `outputs` are those of each head.

    Raises:
        BackboneError: there is no such backbone, or it does not take the side of its views.
    """
    begin = time.process_time()
    from meltpoint.forecast.measure import measure  # torch and timm take seconds, as they do in each stage

    start = max(time.process_time() - begin, 1.0)
    return measure(recipes, outputs, start, decode)


def write_speeds(speeds: Speeds) -> None:
    """Keep what was measured for `meltpoint plan`."""
    write_json(PLACE, asdict(speeds))


def read_speeds() -> Speeds:
    """What was measured here, or what is usual for the cores of this machine."""
    try:
        raw = read_json(PLACE)
        return Speeds(**{**raw, "encoders": [EncoderSpeed(**own) for own in raw["encoders"]]})
    except (OSError, ValueError, TypeError, KeyError):  # none, or one of another version
        return Speeds(USUAL_START, USUAL_DECODE, os.cpu_count() or 1, "cpu", busy=1.0, encoders=[])
