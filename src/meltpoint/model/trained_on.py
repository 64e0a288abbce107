"""Which images a model was trained on, as hashes beside its weights, so that nobody examines it on them later."""

import hashlib
from pathlib import Path

import pandas as pd

from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.tables import is_declared

TRAINED_ON = "trained_on.parquet"
COLUMNS = ("sha256", "split", "group")
LEARNT = ("train", "val")  # weights come from the one, thresholds and the best epoch from the other


class TrainedOnError(UserError, RuntimeError):
    """The file that says what a model was trained on cannot be read."""


def write_trained_on(samples: pd.DataFrame, folder: Path) -> None:
    """Write `trained_on.parquet` into a model folder: a row for each image of train and val, sorted.

    `sha256` is of the image file's bytes, `split` train or val, `group` the sha256 of the name of its declared group
    (`hash_group`), missing where none was declared: names may be of people, and the folder travels.
    """
    learnt = samples[samples["split"].isin(LEARNT)]
    sha256, split, group = (learnt[column].to_numpy(dtype=object) for column in COLUMNS)
    hashes = [hash_group(name) or "" for name in group]
    table = pd.DataFrame(sorted(set(zip(sha256, split, hashes, strict=True))), columns=list(COLUMNS), dtype="string")
    rows = table.mask(table == "")
    with whole_file(folder / TRAINED_ON) as temporary:
        rows.to_parquet(temporary, index=False, compression="zstd")


def read_trained_on(folder: Path) -> pd.DataFrame | None:
    """The images that the model in `folder` was trained on, as `write_trained_on` says; None if an older one.

    Raises:
        TrainedOnError: the file is damaged, or has other columns.
    """
    path = folder / TRAINED_ON
    if not path.exists():
        return None
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainedOnError(f"{path} cannot be read: {reason}. {_MEND}") from None
    if missing := [column for column in COLUMNS if column not in rows]:
        raise TrainedOnError(f"{path} lacks the columns {missing}; it has {list(rows)}. {_MEND}")
    return rows[list(COLUMNS)].astype("string")


def hash_group(name: object) -> str | None:
    """The sha256 of the name of a declared group; None of a group that has its name from an image, and of none."""
    if not isinstance(name, str) or not is_declared(name):
        return None
    return hashlib.sha256(name.encode()).hexdigest()


_MEND = "The train stage writes it. Restore the folder with `dvc checkout`, or train again."
