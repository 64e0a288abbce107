"""Which splits the data bring, whether they can be kept, and which classes are too rare for any."""

from dataclasses import dataclass

from meltpoint.init.found import Found, examples, plural
from meltpoint.tables import SPLITS

RARE = 3  # images that a class needs: one for each split
MANY = 20_000  # images from which on a tenth is enough for test


@dataclass(frozen=True)
class Splits:
    """What split of params.yaml will say, why, and what stands against it."""

    official: bool
    ratios: dict[str, float]
    why: str
    warnings: list[str]


def choose_splits(found: Found) -> Splits:
    """Keep what the data bring, unless a class would be missing from one of its splits."""
    column = found.listing.files["split"]
    counts = {split: int((column == split).sum()) for split in SPLITS}
    many = len(column) >= MANY
    ratios = {"train": 0.8, "val": 0.1, "test": 0.1} if many else {"train": 0.6, "val": 0.15, "test": 0.25}
    warnings = []
    classes = [one for counts in found.counts.values() for one in counts.items()]
    if few := [f"{name!r} ({count:,})" for name, count in classes if count < RARE]:
        warnings.append(
            f"{plural(len(few), 'class')} with fewer than {RARE} images: {examples(few)}. Each needs one in train, val"
            " and test, or the split stage refuses: add images, merge it with another class, or remove it from the"
            " data."
        )
    brought = [split for split in SPLITS if counts[split]]
    if not brought:
        shares = ", ".join(f"{share:.0%} {split}" for split, share in ratios.items())
        why = f"the data bring no splits: {shares} are drawn, each class and near-duplicates kept together"
        return Splits(True, ratios, why, warnings)
    lacking = [
        f"{name!r} of {split}"
        for label, names in found.classes.items()
        for name in names
        for split in brought
        if split != "train" and not found.shown(label, name)[(column == split).fillna(value=False)].any()
    ]
    sizes = ", ".join(f"{split} {counts[split]:,}" for split in brought)
    if "train" not in brought or lacking:
        reason = f"{examples(lacking)} would be missing" if lacking else "there is no train"
        why = f"the data bring splits ({sizes}) that cannot be kept, as {reason}: all images are split again"
        return Splits(False, ratios, why, warnings)
    cut = [split for split in SPLITS if split not in brought]
    rest = f"; {' and '.join(cut)} {'is' if len(cut) == 1 else 'are'} cut from train" if cut else ""
    unnamed = int(column.isna().sum())
    more = f"; {plural(unnamed, 'image')} in no split count as train" if unnamed else ""
    return Splits(True, ratios, f"the data bring splits, and they are kept: {sizes}{rest}{more}", warnings)
