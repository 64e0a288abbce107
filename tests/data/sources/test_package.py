import sys
from pathlib import Path

import pytest

from meltpoint.data.listing import SourceError
from meltpoint.data.sources.package import read
from meltpoint.params.sources import PackageSource


def source(**changes: object) -> PackageSource:
    given = {"package": "meltpoint_test_cells", "table": "data/labels.csv", "images": "data", "separator": r"\s+"}
    rest = {"kind": "package", "header": ["path", "klass"], "path": "path", "split": None}
    return PackageSource.model_validate({**given, **rest, **changes})


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "site" / "meltpoint_test_cells"
    (root / "data").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('the code of a package of data is never run')")
    (root / "data/labels.csv").write_text("images/1.png  mono\nimages/2.png  poly\n")
    monkeypatch.syspath_prepend(str(root.parent))
    return root


def test_a_table_in_a_package(package: Path, tmp_path: Path) -> None:
    listing = read(source(), tmp_path / "scratch")
    assert listing.title == "package meltpoint_test_cells"
    assert listing.files["origin"].tolist() == [str(package / "data/images" / name) for name in ("1.png", "2.png")]
    assert listing.columns["klass"].tolist() == ["mono", "poly"]
    assert "meltpoint_test_cells" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"package": "elpv_datasets"}, "Did you mean 'elpv_dataset'"),
        ({"package": "nobody.has.this"}, "no such package"),
        ({"package": "bisect"}, "no such package"),
        ({"table": "data/label.csv"}, r"data.source.table is .*Did you mean 'data/labels.csv'"),
        ({"table": "no/labels.csv"}, r"there are \['__init__.py', 'data'\]"),
        ({"images": "date"}, r"data.source.images is .*Did you mean 'data'"),
    ],
)
def test_what_is_not_there_is_told(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        read(source(**changes), tmp_path / "scratch")


def test_the_default_data(tmp_path: Path) -> None:
    header = ["path", "probability", "wafer"]
    listing = read(source(package="elpv_dataset", header=header), tmp_path / "scratch")
    assert len(listing.files) == 2624
    assert listing.title.startswith("package elpv_dataset 1.")
    assert all(Path(origin).is_file() for origin in listing.files["origin"])
    assert set(listing.columns["wafer"]) == {"mono", "poly"}
    assert listing.columns["probability"].nunique() == 4
