"""What the stage `download` found: all of it as data, and a summary in a sentence."""

import unicodedata
from dataclasses import asdict
from typing import Any

import pandas as pd

from meltpoint.data.labels import count_classes
from meltpoint.data.listing import Coverage, Listing, Skipped, shortened
from meltpoint.progress import say
from meltpoint.tables import SPLITS, Classes

MANY = 12  # classes from which on a sentence counts them


def build_report(
    listing: Listing, samples: pd.DataFrame, classes: Classes, unusable: list[Skipped], repeated: dict[str, Any]
) -> dict[str, Any]:
    """What reports/data.json holds; it names no place outside the repository, no time and no duration."""
    return {
        "source": listing.title,
        "images": len(samples),
        "bytes": int(samples["bytes"].sum()),
        "labels": count_classes(samples, classes),
        "unlabelled": {label: int(samples[label].isna().sum()) for label in classes},
        "splits": {split: int((samples["split"] == split).sum()) for split in SPLITS},
        "groups": int(samples["group"].nunique()),
        "unusable": [asdict(skipped) for skipped in unusable],
        "ignored": [asdict(skipped) for skipped in listing.ignored],
        "published": _published(listing.coverage),
        "repeated": repeated,
        "differ_in_capitals": _twins(samples),
        "notes": listing.notes,
    }


def _published(coverage: dict[str, Coverage]) -> dict[str, Any] | None:
    """Lines of published lists, and how many of them have an image, whole and by class; None for other sources."""
    if not coverage:
        return None
    lines, images = (sum(getattr(one, what) for one in coverage.values()) for what in ("lines", "images"))
    by_class = {name: asdict(one) | {"absent": one.lines - one.images} for name, one in coverage.items()}
    return {"lines": lines, "images": images, "absent": lines - images, "by_class": by_class}


def _twins(samples: pd.DataFrame) -> list[list[str]]:
    """Paths that differ only in capitals: they are kept apart here, and collide on other file systems."""
    alike: dict[str, list[str]] = {}
    for path in samples["path"]:
        alike.setdefault(unicodedata.normalize("NFC", path).casefold(), []).append(path)
    return [paths for paths in alike.values() if len(paths) > 1]


def closing_sentence(met: dict[str, Any]) -> str:
    """The closing line, and before it one for each thing a person might not expect."""
    for note in met["notes"]:
        say(f"Note: {note}")
    if met["differ_in_capitals"]:
        say(f"Note: names differ in capitals alone, and collide on macOS and Windows: {met['differ_in_capitals'][:3]}")
    if met["published"]:
        say(_coverage(met["published"]))
    labels = ", ".join(f"{label} ({_counted(counts)})" for label, counts in met["labels"].items())
    skipped = {
        "unusable": len(met["unusable"]),
        "ignored": len(met["ignored"]),
        "repeated rows": met["repeated"]["rows"],
    }
    skipped |= {f"without {label}": count for label, count in met["unlabelled"].items()}
    said = ", ".join(f"{count:,} {what}" for what, count in skipped.items() if count or what == "unusable")
    return f"{met['images']:,} images from {met['source']}, {labels}, {said}"


def _counted(counts: dict[str, int]) -> str:
    """Images of each class; of many classes how many they are, and the least and the most."""
    if len(counts) <= MANY:
        return " ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{len(counts)} classes of {min(counts.values()):,} to {max(counts.values()):,} images"


def _coverage(published: dict[str, Any]) -> str:
    by_class = published["by_class"]
    bare = [name for name, one in by_class.items() if not one["images"]]
    lost = f", all but {shortened(bare)}" if bare else ""
    return (
        f"{published['images']:,} of {published['lines']:,} lines have an image; {len(by_class) - len(bare)} of "
        f"{len(by_class)} classes{lost}"
    )
