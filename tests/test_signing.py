"""A signature holds for the folder and the key it was made with, and for nothing else."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meltpoint.cli import run
from meltpoint.model.manifest import MANIFEST, ManifestError, write_manifest
from meltpoint.signing import SigningError, sign, signature_of, verify

Keys = tuple[Path, Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files with a manifest, as those of a model, in a folder below the working directory."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "models" / "frozen"
    model.mkdir(parents=True)
    (model / "weights").write_bytes(b"1234")
    (model / ".gitignore").write_bytes(b"x")  # which model-signing would leave out
    write_manifest(model)
    return model


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], Keys]:
    """Makes a private and a public key."""
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(name: str) -> Keys:
        key, files = ec.generate_private_key(ec.SECP256R1()), (tmp_path / f"{name}.key", tmp_path / f"{name}.pub")
        files[0].write_bytes(key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption()))
        public = key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
        files[1].write_bytes(public)
        return files

    return make


def test_the_name_of_a_signature_is_of_the_content(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert signature_of(folder) == signature_of(tmp_path / "elsewhere")
    (folder / "weights").write_bytes(b"1235")
    write_manifest(folder)
    assert signature_of(folder) != signature_of(tmp_path / "elsewhere")


@pytest.mark.parametrize("command", ["sign", "verify"])
def test_what_is_no_model_is_told(tmp_path: Path, command: str) -> None:
    with pytest.raises(SigningError, match=f"has no {MANIFEST}"):
        run([command, str(tmp_path), "--key", "k"])


@pytest.mark.parametrize("command", ["sign", "verify"])
def test_without_the_extra_the_way_is_told(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model_signing", "model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SigningError, match="pip install 'model-signing"):
        run([command, str(folder), "--key", "k"])


class TestSigned:
    """With the optional extra installed."""

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        pytest.importorskip("model_signing.signing")

    def test_signed_and_verified(
        self, folder: Path, keys: Callable[[str], Keys], capsys: pytest.CaptureFixture[str]
    ) -> None:
        private, public = keys("own")
        run(["sign", str(folder), "--key", str(private)])
        run(["verify", str(folder), "--key", str(public)])
        kept = list(Path("signatures").iterdir())
        assert [Path("signatures") / file.name for file in kept] == [signature_of(folder)]
        assert json.loads(kept[0].read_text())["mediaType"].startswith("application/vnd.dev.sigstore.bundle")
        assert capsys.readouterr().out.count(str(signature_of(folder))) == 2

    def test_a_copy_of_links_is_as_good(self, folder: Path, keys: Callable[[str], Keys], tmp_path: Path) -> None:
        private, public = keys("own")
        sign(folder, private, signature_of(folder))
        (tmp_path / "linked").mkdir()
        for file in folder.iterdir():
            (tmp_path / "linked" / file.name).symlink_to(file)
        verify(tmp_path / "linked", public, signature_of(folder))

    @pytest.mark.parametrize("name", ["weights", ".gitignore"])
    def test_a_forged_manifest_does_not_help(self, folder: Path, keys: Callable[[str], Keys], name: str) -> None:
        private, public = keys("own")
        signature = signature_of(folder)
        sign(folder, private, signature)
        (folder / name).write_bytes(b"1235")
        with pytest.raises(ManifestError, match=f"changed: {name}"):
            verify(folder, public, signature)
        write_manifest(folder)
        with pytest.raises(SigningError, match="is not valid"):
            verify(folder, public, signature)

    def test_another_ones_signature_does_not_hold(self, folder: Path, keys: Callable[[str], Keys]) -> None:
        signature = signature_of(folder)
        sign(folder, keys("other")[0], signature)
        with pytest.raises(SigningError, match="is not valid"):
            verify(folder, keys("own")[1], signature)

    def test_a_changed_model_is_not_signed(self, folder: Path, keys: Callable[[str], Keys]) -> None:
        (folder / "weights").write_bytes(b"1235")
        with pytest.raises(ManifestError, match="changed: weights"):
            sign(folder, keys("own")[0], Path("a.sig"))
        assert not Path("a.sig").exists()

    def test_a_missing_signature_is_told(self, folder: Path, keys: Callable[[str], Keys]) -> None:
        with pytest.raises(SigningError, match="There is no signature"):
            verify(folder, keys("own")[1], signature_of(folder))

    def test_it_stays_out_of_the_model(self, folder: Path, keys: Callable[[str], Keys]) -> None:
        with pytest.raises(SigningError, match="would be inside the model"):
            sign(folder, keys("own")[0], folder / "model.sig")

    @pytest.mark.parametrize("content", ["", "{}", "no json", None])
    def test_what_is_no_signature_is_told(self, folder: Path, keys: Callable[[str], Keys], content: str | None) -> None:
        private, public = keys("own")
        sign(folder, private, Path("a.sig"))
        whole = Path("a.sig").read_text()
        Path("a.sig").write_text(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(SigningError, match="is not valid"):
            verify(folder, public, Path("a.sig"))

    @pytest.mark.parametrize("content", [None, b"", b"no key", "public"])
    def test_what_is_no_private_key_is_told(
        self, folder: Path, keys: Callable[[str], Keys], content: bytes | str | None
    ) -> None:
        private, public = keys("own")
        private.unlink()
        if content is not None:
            private.write_bytes(public.read_bytes() if isinstance(content, str) else content)
        with pytest.raises(SigningError, match="was not signed with .* Make one: openssl"):
            sign(folder, private, Path("a.sig"))
        assert not Path("a.sig").exists()
