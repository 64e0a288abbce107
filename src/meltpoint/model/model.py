"""A backbone and the heads over it, how they are saved, and how they come back."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from meltpoint.files import whole_file, write_json
from meltpoint.model.backbones import Backbone, build_backbone, tap_key
from meltpoint.model.card import CARD, FIRST_WITH_MANIFEST, Card, ModelError, read_card
from meltpoint.model.manifest import MANIFEST, check_manifest, has_manifest, write_manifest
from meltpoint.params.heads import Head
from meltpoint.params.model import Backbone as BackboneParams
from meltpoint.params.model import Reading

WEIGHTS = "model.safetensors"


class Model(nn.Module):
    """Images to the raw outputs of every head. It knows no tasks, which turn outputs into probabilities."""

    heads: nn.ModuleDict

    def __init__(self, backbone: Backbone, heads: nn.ModuleDict, head_taps: Mapping[str, Reading]) -> None:
        super().__init__()
        self.backbone, self.heads = backbone, heads
        self.head_taps = {name: tap_key(tap) for name, tap in head_taps.items()}

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 (N, S, S, 3) to features float (N, *spec.shape) for each tap key."""
        return cast(dict[str, Tensor], self.backbone(self.backbone.prepare(images)))

    def outputs(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features float (N, *spec.shape) for each tap key to outputs of each head, as `forward`."""
        return {name: head(features[self.head_taps[name]]) for name, head in self.heads.items()}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 (N, S, S, 3) to outputs of each head: float (N, K), of dense ones (N, K, S, S)."""
        return self.outputs(self.features(images))


def build_model(
    params: BackboneParams, heads: Mapping[str, Head], n_outputs: Mapping[str, int], size: int, pretrained: bool = True
) -> Model:
    """A backbone for images of `size` pixels under untrained heads with that many outputs each, in eval mode.

    `pretrained=False` leaves the weights random, for a caller that loads saved ones.

    Raises:
        BackboneError, WeightsError: as `build_backbone` says.
        ModelError: a head's name is one that torch keeps for itself.
    """
    taps = {name: head.reads for name, head in heads.items()}
    backbone = build_backbone(params, set(taps.values()), size, pretrained)
    return Model(backbone, build_heads(heads, backbone, n_outputs), taps).eval()


def build_heads(heads: Mapping[str, Head], backbone: Backbone, n_outputs: Mapping[str, int]) -> nn.ModuleDict:
    """Untrained heads by name, each as the file of its kind in `model/heads` builds it for this backbone.

    Raises:
        ModelError: a head's name is one that torch keeps for itself.
    """
    modules = nn.ModuleDict()
    for name, head in heads.items():
        if hasattr(modules, name):
            raise ModelError(
                f"A head cannot be called {name!r}: torch uses that word. Call it for example {name + '_head'!r}."
            )
        kind = import_module(f"meltpoint.model.heads.{head.kind}")
        modules[name] = cast(nn.Module, kind.build(head, backbone, n_outputs[name]))
    return modules


def begin_heads(
    modules: nn.ModuleDict, heads: Mapping[str, Head], encoder: BackboneParams, classes: Mapping[str, Sequence[str]]
) -> None:
    """Give untrained heads what their kind knows of the names of classes, where its file has `begin`.

    Raises:
        UserError: what a head is to begin with cannot be had.
    """
    for name, head in heads.items():
        kind = import_module(f"meltpoint.model.heads.{head.kind}")
        if hasattr(kind, "begin"):
            kind.begin(head, modules[name], encoder, classes[name])


def ask_head(
    head: Head,
    module: nn.Module,
    encoder: BackboneParams,
    words: Sequence[str],
    prompts: str | Sequence[str] | None,
    text: Path | None,
) -> nn.Module | None:
    """A head that asks for other words, where its kind has `ask`; None: it cannot.

    `prompts` are what words are put into, None: what the head's own were. `text` is where the weights of the text
    encoder are now; None: where the head or `encoder` say.

    Raises:
        TextError: the text encoder cannot be had, or a word is nothing to it.
    """
    kind = import_module(f"meltpoint.model.heads.{head.kind}")
    ask = getattr(kind, "ask", None)
    return None if ask is None else cast(nn.Module | None, ask(head, module, encoder, words, prompts, text))


def save_model(model: Model, card: Card, folder: Path) -> None:
    """Write model.safetensors, card.json and, last, the manifest of all files that `folder` then holds.

    The folder is made if there is none.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    write_json(folder / CARD, card.model_dump(mode="json"))
    write_manifest(folder)


def load_model(folder: Path) -> tuple[Model, Card]:
    """Read a saved model, in eval mode, on the CPU; needs neither the pretrained weights nor a network.

    Raises:
        ManifestError: a file of the folder has changed since it was saved, is missing, or was added.
        ModelError: card or weights are missing, damaged, or do not belong together.
    """
    is_checked = has_manifest(folder)  # older models have none, and are read as they are
    if is_checked:
        check_manifest(folder)
    card = read_card(folder)
    if not is_checked and card.format >= FIRST_WITH_MANIFEST:
        raise ModelError(
            f"{folder} has no {MANIFEST}, which is written last: the model is not complete, or the file was removed."
            " Restore the folder with `dvc checkout`, or train again."
        )
    params = card.backbone.model_copy(update={"mean": list(card.mean), "std": list(card.std)})
    heads = {name: head.head for name, head in card.heads.items()}
    outputs = {name: head.outputs for name, head in card.heads.items()}
    model = build_model(params, heads, outputs, card.images.side, pretrained=False)
    model.backbone.licence = card.licence
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(
            f"There is no {path} beside the card, or it is not a regular file. Restore it with `dvc checkout`, or train"
            " again."
        )
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}. Restore it with `dvc checkout`, or train again."
        ) from None
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in tensors.items()}
    differing = sorted(name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name))
    if differing:
        examples = ", ".join(f"{name} (saved {saved.get(name)}, wanted {own.get(name)})" for name in differing[:3])
        raise ModelError(
            f"{path} does not belong to the card beside it: {len(differing)} tensors differ, such as {examples}."
            " Restore the folder with `dvc checkout`, or train again."
        )
    model.load_state_dict(tensors)
    return model, card
