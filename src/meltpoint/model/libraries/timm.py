"""Library `timm`: a model of timm's with weights from its hub, a file or a package. It has no text side."""

from pathlib import Path

from torch import nn

from meltpoint.model import nets
from meltpoint.model.library import Parts
from meltpoint.model.text_vectors import TextEncoder, TextError
from meltpoint.model.weights import load_weights
from meltpoint.params.model import Backbone, FileWeights, HubWeights, PackageWeights


def tower(params: Backbone) -> Backbone:
    """The model itself."""
    return params


def build(params: Backbone, size: int, pretrained: bool) -> Parts:
    """The model without its classifier."""
    net, licence, origin = make_net(params, size, pretrained)
    return Parts(net, nn.Identity(), licence, origin)


def open_text(params: Backbone, place: Path | None) -> TextEncoder:  # noqa: ARG001 - the words of every library
    """There is none."""
    raise TextError(
        f"The encoder {params.name} of timm has no text side, so that words mean nothing to it. Encoders with one are"
        " those with `library: open_clip` or `library: sentences`: docs/words.md."
    )


def make_net(params: Backbone, size: int, pretrained: bool, classifier: bool = False) -> tuple[nn.Module, str, str]:
    """A net of timm's, with or without its classifier; licence and origin of its weights in words."""
    from_hub = pretrained and isinstance(params.weights, HubWeights)
    net = nets.create_net(params, size, from_hub, classifier)
    if from_hub:
        config = nets.pretrained_config(net)
        licence, source = str(config.get("license") or "unknown"), config.get("hf_hub_id") or params.name
        return net, licence, f"timm's weights {source}"
    if pretrained and isinstance(params.weights, FileWeights | PackageWeights):
        return net, params.weights.licence, load_weights(net, params.weights)
    return net, "none", "random weights"
