"""Texts around a name, as a photograph would be captioned."""

from collections.abc import Sequence

from meltpoint.model.library import missing_package

SHORT = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up of a {}.",
    "a small {} far away.",
    "a dark photo of a {}.",
    "a blurry photo of a {}.",
    "a drawing of a {}.",
)


def fill_prompts(prompts: str | Sequence[str] | None, name: str) -> list[str]:
    """The name in each template: the `short` ones, the 80 of `openai` for ImageNet, those given; None: by itself."""
    match prompts:
        case None:
            return [name]
        case "short":
            return [template.replace("{}", name) for template in SHORT]
        case "openai":
            try:
                from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
            except ImportError:
                raise missing_package("open_clip") from None
            return [template(name) for template in OPENAI_IMAGENET_TEMPLATES]
        case _:
            return [template.replace("{}", name) for template in prompts]
