"""Names that look the same to a person and differ to a program: capitals, blanks, accents, dashes, similar letters."""

import re
import unicodedata
from collections.abc import Iterable

# Letters of Cyrillic and Greek that fonts draw as they draw a Latin one (Unicode Technical Standard 39, confusables).
TWINS = str.maketrans(
    "АВЕЅІЈКМНОРСТХаеѕіјорсухԁΑΒΕΖΗΙΚΜΝΟΡΤΥΧοа",
    "ABESIJKMHOPCTXaesijopcyxdABEZHIKMNOPTYXoa",
)
# Signs that people write as one of the keyboard: dashes (and the minus), quotes and primes of one and of two strokes.
SIGNS = {
    **dict.fromkeys("‐‑‒–—―⁃−﹘﹣－˗", "-"),
    **dict.fromkeys("‘’‚‛ʹʻʼʽˈˊˋʾʿ′‵´`＇ꞌ", "'"),
    **dict.fromkeys("“”„‟ʺˮ″‶〃＂", '"'),
}
BLANK = "\u115f\u1160\u3164\uffa0\u2800"  # drawn as nothing: fillers of Hangul, Braille without dots
LOOKS = TWINS | str.maketrans(SIGNS | dict.fromkeys(BLANK, " "))
# Variation selectors, vowels of Khmer without a shape, and the joiner that is a mark; format characters (Cf) besides.
SHAPELESS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180f\u034f\u17b4\u17b5]")


def skeleton(name: str) -> str:
    """What a person sees of a name: equal for two names that look the same.

    Accents are composed (NFC); what has no shape (a zero-width blank, a direction mark, a selector of variants) is
    left out; blanks of any width, and letters that are drawn as blanks, count as one, and not at the ends; capitals,
    similar letters of other scripts, and kinds of dashes and of quotes make no difference.
    """
    composed = unicodedata.normalize("NFC", name)
    shown = [one for one in composed if unicodedata.category(one) != "Cf" and not SHAPELESS.match(one)]
    plain = " ".join("".join(shown).translate(LOOKS).split())
    return unicodedata.normalize("NFC", plain.casefold())


def find_confusable(names: Iterable[str]) -> list[list[str]]:
    """The groups of names that look the same, each of two or more."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(skeleton(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def escaped(names: Iterable[str]) -> str:
    """Names in quotes, whatever is not plain ASCII as an escape, so that a person sees how they differ."""
    return " and ".join(ascii(name) for name in names)
