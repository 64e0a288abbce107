"""Words to look for in pictures: as they are typed, or from a file with one a line."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meltpoint.errors import UserError

SECOND = "zh"  # the language of the second name in a line


class WordListError(UserError, ValueError):
    """A list of words cannot be read."""


@dataclass(frozen=True)
class Word:
    """What to look for, its Chinese name if there is one, and the probability above which it is given as a tag."""

    name: str
    chinese: str | None = None
    threshold: float | None = None


def read_words(given: str) -> list[Word]:
    """Words with commas between them, or the file of that name: one a line, `name`, `name|Chinese`, `name||0.7`.

    Raises:
        WordListError: no file, one that is not UTF-8, a line that is no word, one word twice, or no word at all.
    """
    path = Path(given)
    if not _is_file(path):
        if path.suffix.lower() in (".txt", ".csv", ".tsv") and "," not in given:
            raise WordListError(f"There is no file {given!r}. Correct --words, or write the words with commas between.")
        return check_words(Word(part.strip()) for part in given.split(",") if part.strip())
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WordListError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}. Other encodings cannot be told apart with"
            " certainty; save it as UTF-8."
        ) from None
    lines = enumerate(text.splitlines(), start=1)
    return check_words(read_word(f"Line {number} of {path.name}", line) for number, line in lines if line.strip())


def read_prompts(given: str) -> str | list[str]:
    """`short` or `openai` as they are, else the texts of the file of that name: one a line, `{}` in place of the word.

    Raises:
        WordListError: no file, one that is not UTF-8, or a line without `{}`.
    """
    if given in ("short", "openai"):
        return given
    try:
        lines = [line.strip() for line in Path(given).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise WordListError(
            f"--prompts is {given!r}, which is neither short nor openai, nor a file of UTF-8 text: {error}."
        ) from None
    if not lines or (wrong := [line for line in lines if "{}" not in line]):
        what = f"the line {wrong[0][:60]!r} has no {{}}" if lines else "it is empty"
        raise WordListError(
            f"{given}: {what}. A line is a text with {{}} in place of the word, as 'a photo of a {{}}.'"
        )
    return lines


def check_words(words: Iterable[Word | str]) -> list[Word]:
    """The words, each once.

    Raises:
        WordListError: one is there twice, or there is none.
    """
    listed = [Word(word) if isinstance(word, str) else word for word in words]
    if not listed:
        raise WordListError("The list of words is empty. Give one word at least, as in --words 'red car, dog'.")
    seen: dict[str, str] = {}
    for word in listed:
        key = " ".join(word.name.casefold().split())
        if key in seen:
            raise WordListError(f"The word {word.name!r} is in the list twice, also as {seen[key]!r}. Remove one.")
        seen[key] = word.name
    return listed


def read_word(place: str, line: str) -> Word:
    """The word of a line `name`, `name|Chinese`, `name||0.7`; `place` is what a message calls it.

    Raises:
        WordListError: it is none of these.
    """
    name, *rest = [cell.strip() for cell in line.split("|")]
    if not name or len(rest) > 2:
        raise WordListError(f"{place} is {line[:60]!r}. It has to be `name`, or `name|Chinese name`, or `name||0.7`.")
    threshold = None
    if len(rest) == 2 and rest[1]:
        try:
            threshold = float(rest[1])
        except ValueError:
            threshold = -1.0
        if not 0 <= threshold <= 1:
            raise WordListError(f"{place}: the threshold {rest[1]!r} is no number from 0 to 1. Correct it.")
    return Word(name, rest[0] or None if rest else None, threshold)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name may be
        return False
