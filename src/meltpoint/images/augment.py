"""albumentations transforms by name and arguments, checked when read; a view is a pure function of picture and seed."""

import difflib
import inspect
import os
import random
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from meltpoint.arrays import Mask, Pixels
from meltpoint.errors import UserError
from meltpoint.params.data import Images
from meltpoint.tables import IGNORED

if TYPE_CHECKING:
    import albumentations

LISTED = 12  # arguments that a message names
ABSTRACT = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D")  # not to be used by themselves
# What pydantic puts around its reasons.
PYDANTIC = re.compile(r"^\d+ validation errors? for InitSchema|\[type=.*\]|For further information visit \S+")


class AugmentError(UserError, ValueError):
    """A transform of params.yaml does not exist, has no such argument or value, or does not give a view of one size."""


@dataclass(frozen=True)
class Augmentation:
    """Augments one view: the same picture and seed give the same view, in any process (but not in two threads)."""

    compose: "albumentations.Compose"
    size: int

    def __call__(self, image: Pixels, seed: int) -> Pixels:
        """Augment uint8 (S, S, 3) to uint8 (S, S, 3).

        Raises:
            AugmentError: what came out has another shape or dtype.
        """
        return self._checked(self._applied(seed, image=image)["image"], image)

    def pair(self, image: Pixels, mask: Mask, seed: int) -> tuple[Pixels, Mask]:
        """Augment uint8 (S, S, 3) as a call does, and uint8 (S, S) class ids in the same way.

        Cells of the mask move to the nearest place; what comes in from outside is `IGNORED`.

        Raises:
            AugmentError: what came out has another shape or dtype.
        """
        # What transforms fill with is 0: with ids one higher, and IGNORED (255) wrapped to 0, that means ignored.
        moved = self._applied(seed, image=image, mask=mask + np.uint8(1))
        return self._checked(moved["image"], image), self._checked(moved["mask"], mask) - np.uint8(1)

    def _applied(self, seed: int, **arrays: Pixels) -> dict[str, Any]:
        generator = random.Random(seed)  # noqa: S311 - albumentations wants both kinds of generator
        self.compose.set_random_state(np.random.default_rng(seed), generator)
        applied: dict[str, Any] = self.compose(**arrays)
        return applied

    def _checked(self, view: Any, given: Pixels) -> Pixels:
        shape, dtype = getattr(view, "shape", None), getattr(view, "dtype", None)
        if shape != given.shape or dtype != np.uint8:
            raise AugmentError(
                f"transforms: {_named(self.compose)} turns uint8 {given.shape} into {dtype} {shape}. A view"
                " keeps its shape and dtype. Leave out Normalize and ToTensorV2, the model normalises by itself; give"
                f" crops the size of the view, {self.size}."
            )
        return np.ascontiguousarray(view)


def build_transform(transforms: Sequence[Mapping[str, Mapping[str, Any]]], images: Images) -> Augmentation:
    """Build the transforms of params.yaml, applied in their order.

    Raises:
        AugmentError: an unknown name or argument (the nearest known one is named); a value that albumentations refuses;
            a transform that wants more than a picture, changes its size, or is random in spite of a seed.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks the network for a newer release
    import albumentations

    base: Any = albumentations.BasicTransform
    named = {name: getattr(albumentations, name) for name in dir(albumentations) if name not in ABSTRACT}
    known: dict[str, Any] = {
        one: value for one, value in named.items() if inspect.isclass(value) and base in value.__mro__
    }
    steps = []
    for name, arguments in [(name, dict(arguments)) for step in transforms for name, arguments in step.items()]:
        if name not in known:
            raise AugmentError(
                f"transforms: {name!r} is not a transform.{_nearest(name, known)} Allowed are the {len(known)}"
                " transforms of albumentations 2 (https://albumentations.ai/docs); correct the name in params.yaml."
            )
        # albumentations itself only warns of an unknown argument, and then leaves it out.
        allowed = list(inspect.signature(known[name].__init__).parameters)[1:]
        if unknown := [argument for argument in arguments if argument not in allowed]:
            raise AugmentError(
                f"transforms: {name} has no argument {unknown[0]!r}.{_nearest(unknown[0], allowed)}"
                f" Allowed are {', '.join(allowed[:LISTED])}; correct the name in params.yaml."
            )
        if isinstance(filled := arguments.get("fill_mask"), int):
            arguments["fill_mask"] = (filled + 1) % 256  # as `pair` shifts masks
        steps.append(_build(known[name], arguments))
        always = {key: 0 if key == "fill_mask" else value for key, value in arguments.items()} | {"p": 1.0}
        _try(Augmentation(albumentations.Compose([_build(known[name], always)]), images.side))
    return Augmentation(albumentations.Compose(steps), images.side)


def _build(transform: Any, arguments: Mapping[str, Any]) -> Any:
    maker = next(base for base in transform.__mro__ if "__init__" in vars(base))
    strict = {"strict": True} if "InitSchema" in vars(maker) else {}  # or errors are only warnings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on other transforms
            return transform(**arguments, **strict)
    except (ValueError, TypeError) as error:
        reason = " ".join(PYDANTIC.sub("", str(error)).split())
        raise AugmentError(
            f"transforms: {transform.__name__} refuses {dict(arguments)}: {reason}. Correct the value in params.yaml."
        ) from error


def _try(transform: Augmentation) -> None:
    """Apply a transform twice to noise: errors of params.yaml show now, not after an hour of training."""
    noise = np.random.default_rng(0).integers(0, 256, (transform.size, transform.size, 3), dtype=np.uint8)
    halves = np.where(noise[..., 0] < 128, 0, 100).astype(np.uint8)
    try:
        first, second = (transform(noise, seed=1) for _ in range(2))
        _, mask = transform.pair(noise, halves, seed=1)
    except AugmentError:
        raise
    except Exception as error:
        raise AugmentError(
            f"transforms: {_named(transform.compose)} cannot be applied to a picture of {noise.shape}:"
            f" {type(error).__name__}: {error}. Allowed are transforms that need nothing but the picture; leave it out."
        ) from error
    if not np.array_equal(first, second):
        raise AugmentError(
            f"transforms: {_named(transform.compose)} gives two views for one seed. Allowed are transforms"
            " that depend on their seed alone, or no training could be repeated; leave it out."
        )
    invented = sorted(set(np.unique(mask).tolist()) - {0, 100, IGNORED})
    if invented:
        raise AugmentError(
            f"transforms: {_named(transform.compose)} makes the classes {invented[:4]} of the classes 0 and 100"
            " of a mask. Allowed is mask_interpolation: 0, which takes the nearest pixel; correct it in params.yaml."
        )


def _named(compose: Any) -> str:
    return ", ".join(type(step).__name__ for step in compose.transforms)


def _nearest(word: str, known: Iterable[str]) -> str:
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.4)
    return f" Did you mean {lower[near[0]]!r}?" if near else ""
