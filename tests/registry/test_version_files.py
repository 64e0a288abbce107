"""No code of a version runs before every file of it was compared with what was registered."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meltpoint.cli import run
from meltpoint.model.manifest import write_manifest
from meltpoint.recovery.doctor import doctor
from meltpoint.registry.version_files import COMPILED, PACKAGE, VersionError, fetch_package, package_fingerprint
from meltpoint.registry.versions import is_whole, versions_of
from meltpoint.signing import SigningError
from meltpoint.tracking.store import open_store

CHAMPION = "models:/shapes@champion"


@pytest.fixture
def package(house: Any) -> Path:
    """The files of a champion."""
    house.register()
    return fetch_package(CHAMPION)


def append_a_line(package: Path) -> str:
    with (package / "code" / "meltpoint" / "arrays.py").open("a") as file:
        file.write("__import__('pathlib').Path('ran').touch()\n")
    return r"changed: code/meltpoint/arrays\.py"


def add_a_module(package: Path) -> str:
    (package / "code" / "numpy.py").write_text("")
    return r"added: code/numpy\.py"


def link_a_folder(package: Path) -> str:
    (package / "code" / "numpy").symlink_to(package.parent)
    return "their fingerprint is link: code/n"


def change_what_mlflow_reads(package: Path) -> str:
    (package / "MLmodel").write_text((package / "MLmodel").read_text() + "# more\n")
    return "changed: MLmodel"


def hide_it_in_the_manifest(package: Path) -> str:
    append_a_line(package)
    write_manifest(package)
    return "their fingerprint is"


def lose_a_file(package: Path) -> str:
    (package / "code" / "meltpoint" / "arrays.py").unlink()
    return r"missing: code/meltpoint/arrays\.py"


CHANGES = [append_a_line, add_a_module, link_a_folder, change_what_mlflow_reads, hide_it_in_the_manifest, lose_a_file]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_version_is_not_served_and_doctor_finds_it(
    package: Path, house: Any, change: Callable[[Path], str]
) -> None:
    reason = change(package)
    with pytest.raises(VersionError, match=f"are not those that were registered.*{reason}"):
        fetch_package(CHAMPION)
    (finding,) = doctor("shapes", house.folder, repair=False).left
    assert finding.what == "files of versions of shapes are gone or changed: 1"


@pytest.mark.slow
def test_serve_says_so_in_a_sentence_and_runs_none_of_it(package: Path, house: Any) -> None:
    append_a_line(package)
    code = "from meltpoint.cli import main; main()"
    asked = subprocess.run([sys.executable, "-c", code, "serve"], capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "are not those that were registered" in asked.stderr
    assert "Traceback" not in asked.stderr
    assert not (house.folder / "ran").exists()


def test_compiled_code_that_was_left_there_is_never_loaded(package: Path) -> None:
    compiled = package / "code" / "meltpoint" / COMPILED / "arrays.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"whatever it does")
    store = open_store("shapes")
    assert is_whole(store, versions_of(store)[1]), "servers of MLflow leave such files"
    assert fetch_package(CHAMPION) == package
    assert not compiled.parent.exists()


def test_a_version_of_before_is_served_with_a_note(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_store("shapes").client.delete_model_version_tag("shapes", "1", PACKAGE)
    append_a_line(package)
    assert fetch_package(CHAMPION) == package
    assert "without a fingerprint of its code" in capsys.readouterr().out


def test_a_signature_covers_the_code(package: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing.signing")
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    public = key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "own.key").write_bytes(pem)
    (tmp_path / "own.pub").write_bytes(public)
    signature = ["--signature", str(tmp_path / "own.sig")]
    run(["sign", CHAMPION, "--key", str(tmp_path / "own.key"), *signature])
    run(["verify", CHAMPION, "--key", str(tmp_path / "own.pub"), *signature])
    hide_it_in_the_manifest(package)
    open_store("shapes").client.set_model_version_tag("shapes", "1", PACKAGE, package_fingerprint(package))
    with pytest.raises(SigningError, match="does not hold"):
        run(["verify", CHAMPION, "--key", str(tmp_path / "own.pub"), *signature])
