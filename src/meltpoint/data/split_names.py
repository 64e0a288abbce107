"""The usual names of splits in folders and in cells: what means train, val and test."""

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
    `Training_Set`, `test-images`, `val2017`. `eval` and `holdout` are None: some mean val, others test.
    """
    letters = "".join(one for one in unicodedata.normalize("NFKC", name).casefold() if one.isalnum())
    return next((split for split, pattern in PATTERNS.items() if pattern.fullmatch(letters)), None)


def split_in(name: str) -> str | None:
    """The split that a name stands for, or one of its words: `train`, `instances_train2017`, `yogaTest`."""
    parted = split_and_rest(name)
    return parted[0] if parted else None


def split_and_rest(name: str) -> tuple[str, str] | None:
    """The split of a name or of one of its words, and the rest of the name without capitals; None if there is none."""
    for words in ([name], re.split(r"[_\-. ]+|(?<=[a-z])(?=[A-Z])", name)):
        for place, word in enumerate(words):
            if split := official_split(word):
                return split, " ".join([*words[:place], *words[place + 1 :]]).casefold()
    return None
