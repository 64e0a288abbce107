"""Signs a model with your own key."""

import argparse
from pathlib import Path

from meltpoint.terminal import say

HELP = "sign a model with your own key"
ABOUT = """\
Sign every file of a model folder (models/finetune) or of a registered version (models:/NAME@champion), its code
included, with an elliptic-curve key of your own. The signature goes to signatures/, with a name made of these files:
keep it in git, and give the public key to those who will check it. It needs the optional extra: pip install -e
'.[signing]'.

  openssl ecparam -name prime256v1 -genkey -noout -out model.key     keep this one secret
  openssl ec -in model.key -pubout -out model.pub
  meltpoint sign models:/elpv-cells@champion --key model.key
  meltpoint verify models:/elpv-cells@champion --key model.pub
"""


def describe(sign: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    sign.add_argument("model", help="a model folder, models:/NAME@champion or models:/NAME/VERSION")
    sign.add_argument("--key", type=Path, required=True, help="a private key, as a PEM file")
    sign.add_argument("--signature", type=Path, help="the file to write; signatures/... without it")


def run(asked: argparse.Namespace) -> None:
    """Sign, and say where the signature is."""
    from meltpoint.signing import sign, signature_of, signed_folder

    folder = signed_folder(asked.model)
    signature = asked.signature or signature_of(folder)
    sign(folder, asked.key, signature)
    say(f"{asked.model} is signed: {signature}")
