"""What the stage `download` found: all of it as data, and a summary in a sentence."""

import unicodedata
from dataclasses import asdict
from typing import Any

import pandas as pd

from meltpoint.data.labels import count_classes
from meltpoint.data.listing import Listing, Skipped, shortened
from meltpoint.tables import SPLITS, Classes
from meltpoint.terminal import say

MANY = 12  # classes from which on a sentence counts them


def build_report(
    listing: Listing, samples: pd.DataFrame, classes: Classes, unusable: list[Skipped], repeated: dict[str, Any]
) -> dict[str, Any]:
    """What reports/data.json holds; it names no place outside the repository, no time and no duration."""
    published = None  # lines of published lists, and how many of them have an image, whole and by class
    if coverage := listing.coverage:
        lines, images = (sum(getattr(one, what) for one in coverage.values()) for what in ("lines", "images"))
        by_class = {name: asdict(one) | {"absent": one.lines - one.images} for name, one in coverage.items()}
        published = {"lines": lines, "images": images, "absent": lines - images, "by_class": by_class}
    alike: dict[str, list[str]] = {}  # paths that differ only in capitals collide on other file systems
    for path in samples["path"]:
        alike.setdefault(unicodedata.normalize("NFC", path).casefold(), []).append(path)
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
        "published": published,
        "repeated": repeated,
        "differ_in_capitals": [paths for paths in alike.values() if len(paths) > 1],
        "notes": listing.notes,
    }


def closing_sentence(report: dict[str, Any]) -> str:
    """The closing line, and before it one for each thing a person might not expect."""
    for note in report["notes"]:
        say(f"Note: {note}")
    if alike := report["differ_in_capitals"]:
        say(f"Note: names differ only in capitals, and are the same file on macOS and Windows: {alike[:3]}")
    if published := report["published"]:
        by_class = published["by_class"]
        bare = [name for name, one in by_class.items() if not one["images"]]
        missing = f", all but {shortened(bare)}" if bare else ""
        say(
            f"{published['images']:,} of {published['lines']:,} lines have an image; {len(by_class) - len(bare)} of "
            f"{len(by_class)} classes{missing}"
        )
    labels = []
    for label, counts in report["labels"].items():
        shown = " ".join(f"{name} {count:,}" for name, count in counts.items())
        if len(counts) > MANY:
            shown = f"{len(counts)} classes of {min(counts.values()):,} to {max(counts.values()):,} images"
        labels.append(f"{label} ({shown})")
    skipped = {"ignored": len(report["ignored"]), "repeated rows": report["repeated"]["rows"]}
    skipped |= {f"without {label}": count for label, count in report["unlabelled"].items()}
    rest = "".join(f", {count:,} {what}" for what, count in skipped.items() if count)
    unusable = len(report["unusable"])
    return f"{report['images']:,} images from {report['source']}, {', '.join(labels)}, {unusable:,} unusable{rest}"
