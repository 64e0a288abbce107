"""The text side of a model of open_clip: its own transformer or one of `transformers`, and the tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from meltpoint.model.library import find_folder, missing_package
from meltpoint.model.text_vectors import TextError, spell_with
from meltpoint.params.model import Backbone

HEAD_WIDTH = 64  # of OpenAI's models, whose files do not say how many heads there are
CONTEXT = 77  # tokens, where a config does not say


class ClipText:
    """The text side of a CLIP."""

    def __init__(self, tower: nn.Module, tokenizer: Any, context: int, scale: float) -> None:
        self.tower, self.tokenizer, self.scale = tower.eval(), tokenizer, scale
        self.inner = getattr(tokenizer, "tokenizer", None)  # that of transformers, where it is one
        self.limit = context - (2 if self.inner is None else int(self.inner.num_special_tokens_to_add()))

    def count(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """See `TextEncoder`; the tokens of open_clip's own tokenizer are pairs of bytes: it knows every letter."""
        if self.inner is None:
            return [(len(own), len(own)) for own in map(self.tokenizer.encode, texts)]
        cleaned = [self.tokenizer.clean_fn(text) for text in texts]
        tokens = self.inner(cleaned, add_special_tokens=False, verbose=False)["input_ids"]
        return [(len(own), sum(token != self.inner.unk_token_id for token in own)) for own in tokens]

    def spell(self, word: str) -> list[str]:
        """See `TextEncoder`."""
        if self.inner is not None:
            return spell_with(self.inner, self.tokenizer.clean_fn(word))
        pieces = [self.tokenizer.decode([token]).strip() for token in self.tokenizer.encode(word)]
        return ["" if "\ufffd" in piece else piece for piece in pieces]  # that sign: bytes that are no letter

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        return cast(Tensor, self.tower(self.tokenizer(list(texts))))


def make_text(
    params: Backbone, config: dict[str, Any], tensors: dict[str, Tensor], path: Path | None, quick: bool, scale: float
) -> ClipText:
    """The text side of open_clip's `config` with the tensors of the file `path`; None: of random weights.

    Raises:
        TextError: the file holds none, or not that one; what transformers has to read cannot be had.
    """
    from open_clip.model import _build_text_tower

    own, embed_dim = {**config["text_cfg"], "output_tokens": False}, config["embed_dim"]
    folder = None if params.text is None else find_folder(params.text)
    state = {name.removeprefix("text."): value.float() for name, value in tensors.items()}
    if "hf_model_name" in own:
        own |= {"hf_model_name": str(folder or own["hf_model_name"]), "hf_model_pretrained": False}
    elif path is not None:
        own |= _measure(own, state, path)
        embed_dim = state["text_projection"].shape[1] if "text_projection" in state else embed_dim
    if heads := params.args.get("text_heads"):
        own["heads"] = heads
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tower = _build_text_tower(embed_dim, own, quick)
        tokenizer = _open_tokenizer(params.name, own, folder)
    except ImportError:
        raise missing_package("transformers") from None
    except Exception as error:  # transformers and its hub let through whatever their readers raise
        source = folder or own.get("hf_tokenizer_name") or "open_clip"
        reason = str(error).partition("\n")[0].rstrip(".:") or type(error).__name__
        raise TextError(
            f"The text side of {params.name} cannot be made; its tokenizer is that of {source}: {reason}. Where the"
            " hub cannot be reached, name a folder with config.json and tokenizer as transformers saves them: text:"
            " {folder: ...} of the encoder."
        ) from error
    if path is not None:
        wanted = {name: value.shape for name, value in tower.state_dict().items()}
        wrong = [name for name, shape in wanted.items() if name not in state or state[name].shape != shape]
        if wrong:
            raise TextError(
                f"{path} does not hold the text side of {params.name}: {len(wrong)} of its {len(wanted)} tensors are"
                f" missing or of another shape, for example {wrong[:3]}. Give the file of all of this model."
            )
        tower.load_state_dict({name: state[name] for name in wanted})
    return ClipText(tower, tokenizer, own.get("context_length", CONTEXT), scale)


def _measure(own: dict[str, Any], state: dict[str, Tensor], path: Path) -> dict[str, int]:
    """What the file says of the size of open_clip's own text transformer."""
    try:
        positions, width = state["positional_embedding"].shape
        words = len(state["token_embedding.weight"])
    except KeyError as error:
        raise TextError(f"{path} holds no text side: {error} is missing. Give the file of all of CLIP.") from None
    heads = own["heads"] if width == own["width"] else width // HEAD_WIDTH
    layers = len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
    context = positions - bool(own.get("embed_cls"))
    return {"context_length": context, "width": width, "heads": heads, "layers": layers, "vocab_size": words}


def _open_tokenizer(name: str, own: dict[str, Any], folder: Path | None) -> Any:
    import open_clip

    context = own.get("context_length", CONTEXT)
    if folder is None:
        return open_clip.get_tokenizer(name, context_length=context)
    settings = own.get("tokenizer_kwargs") or {}
    return open_clip.tokenizer.HFTokenizer(str(folder), context, local_files_only=True, **settings)
