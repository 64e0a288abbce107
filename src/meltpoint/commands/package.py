"""A model as a folder that a container is built from."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "write a folder that a container is built from"
ABOUT = """\
Write DIR: a Dockerfile, the model, the code that answers, and the pins of what that needs, hashes included. The
container serves as `meltpoint serve` does, as a user without rights, with a root that may be read-only. With --backend
it holds an export instead of the model, and needs neither torch nor MLflow.

  meltpoint package box                                   the champion
  meltpoint package box --backend onnx                    its export, if that was judged good enough
  meltpoint package box --model models/frozen             a model folder or an export
"""


def describe(package: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    champion = "the champion of register.name in params.yaml"
    package.add_argument("folder", metavar="DIR", type=Path, help="the folder to write; it must not exist")
    package.add_argument("--model", help=f"models:/NAME@ALIAS, models:/NAME/VERSION or a folder (default: {champion})")
    package.add_argument("--backend", help="an export under exports/, as onnx_int8 (default: the model itself)")


def run(asked: argparse.Namespace) -> None:
    """Write the folder, and say how to go on.

    Raises:
        CommandError: no model is named, and there is no champion.
        PackageError, LockError: it cannot be packed.
    """
    from meltpoint.api import find
    from meltpoint.commands.predict import open_asked
    from meltpoint.container.build import find_export, write_context
    from meltpoint.tracking.store import repository_root

    where, model = open_asked(asked.model, lambda name: (name, find(name)))
    root = repository_root()
    packed = model if asked.backend is None else find_export(asked.backend, model, root, where)
    named = where if asked.backend is None else f"The export {asked.backend} of {where}"
    write_context(packed, asked.folder, root, named, offered=asked.backend is not None)
    megabytes = sum(file.stat().st_size for file in asked.folder.rglob("*") if file.is_file()) / 1e6
    say(f"{named} is packed in {asked.folder} ({megabytes:.1f} MB). Go on: docker build -t NAME {asked.folder}")
