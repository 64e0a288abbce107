"""What the places where heads read an encoder give: the shape of each, and whether an encoder has it."""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from torch import nn

from meltpoint.model import nets
from meltpoint.model.nets import BackboneError
from meltpoint.params.model import GridTap, MapTap, Reading, TokenTap

FINAL, FINAL_MAP, PATCHES = "final", "final_map", "patches"


@dataclass(frozen=True)
class FeatureSpec:
    """What a tap gives: vectors of `channels`, or where they are not pooled maps of (channels, *grid).

    `grid` is (rows, columns), its cells or patches `stride` pixels apart; None where the backbone pools in a way of
    its own. `dtype` is the one they are stored with; those of whole grids are large.
    """

    channels: int
    stride: int
    grid: tuple[int, int] | None
    pooled: bool
    dtype: Literal["float32", "float16"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one image."""
        return (self.channels,) if self.pooled or self.grid is None else (self.channels, *self.grid)


def tap_places(tap: Reading) -> tuple[int, ...]:
    """The stages or blocks that are tapped, as params count them; none for the final one."""
    match tap:
        case TokenTap() | MapTap():
            return (tap.at,)
        case GridTap():
            return tap.at
        case int():
            return (tap,)
        case "final" | "final_map":
            return ()
        case _:
            assert_never(tap)


def select_specs(
    name: str, net: nn.Module, specs: dict[str, FeatureSpec], taps: dict[str, Reading]
) -> dict[str, FeatureSpec]:
    """The specs of the wanted taps, by tap key."""
    selected, n_stages = {}, len(specs.keys() - {FINAL, FINAL_MAP})
    for key, tap in taps.items():
        for at in tap_places(tap):
            if not -n_stages <= at < n_stages:
                known = ", ".join(
                    f"{number} ({spec.channels} channels)" for number, spec in specs.items() if number != FINAL_MAP
                )
                raise BackboneError(
                    f"{name} has no tap {at}. It has {known}; -1 is the last of the numbered ones. Correct the head's"
                    " tap."
                )
        own = [specs[str(at % n_stages)] for at in tap_places(tap)] or [specs[FINAL]]
        match tap:
            case "final_map" if FINAL_MAP in specs:
                selected[key] = specs[FINAL_MAP]
            case "final_map":
                raise BackboneError(
                    f"{name} ends in no map of cells, which a head of kind query reads. Take another backbone, or a"
                    " head of kind linear or mlp."
                )
            case TokenTap():
                _check_pool(name, net, tap)
                selected[key] = replace(own[0], channels=len(tap.pool) * own[0].channels)
            case MapTap():
                selected[key] = replace(own[0], pooled=False)
            case GridTap():
                finest = min(own, key=lambda spec: spec.stride)
                channels = sum(spec.channels for spec in own)
                selected[key] = replace(finest, channels=channels, pooled=False, dtype="float16")
            case _:
                selected[key] = own[0]
    return selected


def _check_pool(name: str, net: nn.Module, tap: TokenTap) -> None:
    if not nets.has_tokens(net):
        raise BackboneError(
            f"{name} has no tokens, and a head's tap asks for {list(tap.pool)}. It has maps of cells; `tap: {tap.at}`"
            " gives the mean over the cells. Correct the head's tap, or take a ViT."
        )
    has = [*nets.count_tokens(net), PATCHES]
    missing = [kind for kind in tap.pool if kind not in has]
    if missing:
        raise BackboneError(
            f"{name} has no tokens of the kind {' or '.join(missing)}, which a head's tap asks for. Its blocks have"
            f" {' and '.join(has)}. Correct the head's tap.pool."
        )
