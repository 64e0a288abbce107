import hashlib
import zipfile
from pathlib import Path

import pytest

from meltpoint.data.archive_download import FetchError
from meltpoint.data.listing import SourceError
from meltpoint.data.sources.archive import read
from meltpoint.data.unpack import ArchiveError
from meltpoint.params.sources import ArchiveSource

FOLDER = {"kind": "folder", "path": "photos"}
CSV = {
    "kind": "csv",
    "table": "labels.csv",
    "images": ".",
    "separator": None,
    "header": None,
    "path": "p",
    "split": None,
}


@pytest.fixture(autouse=True)
def packed(workplace: Path) -> Path:
    with zipfile.ZipFile(workplace / "photos.zip", "w") as archive:
        archive.writestr("photos/cat/1.png", "one")
        archive.writestr("photos/dog/2.png", "two")
        archive.writestr("labels.csv", "p,klass\nphotos/cat/1.png,cat\n")
    return workplace / "photos.zip"


def source(inside: dict[str, object], **changes: object) -> ArchiveSource:
    sha256 = hashlib.sha256(Path("photos.zip").read_bytes()).hexdigest()
    given = {"location": "photos.zip", "sha256": sha256, "max_members": 100, "max_gigabytes": 0.1, "inside": inside}
    return ArchiveSource.model_validate({"kind": "archive", **given, **changes})


@pytest.mark.parametrize(("inside", "count"), [(FOLDER, 2), (CSV, 1)])
def test_what_is_inside_is_listed(workplace: Path, inside: dict[str, object], count: int) -> None:
    listing = read(source(inside), workplace / "scratch")
    assert listing.title == "archive photos.zip"
    assert len(listing.files) == count
    assert all(Path(origin).read_text() in ("one", "two") for origin in listing.files["origin"])
    assert all(Path(origin).is_relative_to(workplace / "scratch") for origin in listing.files["origin"])


@pytest.mark.parametrize(
    ("inside", "changes", "error", "match"),
    [
        (FOLDER | {"path": "fotos"}, {}, SourceError, r"inside.path is 'fotos'.*Did you mean 'photos'"),
        (FOLDER | {"path": ".."}, {}, SourceError, "not in the archive"),
        (FOLDER | {"path": "/etc"}, {}, SourceError, "not in the archive"),
        (CSV | {"table": "label.csv"}, {}, SourceError, r"inside.table .*Did you mean 'labels.csv'"),
        (FOLDER, {"sha256": "0" * 64}, FetchError, "not the file that was meant"),
        (FOLDER, {"max_members": 2}, ArchiveError, "more than 2 files"),
        (FOLDER, {"max_gigabytes": 1e-9}, ArchiveError, "max_gigabytes"),
    ],
)
def test_what_does_not_fit_is_told(
    workplace: Path, inside: dict[str, object], changes: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        read(source(inside, **changes), workplace / "scratch")
