"""Library `open_clip`: CLIP models, images and texts in one space, with weights from its hub or a file.

The image side is a ViT of timm's made as open_clip's config says, so that it is tapped, fine-tuned and saved like any
other; the text side is open_clip's own. Files in the names of OpenAI's checkpoints are read, too.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.library import Parts, missing_package
from meltpoint.model.nets import BackboneError
from meltpoint.model.text_vectors import TextEncoder, TextError
from meltpoint.model.weights import WeightsError, find_weights, load_weights, read_tensors
from meltpoint.params.model import Backbone, FileWeights, HubWeights, PackageWeights

ARGS = ("embed_dim", "width", "layers", "patch_size", "head_width", "mlp_ratio", "quick_gelu")
# Keys of an image tower that timm's ViT does as well, or that only training uses.
KNOWN = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout", "ls_init_value",
         "no_ln_pre", "output_tokens"}  # fmt: skip
OPENAI = ("input_resolution", "context_length", "vocab_size")  # numbers that are in OpenAI's own checkpoints alone
TEXT = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
HEAD_WIDTH, MLP_RATIO, TEMPERATURE = 64, 4.0, 1 / 0.07  # of OpenAI's models, and what they are taught from


class ClipText:
    """The text side of a CLIP."""

    def __init__(self, tower: nn.Module, tokenizer: Any, context: int, scale: float) -> None:
        self.tower, self.tokenizer, self.scale, self.limit = tower.eval(), tokenizer, scale, context - 2

    def count(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """See `TextEncoder`; pairs of bytes are its tokens, so that it knows every letter."""
        return [(len(own), len(own)) for own in map(self.tokenizer.encode, texts)]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        return cast(Tensor, self.tower(self.tokenizer(list(texts))))


def tower(params: Backbone) -> Backbone:
    """The ViT of timm's that the image side is."""
    vision = _read_config(params)["vision_cfg"]
    options: dict[str, Any] = {
        "patch_size": vision["patch_size"],
        "embed_dim": vision["width"],
        "depth": vision["layers"],
        "num_heads": vision["width"] // vision.get("head_width", HEAD_WIDTH),
        "mlp_ratio": vision.get("mlp_ratio", MLP_RATIO),
        "pre_norm": not vision.get("no_ln_pre"),
        "act_layer": "quick_gelu" if params.args.get("quick_gelu") else "gelu",
    }
    if vision.get("ls_init_value") is not None:
        options["init_values"] = vision["ls_init_value"]
    return Backbone(name="vit_base_patch16_clip_224", args=options, weights=params.weights)


def build(params: Backbone, size: int, pretrained: bool) -> Parts:
    """The image side, then its projection into the space that texts share."""
    embed_dim = int(_read_config(params)["embed_dim"])  # first: it says if the package is missing
    path = _find_file(params, None) if pretrained else None
    tensors = {} if path is None else read_tensors(path)
    args: dict[str, Any] = {**params.args, "quick_gelu": _choose_quick(params, tensors)}
    net = nets.create_net(tower(params.model_copy(update={"args": args})), size, from_hub=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        joint = nn.Linear(cast(Any, net).num_features, embed_dim, bias=False)
    if isinstance(params.weights, HubWeights):
        config = _hub_config(params)
        cast(Any, net).pretrained_cfg = nets.pretrained_config(net) | {key: config[key] for key in ("mean", "std")}
    if path is None:
        return Parts(net, joint, "none", "random weights", args)
    licence = params.weights.licence if isinstance(params.weights, FileWeights | PackageWeights) else "unknown"
    origin = load_weights(net, FileWeights(kind="file", path=str(path), match="name", licence=licence))
    projection = tensors.get("visual.proj")
    if projection is None or projection.shape != (joint.in_features, joint.out_features):
        raise WeightsError(
            f"{path} has a projection `visual.proj` of {None if projection is None else tuple(projection.shape)}, and"
            f" {params.name} needs {(joint.in_features, joint.out_features)}. Give the weights of this model."
        )
    with torch.no_grad():
        joint.weight.copy_(projection.T)
    return Parts(net, joint, licence, origin, args)


def open_text(params: Backbone, place: Path | None) -> TextEncoder:
    """The text side, of the weights that the image side has."""
    config, path = _read_config(params), _find_file(params, place)
    import open_clip

    tensors = {} if path is None else read_tensors(path)
    quick, own, embed_dim = _choose_quick(params, tensors), dict(config["text_cfg"]), config["embed_dim"]
    if "hf_model_name" in own:
        raise TextError(f"The text side of {params.name} is of another library, and is not read. Take another ViT.")
    state = {name.removeprefix("text."): value.float() for name, value in tensors.items()}
    state = {name: value for name, value in state.items() if name.startswith(TEXT)}
    if path is not None:
        try:
            context, width = state["positional_embedding"].shape
            heads = own["heads"] if width == own["width"] else width // HEAD_WIDTH  # as OpenAI's, which do not say
            layers = len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
            words, embed_dim = len(state["token_embedding.weight"]), state["text_projection"].shape[1]
            own |= {"context_length": context, "width": width, "heads": heads, "layers": layers, "vocab_size": words}
        except KeyError as error:
            raise TextError(f"{path} holds no text side: {error} is missing. Give the file of all of CLIP.") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = open_clip.model._build_text_tower(embed_dim, own, quick)
    if path is not None:
        text.load_state_dict(state)
    scale = float(tensors["logit_scale"].float().exp()) if "logit_scale" in tensors else TEMPERATURE
    tokenizer = open_clip.get_tokenizer(params.name, context_length=own["context_length"])
    return ClipText(text, tokenizer, own["context_length"], scale)


def _read_config(params: Backbone) -> dict[str, Any]:
    """open_clip's config of the model, changed as `args` say."""
    try:
        import open_clip
    except ImportError:
        raise missing_package("open_clip") from None
    config, known = open_clip.get_model_config(params.name), open_clip.list_models()
    if config is None:
        near = difflib.get_close_matches(params.name, known, n=3, cutoff=0.3)
        raise BackboneError(
            f"open_clip has no model {params.name!r}. {f'Near are {near}. ' if near else ''}open_clip.list_models()"
            " lists them all; correct `name` of the encoder."
        )
    if unknown := sorted(set(params.args) - set(ARGS)):
        raise BackboneError(f"args {unknown} are none of {list(ARGS)}, which a model of open_clip takes. Remove them.")
    changes = {key: value for key, value in params.args.items() if key not in ("embed_dim", "quick_gelu")}
    vision = {key: value for key, value in config["vision_cfg"].items() if value is not None} | changes
    if not isinstance(vision.get("layers"), int) or set(vision) - KNOWN:
        reason = "is a ResNet" if isinstance(vision.get("layers"), list) else f"has {sorted(set(vision) - KNOWN)}"
        raise BackboneError(
            f"The image side of {params.name} {reason}. Those of open_clip that are plain ViTs are read, as ViT-B-16 or"
            " ViT-L-14: take one of these."
        )
    return {**config, "embed_dim": params.args.get("embed_dim", config["embed_dim"]), "vision_cfg": vision}


def _choose_quick(params: Backbone, tensors: dict[str, Tensor]) -> bool:
    """Whether activations are QuickGELU: as the weights were trained, which hub or file say; else as params do."""
    import open_clip

    named = bool((open_clip.get_model_config(params.name) or {}).get("quick_gelu"))
    said = cast(bool | None, params.args.get("quick_gelu", True if named else None))
    trained: bool | None = True if all(name in tensors for name in OPENAI) else None
    if isinstance(params.weights, HubWeights):
        trained = bool(_hub_config(params).get("quick_gelu"))
    if trained is not None and said is not None and trained != said:
        word, asked = ("with" if one else "without" for one in (trained, said))
        raise BackboneError(
            f"The weights of {params.name} were trained {word} QuickGELU, and name or args ask for a net {asked} it."
            f" Take the name {word} -quickgelu, and leave quick_gelu out of args: the weights say it."
        )
    return bool(said if trained is None else trained)


def _hub_config(params: Backbone) -> dict[str, Any]:
    import open_clip

    tag = cast(HubWeights, params.weights).tag or ""
    config = open_clip.pretrained.get_pretrained_cfg(params.name, tag)
    if not config:
        known = open_clip.list_pretrained_tags_by_model(params.name)
        raise WeightsError(f"open_clip has no weights {tag!r} of {params.name}; it has {known}. Correct weights.tag.")
    return cast(dict[str, Any], config)


def _find_file(params: Backbone, place: Path | None) -> Path | None:
    """Where the weights are; None: they are random. Those of the hub are fetched."""
    weights = params.weights
    if place is not None:
        weights = FileWeights(kind="file", path=str(place), match="name", licence="unknown")
    match weights:
        case FileWeights() | PackageWeights():
            return find_weights(weights)
        case HubWeights():
            import open_clip

            try:
                return Path(open_clip.download_pretrained(_hub_config(params)))
            except WeightsError:
                raise
            except Exception as error:  # half a dozen libraries raise it
                reason = str(error).partition("\n")[0].rstrip(".:") or type(error).__name__
                raise WeightsError(
                    f"open_clip's weights {weights.tag} of {params.name} could not be fetched: {reason}. Check the"
                    " network, or give a file: weights: {kind: file, path: ..., match: name, licence: ...}."
                ) from error
        case _:
            return None
