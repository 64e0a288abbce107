"""A converted RAM as a model folder, with lists of tags that the user has: it answers as any other model."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from meltpoint.data.tag_labels import check_tag_names
from meltpoint.files import whole_folder
from meltpoint.model.card import FORMAT, Card, HeadCard
from meltpoint.model.class_vectors import TagListError, check_count, embed_names, read_lines, read_vectors
from meltpoint.model.model import save_model
from meltpoint.model.ram import MEAN, STD, TEXT, Ram, read_ram
from meltpoint.params.data import Images

NEVER = 1.0  # no probability is above it
SHOWN = 3  # lines that a message names
LIBRARIES = ("meltpoint", "torch", "timm")


@dataclass(frozen=True)
class TagLists:
    """What belongs to a checkpoint: a file with a tag a line, and others with as many lines.

    `chinese` are names, `thresholds` numbers, `deleted` the tags that are never given; `threshold` is one for all.
    Of other tags than the checkpoint's `vectors` are theirs, .safetensors or .npy, or `text` the weights of CLIP
    ViT-B/16, whose text side makes them.
    """

    tags: Path
    chinese: Path | None = None
    thresholds: Path | None = None
    threshold: float | None = None
    deleted: Path | None = None
    vectors: Path | None = None
    text: Path | None = None


def convert_folder(checkpoint: Path, lists: TagLists, licence: str, max_megapixels: float, folder: Path) -> str:
    """Write the model folder, whole or not at all; says what it holds.

    Raises:
        WeightsError: the checkpoint is not RAM's.
        TagListError, TagError: a list cannot be read, or does not belong to the others.
    """
    ram, tags = read_ram(checkpoint, licence), read_lines(lists.tags)
    check_tag_names(tags, str(lists.tags))
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        raise TagListError(f"{lists.tags} names {twice[:SHOWN]} several times. Each tag stands there once.")
    if lists.vectors is not None and lists.text is not None:
        raise TagListError("Give either --vectors, a file, or --text, what makes them of the tags.")
    if lists.vectors is not None:
        ram = ram.with_vectors(read_vectors(lists.vectors))
    if lists.text is not None:
        ram = ram.with_vectors(embed_names(TEXT, ram.backbone, tags, ram.head.vectors, lists.text))
    of = str(lists.vectors or checkpoint.name)
    check_count(lists.tags, len(tags), of, ram.tags)
    chinese = {} if lists.chinese is None else {"zh": dict(zip(tags, _names(lists.chinese, len(tags)), strict=True))}
    card = _make_card(ram, tags, chinese, read_thresholds(lists, tags), max_megapixels)
    with whole_folder(folder) as temporary:
        save_model(ram.build(), card.model_copy(update={"key": _key(checkpoint, tags)}), temporary)
    left = ", ".join(f"{count} of {name.strip('.')}" for name, count in ram.left_out.items())
    used = len(ram.encoder) + len(ram.decoder)
    taken = f"{len(tags):,} tags in {folder}, from {used} tensors of {checkpoint.name}"
    return f"{taken}; left out, as tagging needs none: {left}" if left else taken


def read_thresholds(lists: TagLists, tags: Sequence[str]) -> list[float]:
    """The threshold of each tag, 1 of a deleted one.

    Raises:
        TagListError: not one of both ways, numbers that are none from 0 to 1, or a deleted tag that there is not.
    """
    if (lists.thresholds is None) == (lists.threshold is None):
        raise TagListError("Give either --thresholds, a file with a number for each tag, or --threshold, one for all.")
    words = [str(lists.threshold)] * len(tags) if lists.thresholds is None else _names(lists.thresholds, len(tags))
    found = []
    for number, word in enumerate(words, 1):
        try:
            value = float(word)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            where = f"{lists.thresholds}, line {number}" if lists.thresholds else "--threshold"
            raise TagListError(f"{where}: {word!r} is no threshold. Allowed is a number from 0 to 1, as 0.68.")
        found.append(value)
    deleted = [] if lists.deleted is None else read_lines(lists.deleted)
    if unknown := [tag for tag in deleted if tag not in tags]:
        raise TagListError(
            f"{lists.deleted} names {unknown[:SHOWN]}, which {lists.tags} does not. Write tags as there."
        )
    return [NEVER if tag in set(deleted) else value for tag, value in zip(tags, found, strict=True)]


def _names(path: Path, count: int) -> list[str]:
    lines = read_lines(path)
    check_count(path, len(lines), "the list of tags", count)
    return lines


def _make_card(
    ram: Ram, tags: list[str], names: dict[str, dict[str, str]], thresholds: list[float], max_megapixels: float
) -> Card:
    head = HeadCard(
        head=ram.head,
        classes=tags,
        outputs=len(tags),
        threshold=None,
        unknown_below=None,
        names=names,
        colours=None,
        thresholds=thresholds,
    )
    return Card(
        format=FORMAT,
        strategy="ram",
        task="tagging",
        backbone=ram.backbone,
        images=Images(side=ram.side, resize="squash", interpolation="antialias"),
        max_megapixels=max_megapixels,
        mean=(MEAN[0], MEAN[1], MEAN[2]),
        std=(STD[0], STD[1], STD[2]),
        heads={"tags": head},
        tree=None,
        main_head="tags",
        metric="map",
        key="",
        data="",
        seed=0,
        licence=ram.licence,
        trainable_parameters=0,
        versions={name: version(name) for name in LIBRARIES},
    )


def _key(checkpoint: Path, tags: list[str]) -> str:
    digest = sha256("\n".join(tags).encode())
    with checkpoint.open("rb") as file:
        for piece in iter(lambda: file.read(2**20), b""):
            digest.update(piece)
    return digest.hexdigest()
