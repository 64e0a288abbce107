"""Tables of every sort, brought in by the stage `download`: a cell is a path, a class, missing, or an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

SECTION = "Tables"
ROWS = ["path,y"] + [
    f"{'cat' if number % 2 else 'dog'}/{number}.png,{'a' if number % 2 else 'é'}" for number in range(6)
]
PLAIN = "\n".join(ROWS) + "\n"

MAKERS: dict[str, Callable[[], tuple[bytes, dict[str, Any]]]] = {
    "no such file": lambda: (b"", {"table": "tables.csv"}),
    "zero bytes": lambda: (b"", {}),
    "a header and no rows": lambda: (b"path,y\n", {"separator": ","}),
    "a column that is missing": lambda: (PLAIN.replace("path,y", "path,z").encode(), {}),
    "the column of paths is missing": lambda: (PLAIN.encode(), {"path": "file"}),
    "one name for two columns": lambda: (PLAIN.replace("path,y", "path,path").encode(), {}),
    "a row that is too long": lambda: ((PLAIN + "cat/1.png,a,b\n").encode(), {"separator": ","}),
    "a row that is too short": lambda: ((PLAIN + "cat/1.png\n").encode(), {"separator": ","}),
    "a quote that does not end": lambda: ((PLAIN + 'cat/1.png,"a\n').encode(), {"separator": ","}),
    "a separator that cannot be guessed": lambda: (b"path\ncat/1.png\n", {}),
    "a separator that is no pattern": lambda: (PLAIN.encode(), {"separator": "(("}),
    "bytes that are no text": lambda: (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {}),
    "the same file with two labels": lambda: ((PLAIN + "cat/1.png,b\n").encode(), {}),
    "the same file twice with one label": lambda: ((PLAIN + "cat/1.png,a\n").encode(), {}),
    "the same file by two spellings": lambda: ((PLAIN + "./cat//1.png,b\n").encode(), {}),
    "a path that climbs": lambda: ((PLAIN + "../secret.png,a\n").encode(), {}),
    "an absolute path": lambda: ((PLAIN + "/etc/passwd,a\n").encode(), {}),
    "absolute paths below the folder of images": lambda: (
        ("path,y\n" + "".join(f"{Path.cwd()}/photos/{row}\n" for row in ROWS[1:])).encode(),
        {},
    ),
    "absolute paths of another machine": lambda: (
        ("path,y\n" + "".join(f"/home/ann/{row}\n" for row in sorted(ROWS[1:]))).encode(),
        {},
    ),
    "paths without a suffix": lambda: (PLAIN.replace(".png", "").encode(), {}),
    "addresses in place of paths": lambda: (
        ("path,y\n" + "".join(f"https://example.org/{row}\n" for row in ROWS[1:])).encode(),
        {},
    ),
    "an empty path": lambda: ((PLAIN + ",a\n").encode(), {}),
    "a path to nothing": lambda: ((PLAIN + "cat/7.png,a\n").encode(), {}),
    "a path to a folder": lambda: ((PLAIN + "cat,a\n").encode(), {}),
    "an unknown split": lambda: (
        ("path,y,part\n" + "".join(f"{row},trian\n" for row in ROWS[1:])).encode(),
        {"split": "part"},
    ),
    "UTF-8 with a byte order mark": lambda: (PLAIN.encode("utf-8-sig"), {}),
    "UTF-16": lambda: (PLAIN.encode("utf-16"), {}),
    "Latin-1": lambda: (PLAIN.encode("latin-1"), {}),
    "Windows line ends": lambda: (PLAIN.replace("\n", "\r\n").encode(), {}),
    "old Mac line ends": lambda: (PLAIN.replace("\n", "\r").encode(), {}),
    "no line end after the last row": lambda: (PLAIN.rstrip("\n").encode(), {}),
    "tabs, semicolons or bars": lambda: (PLAIN.replace(",", ";").encode(), {}),
    "blank lines and spaces around cells": lambda: (PLAIN.replace("\n", "\n\n").replace(",", " , ").encode(), {}),
    "a class called NA": lambda: (PLAIN.replace(",a", ",NA").encode(), {}),
    "a cell as long as a book": lambda: ((PLAIN + f"cat/1.png,{'x' * 200_000}\n").encode(), {"separator": ","}),
    "a spreadsheet's formula as a class": lambda: (PLAIN.replace(",a", ",=1+1").encode(), {}),
}


def test_tables(row: Any, workplace: Any, check_refused: Any) -> None:
    content, source = MAKERS[row.name]()
    workplace.use_table(content, **source)
    code, said = workplace.stage("download")
    if row.fate != "read":
        check_refused(row, code, said)
        assert not workplace.left()
        assert len(said) < 5000, "nobody reads a message that long"
    if row.fate == "skipped":
        workplace.params["data"]["max_bad"] = 1
        code, said = workplace.stage("download")
        assert len(workplace.report()["unusable"]) == 1
    if row.fate in ("read", "skipped"):
        assert code == 0, said
        samples = workplace.samples()
        first = {"a class called NA": "NA", "a spreadsheet's formula as a class": "=1+1"}.get(row.name, "a")
        assert samples["path"].tolist() == sorted(line.split(",")[0] for line in ROWS[1:])
        assert samples["y"].tolist() == [first] * 3 + ["é"] * 3
        assert all(quote in said for quote in row.quotes) or row.fate == "skipped"


def test_every_row_has_its_table(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
