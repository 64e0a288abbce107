"""A tiny text encoder with random weights, in a folder as transformers saves one."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

WIDTH, LONGEST = 16, 256
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-'"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]


def write_text_folder(folder: Path, words: Sequence[str] = ()) -> Path:
    """It knows single letters, and reads texts of 254 of them, or of `words`; vectors have 16 numbers."""
    folder.mkdir(parents=True)
    tokens = [*TOKENS, *words]
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=512, initializer_range=1.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    model.save_pretrained(folder)
    BertTokenizerFast(vocab={token: place for place, token in enumerate(tokens)}).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LONGEST}))
    return folder
