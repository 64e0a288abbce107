"""What was met while a dataset was brought in: all of it as data, the gist of it in a sentence."""

import unicodedata
from dataclasses import asdict
from typing import Any

import pandas as pd

from meltpoint.data.labels import count_classes
from meltpoint.data.listing import Aside, Listing
from meltpoint.progress import say
from meltpoint.tables import SPLITS, Classes


def build_report(
    listing: Listing, samples: pd.DataFrame, classes: Classes, unusable: list[Aside], repeated: dict[str, Any]
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
        "unusable": [asdict(aside) for aside in unusable],
        "ignored": [asdict(aside) for aside in listing.ignored],
        "repeated": repeated,
        "differ_in_capitals": _twins(samples),
        "notes": listing.notes,
    }


def _twins(samples: pd.DataFrame) -> list[list[str]]:
    """Paths that a file system without capitals takes for one: told apart here, they would collide there."""
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
    labels = ", ".join(
        f"{label} ({' '.join(f'{name} {n:,}' for name, n in counts.items())})"
        for label, counts in met["labels"].items()
    )
    aside = {"unusable": len(met["unusable"]), "ignored": len(met["ignored"]), "repeated rows": met["repeated"]["rows"]}
    said = ", ".join(f"{count:,} {what}" for what, count in aside.items() if count or what == "unusable")
    return f"{met['images']:,} images from {met['source']}, {labels}, {said}"
