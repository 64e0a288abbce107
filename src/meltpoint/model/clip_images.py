"""The image side of a model of open_clip: a net of timm's, and the layer that leads into the space of texts."""

from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from timm.layers.mlp import Mlp
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from meltpoint.model import nets
from meltpoint.model.weights import WeightsError, fill_module
from meltpoint.params.model import Backbone

VIT = "vit_base_patch16_clip_224"
HEAD_WIDTH, MLP_RATIO = 64, 4.0  # of a ViT that does not say
POOLER_HEADS = 8


class FirstQuery(nn.Module):
    """CoCa's pooling, as far as images are concerned: all tokens (N, T, D) to what the first query finds (N, E)."""

    def __init__(self, width: int, embed_dim: int, heads: int) -> None:
        super().__init__()
        from open_clip.transformer import AttentionalPooler

        self.pooler = AttentionalPooler(embed_dim, width, heads, n_queries=1)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Float (N, T, D) to float (N, E)."""
        return cast(Tensor, self.norm(self.pooler(tokens)[:, 0]))


def net_params(params: Backbone, vision: dict[str, Any], args: dict[str, Any]) -> Backbone:
    """timm's model of the same shape, by open_clip's config `vision` of the images; `args` are further ones of it."""
    if name := vision.get("timm_model_name"):
        pool = {"global_pool": vision["timm_pool"]} if vision.get("timm_pool") else {}
        return Backbone(name=name, args=pool | args, weights=params.weights)
    if isinstance(vision["layers"], list):
        size = params.name.removesuffix("-quickgelu").removeprefix("RN")
        return Backbone(name=f"resnet{size}_clip", args=args, weights=params.weights)
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
    if vision.get("pool_type") == "avg":
        options |= {"global_pool": "avg", "fc_norm": bool(vision.get("final_ln_after_pool"))}
    if vision.get("attentional_pool"):  # whose norm comes after it
        options |= {"final_norm": False, "pool_include_prefix": True}
    return Backbone(name=VIT, args=options, weights=params.weights)


def make_side(params: Backbone, vision: dict[str, Any], embed_dim: int, size: int) -> tuple[nn.Module, nn.Module]:
    """The net that `net_params` says, and the layer from what it gives (N, D) to (N, embed_dim), of random weights."""
    net = nets.create_net(params, size, from_hub=False)
    width = int(cast(Any, net).num_features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if vision.get("attentional_pool"):
            heads = vision.get("attn_pooler_heads", POOLER_HEADS)
            cast(Any, net).attn_pool, width = FirstQuery(width, embed_dim, heads), embed_dim
        match vision.get("timm_proj", "linear"):
            case "none":
                return net, nn.Identity()
            case "mlp":
                return net, Mlp(width, 2 * embed_dim, embed_dim, bias=(True, False))
            case "linear":
                return net, nn.Linear(width, embed_dim, bias=isinstance(vision.get("layers"), list))
            case _:  # the trunk's own classifier
                return net, nn.Linear(width, embed_dim)


def fill_side(net: nn.Module, joint: nn.Module, vision: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> str:
    """Fill both with the tensors of the file `path`, in open_clip's names or those of OpenAI; says how many.

    Raises:
        WeightsError: one is missing, or of another shape.
    """
    given = {name: value for name, value in tensors.items() if name.startswith("visual.")}
    if vision.get("timm_model_name"):
        own, classifier = _under("visual.trunk.", given), nets.pretrained_config(net)["classifier"]
        after = {"linear": "visual.head.proj", "mlp": "visual.head.mlp", "none": "visual.head"}
        projection = after.get(vision.get("timm_proj", "linear"), f"visual.trunk.{classifier}")
    elif isinstance(vision["layers"], list):
        own, projection, place = given, "visual.attnpool.c_proj", "visual.attnpool.positional_embedding"
        if place in own:  # for another image size
            grid = list(cast(Any, net).head.feat_size)
            own = own | {place: resample_abs_pos_embed(own[place].float()[None], grid)[0]}
    else:
        own, projection = _rename_vit(net, vision, given), "visual.proj"
    of_joint = _under(f"{projection}.", given)
    if projection in given:
        of_joint["weight"] = given[projection].T
    origin, wanted = fill_module(net, own, "name", path), joint.state_dict()
    shapes = {name: tuple(of_joint[name].shape) if name in of_joint else None for name in wanted}
    if shapes != {name: tuple(value.shape) for name, value in wanted.items()}:
        raise WeightsError(
            f"{path} has a projection `{projection}` of {shapes}, and this model needs"
            f" { {name: tuple(value.shape) for name, value in wanted.items()} }. Give the weights of this model."
        )
    joint.load_state_dict({name: of_joint[name] for name in wanted})
    return origin


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _rename_vit(net: nn.Module, vision: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of open_clip's own ViT as timm names and resizes them; it knows fewer kinds of ViTs."""
    pool = _under("visual.attn_pool.", given) if vision.get("attentional_pool") else {}
    own = {name.replace(".ls_", ".ls"): value for name, value in given.items() if "attn_pool" not in name}
    if pool:
        pool = {f"attn_pool.pooler.{name}": value for name, value in pool.items()}
        pool |= {f"attn_pool.norm.{name}": value for name, value in _under("visual.ln_post.", given).items()}
        pool["attn_pool.pooler.query"] = pool["attn_pool.pooler.query"][:1]
    elif vision.get("final_ln_after_pool"):
        own = {name.replace("visual.ln_post", "visual.fc_norm"): value for name, value in own.items()}
    if vision.get("no_ln_pre"):  # where timm's first convolution has a bias
        own["visual.conv1.bias"] = torch.zeros(vision["width"])
    with suppress(KeyError, AttributeError, RuntimeError):  # of another model's file, which lacks what is expected
        own = checkpoint_filter_fn(own, cast(VisionTransformer, net))
    return own | pool
