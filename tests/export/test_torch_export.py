"""Archives of torch.export: torch runs a pickle that one brings, so none is written, and none is opened."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from saved_models import plain_card

from meltpoint.export.folder import ExportError
from meltpoint.export.torch_export import EXAMPLE, FILE, open_forward, write
from meltpoint.params.exports import TorchExport


class Halves(torch.nn.Module):
    """Two parts of one tensor, as fused layers may be."""

    def __init__(self) -> None:
        super().__init__()
        both = torch.rand(2, 3)
        self.first, self.second = torch.nn.Parameter(both[0], False), torch.nn.Parameter(both[1], False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """Means of colours, weighed."""
        return (torch.softmax(images.float().mean((1, 2)) * self.first + self.second, 1),)


class Harm:
    """What writes a file when it is unpickled."""

    def __reduce__(self) -> object:
        return (Path.touch, (Path("harmed"),))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Halves().eval(), plain_card(), tmp_path, TorchExport(), lambda: iter(()))
    return tmp_path / FILE


def rewritten(archive: Path, ending: str, content: bytes) -> None:
    with zipfile.ZipFile(archive) as old:
        members = {one.filename: content if one.filename.endswith(ending) else old.read(one) for one in old.infolist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, own in members.items():
            new.writestr(name, own)


def test_what_is_written_holds_no_pickle(archive: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        for one in members.infolist():
            assert b"ctorch" not in members.read(one)
            assert not members.read(one).startswith((b"PK", b"\x80"))
    assert list(archive.parent.iterdir()) == [archive]


def test_a_pickle_that_was_put_in_is_not_run(archive: Path) -> None:
    rewritten(archive, EXAMPLE, pickle.dumps(Harm()))
    with pytest.raises(RuntimeError):
        torch.export.load(archive)  # this is why
    assert Path("harmed").exists()
    Path("harmed").unlink()
    with pytest.raises(ExportError, match="holds pickles"):
        open_forward(archive.parent, plain_card(), TorchExport())
    assert not Path("harmed").exists()


def test_a_weight_that_is_a_pickle_is_refused(archive: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        name = next(one for one in members.namelist() if one.endswith("model_weights_config.json"))
        content = members.read(name).replace(b'"use_pickle": false', b'"use_pickle": true')
    rewritten(archive, "model_weights_config.json", content)
    with pytest.raises(ExportError, match="holds pickles"):
        open_forward(archive.parent, plain_card(), TorchExport())


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_is_refused(archive: Path, content: bytes) -> None:
    archive.write_bytes(content)
    with pytest.raises(ExportError, match="no archive of torch.export"):
        open_forward(archive.parent, plain_card(), TorchExport())
