"""Models of one recipe trained with other seeds: each is kept as what differs from the first, beside a card of its own.

Where the backbone is frozen only heads differ, so that a repeat takes no more disk than they do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from meltpoint.files import read_json, whole_file, write_json
from meltpoint.model.card import CARD, Card, ModelError, read_card
from meltpoint.model.manifest import check_manifest, write_manifest
from meltpoint.model.model import Model, load_model

CHANGED, INDEX = "changed.safetensors", "repeats.json"
FIRST = "first"  # in the metadata of that file: the key in the card of the model that it changes
BACKBONE = "backbone."  # names of its tensors begin so


@dataclass(frozen=True, eq=False)
class Repeat:
    """A model in eval mode on the CPU, its card, and whether its backbone is that of the first."""

    model: Model
    card: Card
    keeps_backbone: bool


def save_repeat(model: Model, card: Card, first: Path, folder: Path) -> None:
    """Write into `folder` the tensors that differ from those of the model saved in `first`, card.json, the manifest.

    Both models come from the same settings: their tensors have the same names and shapes.
    """
    known, own = load_model(first)
    before, after = known.state_dict(), model.state_dict()
    changed = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in after.items()
        if not torch.equal(value.detach().cpu(), before[name])
    }
    with whole_file(folder / CHANGED) as temporary:
        save_file(changed, temporary, metadata={FIRST: own.key})  # one entry: of several the order would be random
    write_json(folder / CARD, card.model_dump(mode="json"))
    write_manifest(folder)


def load_repeat(folder: Path, first: Path) -> Repeat:
    """Read a repeat, which is a change of the model saved in `first`.

    Raises:
        ManifestError: a file of either folder has changed since it was saved, is missing, or was added.
        ModelError: card or weights are missing or damaged, or do not belong to the model in `first`.
    """
    check_manifest(folder)
    (model, own), card = load_model(first), read_card(folder)
    path = folder / CHANGED
    try:
        with safe_open(path, framework="pt") as file:
            key = (file.metadata() or {}).get(FIRST)
            changed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a safetensors file: {error}. Restore the folder with `dvc checkout`, or train again."
        ) from None
    if key != own.key:
        raise ModelError(
            f"{path} is a change of another model: of one with the key {str(key)[:12]}, and the one beside it has"
            f" {own.key[:12]}. A strategy's repeats are trained together. Restore both with `dvc checkout`, or train"
            " again."
        )
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    strange = sorted(name for name, value in changed.items() if shapes.get(name) != value.shape)
    if strange:
        raise ModelError(
            f"{folder} does not belong to the model in {first}: that has no tensors {strange[:3]} of these shapes."
            f" Restore both with `dvc checkout`, or train again: dvc repro train@{own.strategy}"
        )
    model.load_state_dict(changed, strict=False)
    return Repeat(model, card, not any(name.startswith(BACKBONE) for name in changed))


def write_index(seeds: Sequence[int], folder: Path) -> None:
    """Write repeats.json: `repeats`, how often the strategy was trained, and the `seeds` of all, the first's first."""
    write_json(folder / INDEX, {"repeats": len(seeds), "seeds": list(seeds)})


def list_repeats(folder: Path) -> list[Path]:
    """The folders of the repeats 2 to n, as repeats.json counts them.

    Raises:
        ModelError: there is no repeats.json.
    """
    try:
        count = int(read_json(folder / INDEX)["repeats"])
    except FileNotFoundError:
        raise ModelError(
            f"There is no {folder / INDEX}, which says how often {folder.name} was trained. The stage train writes it."
            f" Make it: dvc repro train@{folder.name}"
        ) from None
    return [folder / str(number) for number in range(2, count + 1)]
