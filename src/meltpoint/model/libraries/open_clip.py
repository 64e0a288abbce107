"""Library `open_clip`: any CLIP that it lists, images and texts in one space, with weights from its hub or a file.

The image side is a net of timm's, made as open_clip's config says, so that it is tapped, fine-tuned and saved like any
other; the text side is open_clip's own. Files in the names of OpenAI's checkpoints are read, too.
"""

import difflib
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from meltpoint.model import nets
from meltpoint.model.clip_images import fill_side, make_side, net_params
from meltpoint.model.clip_texts import make_text
from meltpoint.model.library import Parts, missing_package
from meltpoint.model.nets import BackboneError
from meltpoint.model.text_vectors import TextEncoder
from meltpoint.model.weights import WeightsError, find_weights, read_tensors
from meltpoint.params.model import Backbone, FileWeights, HubWeights, PackageWeights

OWN = ("embed_dim", "quick_gelu", "text_heads")  # args of any model
OF_VIT = ("width", "layers", "patch_size", "head_width", "mlp_ratio")  # and of open_clip's own ViTs
OPENAI = ("input_resolution", "context_length", "vocab_size")  # numbers that are in OpenAI's own checkpoints alone
TEMPERATURE = 1 / 0.07  # what OpenAI's models are taught from


def tower(params: Backbone) -> Backbone:
    """The net of timm's that the image side is."""
    further = {key: value for key, value in params.args.items() if key not in (*OWN, *OF_VIT)}
    return net_params(params, _read_config(params)["vision_cfg"], further)


def build(params: Backbone, size: int, pretrained: bool) -> Parts:
    """The image side, then its projection into the space that texts share."""
    config = _read_config(params)  # first: it says if the package is missing
    path = _find_file(params, None) if pretrained else None
    tensors = {} if path is None else read_tensors(path)
    args: dict[str, Any] = {**params.args, "quick_gelu": _choose_quick(params, tensors)}
    vision = config["vision_cfg"]
    net, joint = make_side(tower(params.model_copy(update={"args": args})), vision, int(config["embed_dim"]), size)
    cast(Any, net).pretrained_cfg = nets.pretrained_config(net) | _normalisation(params)
    if path is None:
        return Parts(net, joint, "none", "random weights", args)
    licence = params.weights.licence if isinstance(params.weights, FileWeights | PackageWeights) else "unknown"
    return Parts(net, joint, licence, fill_side(net, joint, vision, tensors, path), args)


def open_text(params: Backbone, place: Path | None) -> TextEncoder:
    """The text side, of the weights that the image side has."""
    config, path = _read_config(params), _find_file(params, place)
    tensors = {} if path is None else read_tensors(path)
    scale = float(tensors["logit_scale"].float().exp()) if "logit_scale" in tensors else TEMPERATURE
    return make_text(params, config, tensors, path, _choose_quick(params, tensors), scale)


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
    vision = config["vision_cfg"]
    of_timm = "timm_model_name" in vision or isinstance(vision["layers"], list)
    if unknown := sorted(set(params.args) - {*OWN, *OF_VIT}) if not of_timm else sorted(set(params.args) & set(OF_VIT)):
        taken = f"{list(OWN)} and what timm's net takes" if of_timm else f"{[*OWN, *OF_VIT]}"
        raise BackboneError(f"args {unknown} are none of {taken}, for {params.name} of open_clip. Remove them.")
    if params.text is not None and "hf_tokenizer_name" not in config["text_cfg"]:
        raise BackboneError(
            f"text: {params.name} brings its own tokenizer, and a folder is for models whose texts transformers"
            " tokenises. Remove `text` of the encoder."
        )
    vision = vision | {key: value for key, value in params.args.items() if key in OF_VIT}
    embed_dim = params.args.get("embed_dim", config["embed_dim"])
    return {**config, "embed_dim": embed_dim, "vision_cfg": vision}


def _normalisation(params: Backbone) -> dict[str, Any]:
    """Mean and std of the weights: those of the hub's tag, or else of the first tag of the model, or else OpenAI's."""
    import open_clip

    if isinstance(params.weights, HubWeights):
        config = _hub_config(params)
    else:
        tags = open_clip.list_pretrained_tags_by_model(params.name)
        config = open_clip.pretrained.get_pretrained_cfg(params.name, tags[0]) if tags else {}
    standard = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    return {key: config.get(key) or value for key, value in standard.items()}


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
                    " network, or give a file: weights: {kind: file, path: ..., match: name, licence: ...}; --text FILE"
                    " says to `predict` where the text side is."
                ) from error
        case _:
            return None
