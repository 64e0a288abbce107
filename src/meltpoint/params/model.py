"""The backbone, where its weights come from, and the heads over it."""

from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import AtLeastOne, Fraction, Name, Positive, Section


class HubWeights(Section):
    """timm's own pretrained weights, from its model hub."""

    kind: Literal["hub"]


class FileWeights(Section):
    """A local .safetensors, or a .pth read with `weights_only`."""

    kind: Literal["file"]
    path: str
    match: Literal["name", "order"]
    licence: str


class PackageWeights(Section):
    """A weight file inside an installed Python package."""

    kind: Literal["package"]
    package: str
    file: str
    match: Literal["name", "order"]
    licence: str


class RandomWeights(Section):
    """No pretraining: for tests."""

    kind: Literal["random"]


Weights = Annotated[HubWeights | FileWeights | PackageWeights | RandomWeights, Field(discriminator="kind")]


class Backbone(Section):
    """A timm model, and what it knows already."""

    name: str  # a timm model name
    args: dict[str, bool | int | float | str]  # further arguments of timm.create_model
    weights: Weights
    mean: list[float] | None  # null: as the backbone was pretrained
    std: list[float] | None


Tap = Literal["final"] | int  # what the pretrained classifier saw, or a stage (CNN) or block (ViT) by index


class LinearHead(Section):
    """Standardised features, then one linear layer."""

    kind: Literal["linear"]
    label: Name
    tap: Tap
    weight: Positive
    class_weights: Literal["none", "balanced"]
    main: bool


class MlpHead(Section):
    """Standardised features, Linear, GELU, dropout, Linear."""

    kind: Literal["mlp"]
    label: Name
    tap: Tap
    hidden: AtLeastOne
    dropout: Fraction
    weight: Positive
    class_weights: Literal["none", "balanced"]
    main: bool


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class Task(Section):
    """What the labels are."""

    kind: Literal["classification"]
