"""RAM's published checkpoint (Recognize Anything, Zhang et al., 2023) as a backbone of timm's under a head of queries.

Its Swin is in Microsoft's layout, its decoder in BERT's. What only writes captions is left out, and counted.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor

from meltpoint.model.model import Model, build_model
from meltpoint.model.weights import WeightsError, read_tensors
from meltpoint.params.heads import QueryHead
from meltpoint.params.model import Backbone, FileWeights, HubWeights
from meltpoint.params.queries import TextQueries

NET = "swin_large_patch4_window12_384"
PATCH = 4  # pixels
ATTENTION_HEADS = 4  # of the tagging head; the file does not say
# What made the vectors of its tags; `prompts` are near to its authors' own, which a user's file can hold.
TEXT = TextQueries(
    kind="text",
    encoder=Backbone(library="open_clip", name="ViT-B-16", weights=HubWeights(kind="hub", tag="openai")),
    prompts="openai",
    fixed=True,
)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet
CAPTIONS = ("tag_encoder.", "text_decoder.")
BUFFERS = ("relative_position_index", "attn_mask")
ENCODER, DECODER = "visual_encoder.", "tagging_head.encoder.layer."
LAYER = {  # names of a layer of the decoder
    "crossattention.self.query": "query",
    "crossattention.self.key": "key",
    "crossattention.self.value": "value",
    "crossattention.output.dense": "attended",
    "crossattention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm",
}
OUTSIDE = {"wordvec_proj": "query", "image_proj": "image", "fc": "output"}


@dataclass(frozen=True)
class Ram:
    """The parts of a checkpoint: of timm's Swin and of the head, by their own names; what was left out, with counts."""

    backbone: Backbone
    head: QueryHead
    side: int
    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    left_out: dict[str, int]

    @property
    def licence(self) -> str:
        """That of the checkpoint."""
        assert isinstance(self.backbone.weights, FileWeights)
        return self.backbone.weights.licence

    @property
    def tags(self) -> int:
        """How many tags it knows."""
        return len(self.decoder["vectors"])

    def with_vectors(self, vectors: Tensor) -> "Ram":
        """The same with vectors float (K, D) of other tags: the open set of the paper's section 3.4.

        Raises:
            WeightsError: they have another width.
        """
        width = self.head.vectors
        if vectors.ndim != 2 or vectors.shape[1] != width or not vectors.isfinite().all():
            raise WeightsError(
                f"The vectors of tags have the shape {tuple(vectors.shape)}; allowed are finite numbers (tags,"
                f" {width}), by the text encoder that RAM was trained with: CLIP ViT-B/16, normalised."
            )
        decoder = {**self.decoder, "vectors": vectors.float()}
        return Ram(self.backbone, self.head, self.side, self.encoder, decoder, self.left_out)

    def build(self) -> Model:
        """The model in eval mode, its one head called `tags`."""
        model = build_model(self.backbone, {"tags": self.head}, {"tags": self.tags}, self.side, pretrained=False)
        model.backbone.licence = self.licence
        net = model.backbone.net
        net.load_state_dict(checkpoint_filter_fn(self.encoder, net))
        decoder = model.heads["tags"]
        decoder.load_state_dict(
            {**decoder.state_dict(), **{f"1.{name}": value for name, value in self.decoder.items()}}
        )
        return model.eval()


def read_ram(path: Path, licence: str) -> Ram:
    """Read a checkpoint, .pth or .safetensors, and find its architecture in the shapes.

    Raises:
        WeightsError: it cannot be read, is RAM++, or has names or shapes that RAM has not.
    """
    return convert_ram(
        {name.replace("vision_multi", "tagging_head"): value for name, value in read_tensors(path).items()},
        FileWeights(kind="file", path=path.name, match="name", licence=licence),
    )


def convert_ram(tensors: Mapping[str, Tensor], weights: FileWeights) -> Ram:
    """The parts of a checkpoint's tensors; see `read_ram`."""
    if "reweight_scale" in tensors:
        raise WeightsError(
            "This is a checkpoint of RAM++, whose tags have 51 vectors each, weighed for each image. Only RAM is read:"
            " give ram_swin_large_14m.pth."
        )
    encoder: dict[str, Tensor] = {}
    decoder: dict[str, Tensor] = {}
    left_out, strange = dict[str, int](), list[str]()
    for name, value in tensors.items():
        kind = next((part for part in (*BUFFERS, *CAPTIONS) if name.startswith(part) or name.endswith(part)), None)
        if kind:
            left_out[kind] = left_out.get(kind, 0) + 1
        elif name.startswith(ENCODER):
            encoder[name.removeprefix(ENCODER)] = value
        elif own := _decoder_name(name):
            decoder[own] = value
        else:
            strange.append(name)
    if strange or not encoder or "vectors" not in decoder:
        lacking = "" if strange else f" It lacks {'label_embed' if encoder else ENCODER + '*'}."
        raise WeightsError(
            f"This is no checkpoint of RAM: {len(strange)} of its {len(tensors)} names are unknown, such as"
            f" {strange[:3]}.{lacking} Give ram_swin_large_14m.pth, as its authors publish it."
        )
    backbone, side = _find_net(tensors, encoder, weights)
    hidden, width = decoder["query.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in decoder if name.startswith("layers."))
    head = QueryHead(
        kind="query",
        label="tags",
        hidden=hidden,
        layers=layers,
        attention_heads=ATTENTION_HEADS,
        vectors=width,
        queries=TEXT,
    )
    return Ram(backbone, head, side, encoder, decoder, left_out)


def _decoder_name(name: str) -> str | None:
    """Our name of a tensor of the tagging head, None if it has none."""
    if name == "label_embed":
        return "vectors"
    outer, _, kind = name.rpartition(".")
    if outer in OUTSIDE:
        return f"{OUTSIDE[outer]}.{kind}"
    if found := re.fullmatch(rf"{re.escape(DECODER)}(\d+)\.(.+)", outer):
        own = LAYER.get(found[2])
        return f"layers.{found[1]}.{own}.{kind}" if own else None
    return None


def _find_net(
    tensors: Mapping[str, Tensor], encoder: Mapping[str, Tensor], weights: FileWeights
) -> tuple[Backbone, int]:
    """The Swin of these shapes, and the side of its images: the mask of the first shifted block knows the grid."""
    try:
        depths = [
            len({name.split(".")[3] for name in encoder if name.startswith(f"layers.{stage}.blocks.")})
            for stage in range(4)
        ]
        tables = [encoder[f"layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in range(4)]
        window = (math.isqrt(len(tables[0])) + 1) // 2
        mask = tensors[f"{ENCODER}layers.0.blocks.1.attn_mask"]
        side = math.isqrt(len(mask)) * window * PATCH
        embed = len(encoder["patch_embed.proj.weight"])
    except KeyError as error:
        raise WeightsError(
            f"This checkpoint lacks {error}, which says what its Swin is made of. Give ram_swin_large_14m.pth, as its"
            " authors publish it."
        ) from None
    found = {"window_size": window, "embed_dim": embed, "depths": depths, "num_heads": [t.shape[1] for t in tables]}
    published = {"window_size": 12, "embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]}
    args = {key: value for key, value in found.items() if value != published[key]}
    return Backbone.model_validate({"name": NET, "args": args, "weights": weights, "mean": MEAN, "std": STD}), side
