from pathlib import Path

import pytest

from meltpoint.data.listing import SourceError
from meltpoint.data.sources.csv import read
from meltpoint.params.sources import CsvSource


def source(table: str = "labels.csv", images: str = "photos") -> CsvSource:
    return CsvSource(kind="csv", table=table, images=images, separator=None, header=None, path="file", split=None)


def test_rows_are_listed_in_order_also_those_without_a_file(workplace: Path) -> None:
    (workplace / "photos").mkdir()
    (workplace / "labels.csv").write_text("file;klass\nb.png;x\na.png;y\n")
    listing = read(source(), workplace / "scratch")
    assert listing.title == "csv labels.csv"
    assert listing.files["path"].tolist() == ["b.png", "a.png"]
    assert listing.files["origin"].tolist() == [str(workplace / "photos/b.png"), str(workplace / "photos/a.png")]
    assert listing.columns["klass"].tolist() == ["x", "y"]


@pytest.mark.parametrize("present", ["labels.csv", "photos"])
def test_what_is_not_there_is_told(workplace: Path, present: str) -> None:
    (workplace / present).mkdir()
    if present == "labels.csv":
        (workplace / present).rmdir()
        (workplace / present).write_text("file,klass\na,b\n")
    missing = ({"labels.csv", "photos"} - {present}).pop()
    with pytest.raises(SourceError, match=f"There is no '{missing}'"):
        read(source(), workplace / "scratch")
