"""exports/winner.json: which strategy won, and the fingerprint of its model: only another winner is exported again."""

from dataclasses import asdict, dataclass
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.files import read_json, sha256_of, write_json
from meltpoint.model.manifest import MANIFEST

EXPORT = "export.json"  # in the folder of an export


class WinnerError(UserError, RuntimeError):
    """It is not known which model to export."""


@dataclass(frozen=True)
class Winner:
    """A strategy, and the sha256 of its model's manifest: that of all its files."""

    strategy: str
    fingerprint: str


def is_export(folder: Path) -> bool:
    """Whether a folder says that it is an export."""
    return (folder / EXPORT).is_file()


def write_winner(model: Path, path: Path) -> None:
    """Write down the winner, whose model folder is `model`."""
    write_json(path, asdict(Winner(model.name, fingerprint_of(model))))


def read_winner(path: Path) -> Winner:
    """Read what `write_winner` wrote.

    Raises:
        WinnerError: there is no such file, or it is damaged.
    """
    try:
        return Winner(**read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise WinnerError(f"{path} cannot be read: {error}. The compare stage writes it: dvc repro compare") from None


def fingerprint_of(model: Path) -> str:
    """The sha256 of the manifest of a model folder.

    Raises:
        WinnerError: it has none.
    """
    try:
        return sha256_of(model / MANIFEST)
    except OSError as error:
        raise WinnerError(
            f"{model / MANIFEST} cannot be read: {error.strerror}. Restore the folder with `dvc checkout`, or train"
            " again."
        ) from None
