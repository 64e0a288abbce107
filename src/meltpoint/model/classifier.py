"""The classifier that came with a backbone's weights, which a backbone goes without, and what its classes are."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from meltpoint.model import nets
from meltpoint.model.nets import BackboneError
from meltpoint.model.weights import WeightsError, load_weights
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import FileWeights, HubWeights, PackageWeights

TOLERANCE = 1e-4  # relative to the largest output


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear layer over a backbone's final features; `names` of each output are its WordNet id, then its words."""

    layer: nn.Linear
    names: list[list[str]]


def load_classifier(params: BackboneParams, size: int) -> Classifier:
    """The classifier with the weights that `params` name, for images of `size` pixels.

    Raises:
        BackboneError: there is none, it is more than a linear layer, or nobody knows the names of its classes.
        WeightsError: the weights have none, or cannot be fetched, read or matched.
    """
    if params.library not in (None, "timm"):
        raise BackboneError(
            f"The final features of {params.name} by the library {params.library} are a space of words, and have no"
            " classifier. A strategy of kind pretrained needs an encoder of timm: leave `library` out, in another row."
        )
    net = nets.create_net(params, size, isinstance(params.weights, HubWeights), classifier=True)
    if isinstance(params.weights, FileWeights | PackageWeights):
        try:
            load_weights(net, params.weights)
        except WeightsError as error:
            raise WeightsError(
                f"A strategy of kind pretrained needs the weights with their classifier. {error}"
            ) from None
    layer, subset = cast(Any, net).get_classifier(), infer_imagenet_subset(net)
    if not isinstance(layer, nn.Linear) or not _is_last(net, layer, size):
        raise BackboneError(
            f"{params.name} came without a classifier that is a linear layer over its final features, and a strategy of"
            " kind pretrained needs one. Take a backbone that has one, as tf_efficientnet_lite0, or another kind of"
            " strategy, as prototypes."
        )
    if subset is None:
        raise BackboneError(
            f"The classifier of {params.name} has {layer.out_features:,} classes, and none of timm's lists of ImageNet"
            " has so many: what they are is not known. Take a backbone whose classifier is of ImageNet, or"
            " another kind of strategy, as prototypes."
        )
    info = ImageNetInfo(subset)
    ids: list[str] = info.label_names()  # type: ignore[no-untyped-call]
    return Classifier(layer, [[own, *info.label_name_to_description(own).split(", ")] for own in ids])


def _is_last(net: nn.Module, layer: nn.Linear, size: int) -> bool:
    """Whether the layer over the features that the classifier saw is all that follows them."""
    noise = torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = net(noise)
        features = nets.pre_logits(net, cast(Any, net).forward_features(noise))
        if features.shape[1] != layer.in_features:
            return False
        return bool(((layer(features) - whole).abs().max() <= TOLERANCE * whole.abs().max()).item())
