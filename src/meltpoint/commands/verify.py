"""Checks the signature of a model."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "check a model against its signature"
ABOUT = """\
Check that every file of a model folder (models/finetune) or of a registered version (models:/NAME@champion), its code
included, is as the owner of a key has signed it. A changed, missing or added file is named, and the exit code is 1. It
needs the optional extra: pip install -e '.[signing]'. `meltpoint sign --help` says how keys are made.

  meltpoint verify models:/elpv-cells@champion --key model.pub
"""


def describe(verify: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    verify.add_argument("model", help="a model folder, models:/NAME@champion or models:/NAME/VERSION")
    verify.add_argument("--key", type=Path, required=True, help="the public key of the one who signed, as a PEM file")
    verify.add_argument("--signature", type=Path, help="the signature; the one in signatures/ without it")


def run(asked: argparse.Namespace) -> None:
    """Check, and say that it is good."""
    from meltpoint.signing import signature_of, signed_folder, verify

    folder = signed_folder(asked.model)
    signature = asked.signature or signature_of(folder)
    verify(folder, asked.key, signature)
    say(f"{asked.model} is as the owner of {asked.key} has signed it: {signature}")
