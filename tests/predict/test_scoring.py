"""Answers in parts on the engine of this process: every source, resumed, equal to the answers on the screen."""

import csv
import errno
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from meltpoint.cli import run
from meltpoint.errors import guarded
from meltpoint.predict.part_files import PartFolder
from meltpoint.predict.part_inputs import plan_parts
from meltpoint.predict.work import LostError

if TYPE_CHECKING:
    from saved_models import Kit


def make_sources(folder: Path, kit: "Kit") -> list[str]:
    """A folder, a list, two tar shards, parquet with bytes and with paths: 21 pictures, of which three are bad."""
    (folder / "photos").mkdir()
    for number in range(5):
        (folder / "photos" / f"{number}.png").write_bytes(kit.png(kit.noise(number, 20, 30)))
    (folder / "list.txt").write_text(f"{folder}/photos/1.png\n{folder}/gone.png\nfile://{folder}/photos/2.png\n")
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard}.tar", "w") as archive:
            for name, content in {
                "a/1.png": kit.png(kit.noise(10 + shard)), "a/1.cls": b"3", "2.png": kit.png(kit.noise(20 + shard)),
                "3.jpg": b"\xff\xd8\xff\xe0 no more",
            }.items():  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    pictures = [{"bytes": kit.png(kit.noise(30 + number)), "path": None} for number in range(4)]
    pq.write_table(pa.table({"image": pictures, "label": [0] * 4}), folder / "hub.parquet")
    pq.write_table(pa.table({"path": [f"photos/{number}.png" for number in range(3)]}), folder / "paths.parquet")
    names = ["photos", "list.txt", "s-{0..1}.tar", "hub.parquet", "paths.parquet"]
    return [str(folder / name) for name in names]


def read_rows(out: Path) -> list[dict[str, object]]:
    return [row for part in sorted(out.glob("part-*")) for row in pq.read_table(part).to_pylist()]


def test_parts_have_a_row_for_each_picture_of_every_source(
    tree_folder: Path, tmp_path: Path, kit: "Kit", capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", *make_sources(tmp_path, kit), "--model", str(tree_folder)]
    out = tmp_path / "out"
    run([*words, "--out", str(out), "--part", "3"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"18 pictures answered, 3 cannot be used (2 truncated, 1 unreadable file), in {out}"
    summary = json.loads((out / "_summary.json").read_text())
    assert list(summary["parts"].values()) == [3, 3, 2, 3, 3, 4, 3]
    assert (summary["rows"], summary["answered"], summary["errors"]) == (21, 18, {"truncated": 2, "unreadable file": 1})
    rows = read_rows(out)
    assert pd.read_parquet(out)["source"].tolist() == [row["source"] for row in rows]
    assert len({row["source"] for row in rows}) == 20  # one of the list is in the folder, too
    by_name = {str(row["source"]): row for row in rows}
    assert by_name[f"{tmp_path}/s-1.tar/a/1.png"]["pose"] is not None
    assert by_name[f"{tmp_path}/hub.parquet/0000003"]["error"] is None
    assert by_name[f"{tmp_path}/paths.parquet/0000002"]["pose.probability"] == rows[2]["pose.probability"]
    run([*words[:2], "--csv", *words[-2:]])
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in rows[:5]] == lines


def test_pictures_below_an_address() -> None:
    system, ignored = fsspec.filesystem("memory"), Counter[str]()
    for name in ("b/2.png", "a.jpg", ".thumbs/a.jpg", "notes.txt"):
        system.pipe(f"/album/{name}", b"")
    (piece,) = plan_parts(["memory://album", "memory://gone/3.jpg"], 10, ignored)[0]
    system.rm("/album", recursive=True)
    assert json.loads(piece)["pictures"] == ["memory:///album/a.jpg", "memory:///album/b/2.png", "memory://gone/3.jpg"]
    assert ignored == {"hidden": 1, ".txt": 1}


def test_what_is_finished_is_not_made_again(
    scene_folder: Path, tmp_path: Path, kit: "Kit", capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", *make_sources(tmp_path, kit)[:3], "--model", str(scene_folder), "--part", "4", "--window"]
    out = tmp_path / "out"
    run([*words, "--out", str(out), "--resume"])
    before = {part: part.read_bytes() for part in sorted(out.glob("part-*"))}
    gone, *kept = before
    stamps = {part: part.stat().st_mtime_ns for part in kept}
    gone.unlink()
    (out / ".part-000000-0.x8d.parquet").write_bytes(b"what a killed process has left")
    run([*words, "--out", str(out), "--resume"])
    assert {part: part.read_bytes() for part in sorted(out.glob("part-*"))} == before
    assert {part: part.stat().st_mtime_ns for part in kept} == stamps
    assert not list(out.glob(".part-*"))
    assert capsys.readouterr().err.splitlines()[-1].startswith("11 pictures answered, 3 cannot be used")


@pytest.mark.parametrize(
    "stop",
    [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left", "a"), LostError("The cluster is lost.")],
    ids=type,
)
def test_who_is_stopped_is_told_the_command_that_goes_on(
    stop: BaseException, tree_folder: Path, tmp_path: Path, kit: "Kit", capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = ["predict", make_sources(tmp_path, kit)[0], "--model", str(tree_folder), "--part", "2"]
    words += ["--out", str(tmp_path / "out")]
    write = PartFolder.write

    def write_once(folder: PartFolder, number: int, table: pa.Table) -> None:
        if number == 1:
            raise stop
        write(folder, number, table)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(PartFolder, "write", write_once)
        guarded(lambda: run(words))
    assert capsys.readouterr().err.endswith("; the same command with --resume continues from there.\n")
    run([*words, "--resume"])
    assert capsys.readouterr().err.splitlines()[-1].startswith("5 pictures answered")


def test_options_that_do_not_go_together(tree_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from meltpoint.errors import CommandError

    with pytest.raises(CommandError, match="--engine ray go with answers in parts. Say where these go: --out DIR"):
        run(["predict", "a.png", "--model", str(tree_folder), "--engine", "ray"])
    with pytest.raises(CommandError, match="--json or --csv do not go with --out"):
        run(["predict", "a.png", "--model", str(tree_folder), "--out", str(tmp_path / "out"), "--json"])
