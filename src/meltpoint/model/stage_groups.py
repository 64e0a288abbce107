"""A net's parameters parted by depth, as fine-tuning freezes, unfreezes and slows them."""

from collections.abc import Collection
from typing import Any, cast

from timm.models import group_parameters
from torch import nn

from meltpoint.model.nets import BackboneError


def group_by_depth(net: nn.Module) -> list[list[str]]:
    """Names of the parameters as timm groups them for layer-wise learning rates: stem, stages or blocks, the rest.

    Where timm does not group them, each numbered part (`stages.0`) is a group, and what stands before, between and
    after those: a net holds its parts in the order in which images pass them.
    """
    try:
        matcher = cast(Any, net).group_matcher(coarse=True)
    except Exception:  # noqa: BLE001 - poolformer has no such method, rdnet's refuses
        return _group_by_part(net)
    grouped = group_parameters(net, matcher)
    return [list(grouped[depth]) for depth in sorted(grouped)]


def _group_by_part(net: nn.Module) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name, _ in net.named_parameters():
        part, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        groups.setdefault(f"{part}.{number}" if number.isdigit() else part, []).append(name)
    return list(groups.values())


def check_stages(name: str, stages: list[list[str]], parameters: Collection[str]) -> None:
    """Whether each parameter stands in one stage, as fine-tuning will want: told before an image is read.

    Raises:
        BackboneError: one stands in none, or in two.
    """
    staged = sorted(parameter for names in stages for parameter in names)
    if staged != sorted(parameters):
        wrong = sorted({one for one in {*staged, *parameters} if staged.count(one) != 1})
        raise BackboneError(
            f"{name} cannot be parted into stages, by which it is frozen and unfrozen: of its {len(parameters)}"
            f" parameters {len(wrong)} stand in no stage or in two, for example {wrong[:3]}. Take another backbone:"
            " timm.list_models() lists them."
        )
