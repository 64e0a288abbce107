"""What was found, chosen and estimated, in words: for the terminal, and as comments of params.yaml."""

from meltpoint.data.mask_labels import note_turned
from meltpoint.forecast.speeds import Speeds
from meltpoint.forecast.stages import in_words
from meltpoint.init.build import floors_of, keeps_sides, largest_share, metric_of, tolerated
from meltpoint.init.choose import Choice, reason
from meltpoint.init.found import Found, examples, plural
from meltpoint.init.pictures import Pictures
from meltpoint.init.splits import Splits

SHOWN, WIDTH = 12, 100  # classes of a label that are named, and letters of a line of them
BUSY = 1.3  # times as long as on a quiet machine, from which on it is said


def tell_found(found: Found, pictures: Pictures, splits: Splits) -> list[str]:
    """What lies there."""
    lines = [f"{found.name}: {found.layout}, {plural(pictures.total, 'image')}"]
    for label, counts in found.counts.items():
        main = "  (the main label)" if label == found.main and len(found.labels) > 1 else ""
        lines.append(f"  label {label}: {plural(len(counts), 'class')}{main}")
        lines += [f"    {line}" for line in _counted(counts)]
    lines.append(f"  pictures: {_sizes(pictures)}")
    lines += [f"  {line}" for line in [*found.says, *found.listing.notes]]
    if found.group:
        lines.append(f"  rows that share a {found.group} are never parted: data.group")
    lines.append(f"  splits: {splits.why}")
    lines += [f"  {line}" for line in _odd(found, pictures)]
    return lines


def tell_warnings(found: Found, pictures: Pictures, splits: Splits) -> list[str]:
    """What the user had better look at before the pipeline runs."""
    turned = pictures.turned if found.task == "segmentation" else 0
    warns = [*found.warns, *splits.warns, *note_turned(turned)]
    labels = found.cells[found.main].to_dict()
    by_path = dict(zip(found.listing.files["path"], labels.values(), strict=True))
    torn = [group for group in pictures.copies if len({str(by_path.get(path)) for path in group}) > 1]
    if torn:
        warns.append(
            f"{plural(len(torn), 'picture')} of equal bytes with different labels, as"
            f" {' and '.join(sorted(torn[0])[:2])}: one label is wrong. Remove or relabel one of each."
        )
    if tolerated(found, pictures) == 0 and pictures.unusable:
        count = len(pictures.unusable)
        allow = f"or set data.max_bad to {count}." if 2 * count <= pictures.total else "or name another source."
        warns.append(
            f"{plural(count, 'file')} of {pictures.total:,} cannot be used, more than a few: mend or remove them,"
            f" {allow}"
        )
    return warns


def tell_choices(found: Found, pictures: Pictures, splits: Splits, choice: Choice, minutes: float) -> dict[str, str]:
    """A comment for each key of params.yaml that was chosen."""
    params, dense = choice.params, found.task == "segmentation"
    bad = params.data.max_bad
    comments = {
        "data.source": f"{found.layout}, as they lie there; the download stage copies and checks every image",
        "data.labels": _about_labels(found),
        "data.max_bad": f"met and told by init: {_named(found, pictures)}" if bad else "every image has to be readable",
        "split": splits.why,
        "split.duplicates": "two pictures of the same thing never part; reports/duplicates.png shows what was found",
        "views": "; ".join(
            [*reason(choice, pictures, minutes, dense), _about_resize(pictures), _about_augment(found, choice)]
        ),
        "encoders": "its weights come with the installation; for others see docs/backbones.md",
        "heads": "one for each label; `main` decides" if len(found.labels) > 1 else "what the model answers",
        "strategies": _about_strategies(choice),
        "compare.metric": _about_metric(found),
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


def tell_estimate(choice: Choice, speeds: Speeds, minutes: float) -> list[str]:
    """Seconds of each stage, in words."""
    device = f"{speeds.cores} CPU cores" if speeds.device == "cpu" else speeds.device
    lines = [f"estimated on this machine ({device}), from a few passes at {speeds.side} px with random weights:"]
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


def _counted(counts: dict[str, int]) -> list[str]:
    told = sorted(counts.items(), key=lambda one: -one[1])
    shown = told if len(told) <= SHOWN else [*told[: SHOWN // 2], *told[-SHOWN // 2 :]]
    words = [f"{name} {count:,}" for name, count in shown]
    if len(told) > SHOWN:
        words.insert(SHOWN // 2, "...")
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + word
    return lines


def _sizes(pictures: Pictures) -> str:
    if not pictures.widths:
        return "none could be opened"
    sizes = sorted(zip(pictures.widths, pictures.heights, strict=True), key=lambda size: size[0] * size[1])
    low, middle, high = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    span = f"all {low[0]} x {low[1]}" if low == high else (
        f"{low[0]} x {low[1]} to {high[0]} x {high[1]}, the middle one {middle[0]} x {middle[1]}"
    )  # fmt: skip
    kinds = ", ".join(
        kind if len(pictures.formats) == 1 else f"{kind} {n:,}" for kind, n in pictures.formats.most_common(4)
    )
    looked = "" if pictures.whole else f"; {pictures.decoded:,} of {pictures.total:,} were decoded to look for damage"
    return f"{span}; {kinds}{', all grey' if pictures.grey else ''}{looked}"


def _odd(found: Found, pictures: Pictures) -> list[str]:
    """Files that make no sample, and copies."""
    lines = []
    unusable = [*found.listing.unusable, *pictures.unusable]
    if unusable:
        shown = examples([f"{aside.path} ({aside.reason})" for aside in unusable])
        lines.append(f"cannot be used: {plural(len(unusable), 'file')}: {shown}")
    ignored = found.listing.ignored
    if ignored:
        shown = examples([f"{aside.path} ({aside.reason})" for aside in ignored])
        lines.append(f"left aside: {plural(len(ignored), 'file')}: {shown}")
    if pictures.copies:
        extra = sum(len(group) - 1 for group in pictures.copies)
        shown = " and ".join(sorted(pictures.copies[0])[:2])
        lines.append(f"exact copies: {extra:,}, as {shown}; copies stay in one split")
    return lines


def _named(found: Found, pictures: Pictures) -> str:
    return examples([aside.path for aside in [*found.listing.unusable, *pictures.unusable]])


def _about_labels(found: Found) -> str:
    counts = "; ".join(
        f"{label}: " + ", ".join(f"{name} {count:,}" for name, count in list(one.items())[:SHOWN])
        + (f" and {len(one) - SHOWN} more" if len(one) > SHOWN else "")
        for label, one in list(found.counts.items())[:4]
    )  # fmt: skip
    taken = any(label.get("classes", ()) is None for label in found.labels.values())
    return f"images of each class: {counts}" + (". null takes the classes that are there" if taken else "")


def _about_resize(pictures: Pictures) -> str:
    if pictures.aspect >= 1.8:
        return "letterbox, as they are long: bars keep their shape"
    return "squash: the whole picture is seen, its shape a little changed"


def _about_augment(found: Found, choice: Choice) -> str:
    stored = (
        f"{choice.plan.copies} stored copies of each training image"
        if choice.plan.copies
        else "no copies are stored, for time"
    )
    if keeps_sides(found):
        return f"{stored}; no mirroring, as the names of classes are letters, digits or sides"
    return f"{stored}; take HorizontalFlip out where left and right matter"


def _about_strategies(choice: Choice) -> str:
    if choice.plan.epochs:
        return "both are trained on the same images, and compared; the cheaper one ships if it loses next to nothing"
    more = (
        f"; fine-tuning needs --minutes {-(-round(choice.better[1]) // 60)}"
        if choice.better and choice.better[0].epochs
        else ""
    )
    return f"frozen alone, at the largest side that the time allows: size pays before unfreezing does{more}"


def _about_metric(found: Found) -> str:
    match metric_of(found):
        case "miou":
            return "mean IoU over the classes"
        case "balanced_accuracy":
            return f"one class has {largest_share(found):.0%} of the images, so that plain accuracy would say little"
        case _:
            return "of the main label; val chooses, test gives the evidence"
