"""Models and versions signed with your own key, through the OpenSSF's `model-signing`: an optional extra.

A manifest shows a changed byte; a signature also shows a manifest that somebody else has written. It covers every file
of the folder, is a Sigstore bundle, and needs no network: `model_signing verify key` reads it as well.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from meltpoint.errors import UserError
from meltpoint.files import sha256_of, whole_file
from meltpoint.model.manifest import MANIFEST, check_manifest, has_manifest
from meltpoint.registry.version_files import fetch_package
from meltpoint.serving.mlflow_package import INSIDE

SIGNATURES = Path("signatures")


class SigningError(UserError, RuntimeError):
    """A model cannot be signed, or its signature is not valid."""


def signed_folder(model: str) -> Path:
    """What a signature of `model` covers: of a registered version its code too, of a model folder all of it.

    Of a version that an older Meltpoint registered, which has no manifest, it is the model folder.

    Raises:
        VersionError: there is no such version, or its files are not those that were registered.
    """
    if not model.startswith("models:"):
        return Path(model)
    package = fetch_package(model)
    return package if has_manifest(package) else package / INSIDE


def signature_of(folder: Path) -> Path:
    """Where the signature of a model is kept: its name is made of the manifest, and is the same wherever the model is.

    Raises:
        SigningError: the folder holds no model that has a manifest.
    """
    if not has_manifest(folder):
        raise SigningError(
            f"{folder} has no {MANIFEST}. Allowed is a model folder that training wrote, or a registered version."
            " Name one of these; a model of an older version has to be trained again."
        )
    return SIGNATURES / f"{sha256_of(folder / MANIFEST)[:16]}.sig"


def sign(folder: Path, key: Path, signature: Path) -> None:
    """Sign every file of a model folder with the elliptic-curve key in the PEM file `key`, into the file `signature`.

    Raises:
        SigningError: the extra is not installed, the key cannot be used, or the signature would lie in the model.
        ManifestError: the folder is not as it was saved.
    """
    library = _library("signing")
    check_manifest(folder)
    if signature.resolve().is_relative_to(folder.resolve()):
        raise SigningError(
            f"The signature {signature} would be inside the model folder {folder}, and change it. Give another path, or"
            f" leave --signature out: it is then written to {SIGNATURES}/."
        )
    try:
        config = library.Config().use_elliptic_key_signer(private_key=key)
        with whole_file(signature) as temporary:
            config.set_hashing_config(_hashing()).sign(folder, temporary)
    except Exception as error:  # of the file system, of cryptography, of the library: each has kinds of its own
        raise SigningError(
            f"{folder} was not signed with {key}: {_first_line(error)}. Allowed is a private key of the curve P-256,"
            " P-384 or P-521 in a PEM file without a password. Make one: openssl ecparam -name prime256v1 -genkey"
            " -noout -out model.key"
        ) from error


def verify(folder: Path, key: Path, signature: Path) -> None:
    """Compare every file of a model folder with the `signature` made by the owner of the public `key`, a PEM file.

    Raises:
        SigningError: the extra is not installed, there is no signature, or it is not of this key and these files.
        ManifestError: the folder is not as it was saved.
    """
    library = _library("verifying")
    check_manifest(folder)
    if not signature.is_file():
        raise SigningError(
            f"There is no signature {signature} of {folder}. Allowed is a file that `meltpoint sign` has written. Sign"
            " the model, or name the file with --signature."
        )
    try:
        config = library.Config().use_elliptic_key_verifier(public_key=key)
        config.set_hashing_config(_hashing()).verify(folder, signature)
    except Exception as error:  # as above; after any error the signature is not shown to be valid
        raise SigningError(
            f"The signature {signature} is not valid for {folder} and the key {key}: {_first_line(error)}. Allowed is a"
            " model that has not changed since the owner of that key signed it. Do not use this model; get it and the"
            " public key again from a source that you trust."
        ) from error


def _library(part: str) -> ModuleType:
    try:
        return import_module(f"model_signing.{part}")
    except ImportError as error:
        raise SigningError(
            f"Signatures need the package model-signing, which is not installed ({error}). It is an optional extra."
            " Install it: python -m pip install 'model-signing>=1.1' pyopenssl"
        ) from None


def _hashing() -> object:
    """Nothing is ignored: the library would ignore git's files, and refuse the links of a `dvc checkout`."""
    return _library("hashing").Config().set_ignored_paths(paths=(), ignore_git_paths=False).set_allow_symlinks(True)


def _first_line(error: Exception) -> str:
    """The first line of an error; some have no text."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:300]
