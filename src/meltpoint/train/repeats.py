"""One recipe trained several times: a seed for each training, and where the finished ones wait for the others."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meltpoint.files import read_json, whole_folder, write_json
from meltpoint.model.repeats import write_index
from meltpoint.train.batches import mix_one
from meltpoint.train.checkpoint import STATE, Checkpoint

AGAIN = 0xA6A1  # tells the seed of a repeat from other numbers made of the same seed
SEEDS = 2**31  # a seed of a repeat is smaller: short enough to be read, and whole in every JSON
TRAINED, MODEL, FACTS = "trained", "model", "facts.json"  # what a finished training leaves in its checkpoint folder


@dataclass(frozen=True)
class Trained:
    """What training says at the end.

    `costs`: `seconds` (of all parts of an interrupted training together), `peak_megabytes`, `epochs`, `parameters`,
    `trainable_parameters`.
    """

    sentence: str
    costs: dict[str, float]


def derive_seeds(seed: int, repeats: int) -> list[int]:
    """The seed of each training: the first has `seed` itself, each other one that depends on it and on its number."""
    return [seed, *(mix_one(seed, AGAIN, number) % SEEDS for number in range(2, repeats + 1))]


def place_of(checkpoint: Checkpoint, number: int) -> Checkpoint:
    """Where the repeat of that number is trained: the first in the folder itself, the others in folders below."""
    return checkpoint if number == 1 else Checkpoint(checkpoint.folder / f"repeat-{number}")


def saved_model(place: Checkpoint) -> Path:
    """The model folder that a finished training has left."""
    return place.folder / TRAINED / MODEL


def finish(place: Checkpoint, trained: Trained, save: Callable[[Path], None]) -> None:
    """Keep what a training leaves, whole or not at all; `save` writes its model folder. What continues it goes."""
    with whole_folder(place.folder / TRAINED) as temporary:
        (temporary / MODEL).mkdir()
        save(temporary / MODEL)
        write_json(temporary / FACTS, {"sentence": trained.sentence, "costs": trained.costs})
    (place.folder / STATE).unlink(missing_ok=True)


def read_finished(place: Checkpoint) -> Trained | None:
    """What a training said at its end; None if it has not come there."""
    path = place.folder / TRAINED / FACTS
    return Trained(**read_json(path)) if path.exists() else None


def lay_out(checkpoint: Checkpoint, seeds: Sequence[int], folder: Path, others: Path) -> None:
    """Copy the first model to `folder`, and to `others` repeats.json and the repeats 2 to n, each in a folder 2 ... n.

    An interrupted run finds all of them in the checkpoint again, since DVC removes what it has written.
    """
    with whole_folder(others) as temporary:
        write_index(seeds, temporary)
        for number in range(2, len(seeds) + 1):
            shutil.copytree(saved_model(place_of(checkpoint, number)), temporary / str(number))
    with whole_folder(folder) as temporary:
        shutil.copytree(saved_model(checkpoint), temporary, dirs_exist_ok=True)
