from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.delimited import list_table, read_table
from meltpoint.data.listing import SourceError
from meltpoint.params.sources import CsvSource

EXPECTED = [["a.png", "0.5", "mono"], ["b c.png", "1", ""]]
HEADER = ["path", "probability", "wafer"]


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def lines(separator: str, end: str = "\n", header: bool = True) -> str:
    rows = ([HEADER] if header else []) + EXPECTED
    return end.join(separator.join(row) for row in rows) + end


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("guess", [True, False])
def test_separators_header_and_line_ends(tmp_path: Path, end: str, separator: str, named: bool, guess: bool) -> None:
    path = write(tmp_path, lines(separator, end, header=named))
    table, notes = read_table(path, None if guess else separator, None if named else HEADER)
    assert list(table.columns) == HEADER
    assert table.to_numpy().tolist() == EXPECTED
    assert notes == []


@pytest.mark.parametrize("separator", [None, r"\s+"])
def test_white_space_separates_any_amount_of_it(tmp_path: Path, separator: str | None) -> None:
    path = write(tmp_path, 'a.png  0.0    mono\n"b c.png"\t1.0 poly  \n\n')
    table, _ = read_table(path, separator, HEADER)
    assert table.to_numpy().tolist() == [["a.png", "0.0", "mono"], ["b c.png", "1.0", "poly"]]


def test_any_regular_expression_separates(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path, "a.png::1\nb.png :: 2\n"), "::", ["path", "n"])
    assert table.to_numpy().tolist() == [["a.png", "1"], ["b.png", "2"]]


def test_quotes_hold_separators_and_line_ends(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path, 'path,what\na.png,"one, ""two""\nthree"\n'), None, None)
    assert table["what"].tolist() == ['one, "two"\nthree']


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("path,klass\nä.png,größe\n", "utf-8", None),
        ("path,klass\nä.png,größe\n", "utf-8-sig", None),
        ("path,klass\nä.png,größe\n", "utf-16", "utf-16"),
        ("path,klass\nfrêne.png,éraflé\n", "cp1252", "cp1252"),
        ("path,klass\n隐裂.png,太阳能电池\n", "gbk", "gbk"),
    ],
)
def test_encodings_are_recognised_and_said(tmp_path: Path, text: str, encoding: str, said: str | None) -> None:
    table, notes = read_table(write(tmp_path, text, encoding), None, None)
    assert table.to_numpy().tolist() == [line.split(",") for line in text.splitlines()[1:]]
    assert list(table.columns) == ["path", "klass"]
    assert [said in note for note in notes] == ([True] if said else [])


def test_bytes_no_encoding_knows_are_read_as_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"path,klass\na.png,x\x81y\n")
    table, notes = read_table(path, None, None)
    assert table["klass"].tolist() == ["x\x81y"]
    assert "latin-1" in notes[0]


@pytest.mark.parametrize(
    ("data", "separator", "header", "match"),
    [
        (b"", None, None, "empty"),
        (b"\n \n", None, None, "empty"),
        (b"\x89PNG\0\0", None, None, "no text"),
        (b"onlyonecolumn\nx\n", None, None, "No separator"),
        (b"a,b\n1,2\n", None, ["x", "y", "z"], r"as many as .*\(3\)"),
        (b"a,b\n1,2\n3\n", ",", None, "Line 3 .* has 1 cells"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, data: bytes, separator: str | None, header: list[str] | None, match: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=match):
        read_table(path, separator, header)


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_table(tmp_path, None, None)


CELL = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cc", "Cs"]))


@given(rows=st.lists(st.tuples(CELL.filter(str.strip), CELL), min_size=1, max_size=5), separator=st.sampled_from(",;|"))
def test_every_cell_that_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
    path.write_text("\n".join(separator.join(row) for row in quoted), encoding="utf-8", newline="")
    table, _ = read_table(path, separator, ["a", "b"])
    assert table.to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows]


def source(**changes: object) -> CsvSource:
    given = {"table": "t.csv", "images": ".", "separator": None, "header": None, "path": "path", "split": None}
    return CsvSource.model_validate({"kind": "csv", **given, **changes})


def test_paths_become_plain_and_columns_stay(tmp_path: Path) -> None:
    path = write(tmp_path, "path,split,origin\n.\\x\\a.png,valid,north\nb.png,,south\n")
    listing = list_table(source(split="split"), path, tmp_path, "csv t")
    assert listing.files["path"].tolist() == ["x/a.png", "b.png"]
    assert listing.files["origin"].tolist() == [str(tmp_path / "x/a.png"), str(tmp_path / "b.png")]
    assert listing.files["split"].fillna("-").tolist() == ["val", "-"]
    assert listing.columns["origin"].tolist() == ["north", "south"]


@pytest.mark.parametrize(
    ("text", "changes", "match"),
    [
        ("path,y\na,1\n../b,1\n", {}, "Row 2 .* leaves its folder"),
        ("path,y\na,1\n", {"path": "paht"}, "Did you mean 'path'"),
        ("path,y\na,1\n", {"split": "subset"}, "data.source.split is 'subset'"),
        ("path,y\na,holdout\nb,holdout\n", {"split": "y"}, "'holdout': 2"),
    ],
)
def test_a_table_that_does_not_fit_is_told(tmp_path: Path, text: str, changes: dict[str, object], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        list_table(source(**changes), write(tmp_path, text), tmp_path, "csv t")


def test_the_folder_of_images_has_to_be_one(tmp_path: Path) -> None:
    path = write(tmp_path, "path,y\na,1\n")
    with pytest.raises(SourceError, match="no folder"):
        list_table(source(), path, path, "csv t")


def test_a_first_line_that_repeats_the_header_is_no_row(tmp_path: Path) -> None:
    table, notes = read_table(write(tmp_path, "path,y\na.png,1\n"), None, ["path", "y"])
    assert table.to_numpy().tolist() == [["a.png", "1"]]
    assert notes == ["the first line of labels.csv is its header, and no row"]


def test_messages_name_the_section_of_params(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Set data\.names\.y\.separator"):
        read_table(write(tmp_path, "word\n"), None, None, "data.names.y")
    with pytest.raises(SourceError, match=r"Correct data\.names\.y\.table"):
        read_table(tmp_path / "nothing.csv", None, None, "data.names.y")
