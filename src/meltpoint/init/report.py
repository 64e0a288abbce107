"""What was found, chosen and estimated, in words: for the terminal, and as comments of params.yaml."""

from meltpoint.data.mask_labels import note_turned
from meltpoint.forecast.speeds import Speeds
from meltpoint.forecast.stages import in_words
from meltpoint.init.build import floors_of, keeps_sides, largest_share, metric_of, tolerated
from meltpoint.init.choose import Choice, largest_side
from meltpoint.init.found import TAGGING, Found, examples, plural
from meltpoint.init.pictures import Pictures
from meltpoint.init.splits import Splits

SHOWN, WIDTH = 12, 100  # classes of a label that are named, and letters of a line of them
BUSY = 1.3  # times as long as on a quiet machine, from which on a line says so


def describe_found(found: Found, pictures: Pictures, splits: Splits) -> list[str]:
    """What is there: classes, pictures, notes, splits, and files that are not used."""
    lines = [f"{found.name}: {found.layout}, {plural(pictures.total, 'image')}"]
    for label, counts in found.counts.items():
        main = "  (the main label)" if label == found.main and len(found.labels) > 1 else ""
        lines.append(f"  label {label}: {plural(len(counts), _kind(found))}{main}")
        words = [f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda one: -one[1])]
        if len(words) > SHOWN:
            words = [*words[: SHOWN // 2], "...", *words[-SHOWN // 2 :]]
        line = ""
        for word in words:
            if line and len(line) + len(word) > WIDTH:
                lines.append(f"    {line}")
                line = ""
            line += (", " if line else "") + word
        lines.append(f"    {line}")
    lines.append(f"  pictures: {_describe_sizes(pictures)}")
    lines += [f"  {line}" for line in [*found.notes, *found.listing.notes]]
    if found.group:
        lines.append(f"  rows that share a {found.group} are never parted: data.group")
    lines.append(f"  splits: {splits.why}")
    unusable = [*found.listing.unusable, *pictures.unusable]
    for what, files in (("cannot be used", unusable), ("left aside", found.listing.ignored)):
        if files:
            shown = examples([f"{file.path} ({file.reason})" for file in files])
            lines.append(f"  {what}: {plural(len(files), 'file')}: {shown}")
    if pictures.copies:
        extra = sum(len(group) - 1 for group in pictures.copies)
        shown = " and ".join(sorted(pictures.copies[0])[:2])
        lines.append(f"  exact copies: {extra:,}, as {shown}; copies stay in one split")
    return lines


def describe_warnings(found: Found, pictures: Pictures, splits: Splits) -> list[str]:
    """What the user should look at before the pipeline runs."""
    turned = pictures.turned if found.task.dense else 0
    warnings = [*found.warnings, *splits.warnings, *note_turned(turned)]
    label_of = dict(zip(found.listing.files["path"], found.cells[found.main], strict=True))
    torn = [group for group in pictures.copies if len({str(label_of.get(path)) for path in group}) > 1]
    if torn:
        warnings.append(
            f"{plural(len(torn), 'picture')} of equal bytes with different labels, as"
            f" {' and '.join(sorted(torn[0])[:2])}: one label is wrong. Remove or relabel one of each."
        )
    if tolerated(found, pictures) == 0 and pictures.unusable:
        count = len(pictures.unusable)
        allow = f"or set data.max_bad to {count}." if 2 * count <= pictures.total else "or name another source."
        warnings.append(
            f"{plural(count, 'file')} of {pictures.total:,} cannot be used, more than a few: repair or remove them,"
            f" {allow}"
        )
    return warnings


def describe_choices(
    found: Found, pictures: Pictures, splits: Splits, choice: Choice, minutes: float
) -> dict[str, str]:
    """A comment for each key of params.yaml that was chosen."""
    unusable = examples([file.path for file in [*found.listing.unusable, *pictures.unusable]])
    bad = f"found unusable by init: {unusable}" if choice.params.data.max_bad else "every image has to be readable"
    lists = {label: [f"{name} {count:,}" for name, count in own.items()] for label, own in found.counts.items()}
    counts = "; ".join(f"{label}: {examples(own, SHOWN)}" for label, own in list(lists.items())[:4])
    taken = any(label.get("classes", ()) is None for label in found.labels.values())
    if choice.plan.epochs:
        strategies = (
            "both are trained on the same images, and compared; the cheaper one ships if it loses next to nothing"
        )
    else:
        strategies = "frozen alone, at the largest side that the time allows: size pays before unfreezing does"
        if choice.better and choice.better[0].epochs:
            strategies += f"; fine-tuning needs --minutes {_minutes(choice.better[1])}"
    comments = {
        "data.source": f"{found.layout}, as they are; the download stage copies and checks every image",
        "data.labels": f"images of each {_kind(found)}: {counts}"
        + (". null takes the classes that are there" if taken else ""),
        "data.max_bad": bad,
        "split": splits.why,
        "split.duplicates": "what is found twice never parts: reports/duplicates.png; keys: docs/splitting.md",
        "views": _about_views(found, pictures, choice, minutes),
        "encoders": "its weights come with the installation; for others see docs/backbones.md",
        "heads": "one for each label; `main` decides" if len(found.labels) > 1 else "what the model answers",
        "strategies": strategies,
        "compare.metric": {
            "miou": "mean IoU over the classes",
            "micro_f1": "F1 over all tags of all images; map and macro_f1 need six test images of each tag",
            "balanced_accuracy": f"one class has {largest_share(found):.0%} of the images, so that plain accuracy would"
            " say little",
            "accuracy": "of the main label; val chooses, test gives the evidence",
        }[metric_of(found)],
        "register.name": "the folder's name; the model is registered under it",
    }
    if floors_of(found):
        comments["register.floors"] = "no champion scores less on test: it is what a constant answer reaches"
    if found.levels:
        comments["task"] = (
            f"each class of {found.levels[-1]} lies in one of {found.levels[0]}: all levels are decided at once"
        )
    if found.group:
        comments["data.group"] = "rows that share it are never parted"
    return comments


def describe_estimate(choice: Choice, speeds: Speeds, side: int, minutes: float) -> list[str]:
    """Seconds of each stage, in words; `side`: the pixels of the images that the machine was timed with."""
    device = f"{speeds.cores} CPU cores" if speeds.device == "cpu" else speeds.device
    lines = [f"estimated on this machine ({device}), from a few passes at {side} px with random weights:"]
    lines += [f"  {stage:<20}{in_words(seconds):>8}" for stage, seconds in choice.seconds.items()]
    budget = f"of the {minutes:g} asked for" if choice.fits else f"more than the {minutes:g} minutes asked for"
    lines.append(
        f"  {'in all':<20}{in_words(choice.total):>8}  {budget}; it may be half as much, or half as much again"
    )
    if speeds.busy > BUSY:
        lines.append(
            f"  other programs use this machine now: while they do, it takes about {speeds.busy:.1f} times as long"
        )
    return lines


def _kind(found: Found) -> str:
    """What a label has several of."""
    return "tag" if found.task is TAGGING else "class"


def _describe_sizes(pictures: Pictures) -> str:
    if not pictures.widths:
        return "none could be opened"
    sizes = sorted(zip(pictures.widths, pictures.heights, strict=True), key=lambda size: size[0] * size[1])
    low, middle, high = (f"{width} x {height}" for width, height in (sizes[0], sizes[len(sizes) // 2], sizes[-1]))
    span = f"all {low}" if low == high else f"{low} to {high}, the middle one {middle}"
    counts = pictures.formats.most_common(4)
    kinds = ", ".join(kind if len(pictures.formats) == 1 else f"{kind} {count:,}" for kind, count in counts)
    looked = "" if pictures.whole else f"; {pictures.decoded:,} of {pictures.total:,} were decoded to look for damage"
    return f"{span}; {kinds}{', all grey' if pictures.grey else ''}{looked}"


def _about_views(found: Found, pictures: Pictures, choice: Choice, minutes: float) -> str:
    """Why this side, resizing and augmentation."""
    plan = choice.plan
    why = "as large as pays, as" if plan.side == largest_side(pictures, found.task) else "what the time allows;"
    reasons = [f"{plan.side} px: {why} {pictures.short_side} px is the middle of their shorter sides"]
    if choice.better:
        reasons.append(f"with --minutes {_minutes(choice.better[1])} it would be {choice.better[0].words}")
    if not choice.fits:
        reasons.append(f"{minutes:g} minutes are too few even for this; about {in_words(choice.total)} are needed")
    if pictures.aspect >= 1.8:
        reasons.append("letterbox, as they are long: bars keep their shape")
    else:
        reasons.append("squash: the whole picture is seen, its shape a little changed")
    stored = f"{plan.copies} stored copies of each training image" if plan.copies else "no copies are stored, for time"
    if keeps_sides(found):
        reasons.append(f"{stored}; no mirroring, as the names of classes are letters, digits or sides")
    else:
        reasons.append(f"{stored}; take HorizontalFlip out where left and right matter")
    return "; ".join(reasons)


def _minutes(seconds: float) -> int:
    return -(-round(seconds) // 60)
