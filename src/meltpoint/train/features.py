"""Features that frozen encoders gave of stored views: what there is, and how to open it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from meltpoint.errors import UserError
from meltpoint.files import read_json
from meltpoint.model.backbones import tap_key
from meltpoint.model.taps import FeatureSpec
from meltpoint.params.model import Reading
from meltpoint.parts import Parts, open_parts

INDEX = "features.json"  # written last: where it is, all is
DTYPES = {"float32": "<f4", "float16": "<f2"}  # on disk


class FeaturesError(UserError, RuntimeError):
    """There are no features, none of that tap, none is stored, or the backbone gave some that are not numbers."""


@dataclass(frozen=True)
class Features:
    """Stored features: of plain views in the order of the samples, of augmented ones in that of the training rows.

    Where they are not `stored`, being larger than `embed.max_gb`, only what would have been stored is known.
    """

    folder: Path
    specs: dict[str, FeatureSpec]  # by tap key
    images: int  # N, of all splits
    training: int  # of the training split
    views: int  # V, augmented ones of each training image; 0: none is stored
    stored: bool
    fingerprint: str  # of all the features depend on

    def plain(self, tap: Reading) -> Parts:
        """Features of the plain views, of the spec's dtype (N, *spec.shape).

        Raises:
            FeaturesError: there is no such tap, or nothing is stored.
            PartsError: a file is missing, or was cut.
        """
        return self._open(tap, "plain")

    def augmented(self, tap: Reading) -> Parts | None:
        """Those of augmented views, of the same dtype (training, V, *spec.shape); None if there are no such views.

        Raises:
            FeaturesError: there is no such tap, or nothing is stored.
        """
        return self._open(tap, "augmented") if self.views else None

    @property
    def sentence(self) -> str:
        """What was made, in words."""
        shapes = {key: " x ".join(map(str, spec.shape)) for key, spec in self.specs.items()}
        sizes = ", ".join(f"{shape} numbers from tap {key}" for key, shape in shapes.items())
        views = f" and {self.views} augmented views of {self.training:,} training images" if self.views else ""
        return f"{self.images:,} images{views}: {sizes} for each{'' if self.stored else ', not stored'}"

    def _open(self, tap: Reading, which: str) -> Parts:
        if tap_key(tap) not in self.specs:
            raise FeaturesError(
                f"{self.folder} holds no features of tap {tap_key(tap)}; it has {list(self.specs)}."
                " Run `dvc repro embed` again."
            )
        if not self.stored:
            raise FeaturesError(
                f"The features in {self.folder} are not stored: they are larger than embed.max_gb. Let the backbone run"
                " instead, or allow more and run `dvc repro embed`."
            )
        found = open_parts(file := file_of(self.folder, tap_key(tap), which))
        if found is None:
            raise FeaturesError(f"{file} is missing. Run `dvc repro embed` again.")
        return found


def open_features(folder: Path) -> Features:
    """Open what `embed` wrote.

    Raises:
        FeaturesError: it is not there.
    """
    try:
        index = read_json(folder / INDEX)
    except FileNotFoundError:
        raise FeaturesError(f"There are no features in {folder}: {INDEX} is missing. Run `dvc repro embed`.") from None
    specs = TypeAdapter(dict[str, FeatureSpec]).validate_python(index.pop("specs"))
    return Features(folder=folder, specs=specs, **index)


def file_of(folder: Path, key: str, which: str) -> Path:
    """Where the features of a tap by key are, of `which` views, plain or augmented."""
    return folder / f"{key}.{which}.npy"


def as_stored(values: NDArray[np.float32], key: str, dtype: str) -> NDArray[np.floating]:
    """Features of a tap by key in the dtype that they are stored with.

    Raises:
        FeaturesError: one is not a finite number, or too large for it.
    """
    with np.errstate(over="ignore"):
        stored: NDArray[np.floating] = values.astype(dtype, copy=False)
    if np.isfinite(stored).all():
        return stored
    if np.isfinite(values).all():
        raise FeaturesError(
            f"The backbone gives a feature of size {np.abs(values).max():,.0f} at tap {key}, and those of grids are"
            f" float16, {np.finfo(dtype).max:,.0f} at most. Take other heads.<name>.taps, or another backbone."
        )
    raise FeaturesError(
        f"The backbone gives NaN or infinity at tap {key}. Features have to be numbers: look whether"
        " the encoder's `weights` are whole and belong to its `name`, and whether `mean` and `std` are theirs."
    )
