"""What datasets call their splits, in folders and in cells: train, val and test under their usual names."""

import re
import unicodedata

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
}
FILLERS = (
    "dataset", "datasets", "data", "set", "sets", "subset", "split", "partition", "part", "folder", "dir", "images",
    "image", "imgs", "img", "pictures", "picture", "pics", "photos", "photo", "samples", "sample", "files", "examples",
)  # fmt: skip
FILLER = f"(?:{'|'.join(sorted(FILLERS, key=len, reverse=True))})*"
YEAR = r"(?:19|20)\d\d"  # train2017
PATTERNS = {split: re.compile(f"{FILLER}(?:{'|'.join(words)}){FILLER}(?:{YEAR})?") for split, words in WORDS.items()}


def official_split(name: str) -> str | None:
    """The split (train, val or test) that a name stands for; None for a name that is none, or could be two of them.

    Capitals, blanks, signs between words, words such as `set` or `images`, and a year at the end make no difference:
    `Training_Set`, `test-images`, `val2017`. `eval` and `holdout` are None: some call val so,
    others test.
    """
    letters = "".join(one for one in unicodedata.normalize("NFKC", name).casefold() if one.isalnum())
    return next((split for split, pattern in PATTERNS.items() if pattern.fullmatch(letters)), None)


def split_in(name: str) -> str | None:
    """The split that a name tells, or one of its words: `train`, `instances_train2017`, `yogaTest`."""
    parted = split_and_rest(name)
    return parted[0] if parted else None


def split_and_rest(name: str) -> tuple[str, str] | None:
    """The split that a name or one of its words tells, and what is left of the name without capitals; None if none."""
    if split := official_split(name):
        return split, ""
    words = re.split(r"[_\-. ]+|(?<=[a-z])(?=[A-Z])", name)
    place = next((place for place, word in enumerate(words) if official_split(word)), None)
    if place is None:
        return None
    return str(official_split(words[place])), " ".join([*words[:place], *words[place + 1 :]]).casefold()
