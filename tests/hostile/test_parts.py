"""What comes to `meltpoint predict --out`: pictures and shards that are broken, and folders that are not its own."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hostile.conftest import Row, run_told
from saved_models import noise, one_thread, plain_card, png, save, tree_card  # noqa: F401 - a fixture

from meltpoint.cli import run

SECTION = "Answers in parts"


@dataclass(frozen=True)
class Room:
    """A folder to work in, two models, and a picture that can be read."""

    folder: Path
    models: Path

    @property
    def photo(self) -> str:
        path = self.folder / "photo.png"
        path.write_bytes(png(noise(0)))
        return str(path)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def predict(self, *words: str, model: str = "tree") -> tuple[int, str]:
        """Exit code and what is said, with the errors of all rows."""
        code, told = run_told(
            lambda: run(["predict", *words, "--model", str(self.models / model), "--out", str(self.out)])
        )
        rows = (
            [pq.read_table(part)["error"].to_pylist() for part in sorted(self.out.glob("part-*"))] if not code else []
        )
        return code, f"{told}\n{json.dumps(rows)}"

    def tar(self, end: int | None = None, **files: bytes) -> str:
        """A shard of these files, without what comes after byte `end`."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in {"good.png": png(noise(1)), **files}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        path = self.folder / "shard.tar"
        path.write_bytes(stream.getvalue()[:end])
        return str(path)

    def parquet(self, **columns: list[object]) -> str:
        pq.write_table(pa.table(columns), self.folder / "rows.parquet")
        return str(self.folder / "rows.parquet")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(tree_card(), folder / "tree")
    save(plain_card(), folder / "plain")
    return folder


def again(room: Room, *words: str, model: str = "tree", **changes: str) -> tuple[int, str]:
    """A job that was done, and then something else in the same folder."""
    photo = room.photo
    assert room.predict(photo)[0] == 0
    return room.predict(changes.get("source", photo), *words, model=model)


def locked(room: Room) -> tuple[int, str]:
    room.out.mkdir()
    with FileLock(room.out / ".lock"):
        return room.predict(room.photo)


def strange(room: Room) -> tuple[int, str]:
    room.out.mkdir()
    (room.out / "letter.txt").write_text("dear diary")
    return room.predict(room.photo, "--resume")


def listed(room: Room) -> tuple[int, str]:
    (room.folder / "list.txt").write_bytes(b"\xff\xfe\x00")
    return room.predict(str(room.folder / "list.txt"))


def changed(room: Room, change: Callable[[Path], object]) -> tuple[int, str]:
    """A job that was done, a change of its part, and the same job again."""
    photo = room.photo
    assert room.predict(photo)[0] == 0
    (part,) = room.out.glob("part-*")
    change(part)
    return room.predict(photo, "--resume")


def spoil(part: Path) -> None:
    """Write over all pages of a part; what stands at its end stays."""
    end = 8 + int.from_bytes(part.read_bytes()[-8:-4], "little")
    part.write_bytes(b"PAR1".ljust(part.stat().st_size - end, b"x") + part.read_bytes()[-end:])


MAKERS: dict[str, Callable[[Room], tuple[int, str]]] = {
    "in parts: a broken picture in a shard": lambda room: room.predict(room.tar(**{"bad.jpg": b"\xff\xd8\xff\xe0"})),
    "in parts: a shard that ends too early": lambda room: room.predict(room.photo, room.tar(900)),
    "in parts: a file that is not there": lambda room: room.predict(room.photo, str(room.folder / "gone.png")),
    "in parts: a shard that is not there": lambda room: room.predict(str(room.folder / "gone-{00..02}.tar")),
    "in parts: an address of no kind": lambda room: room.predict("teapot://cups/photo-*.tar"),
    "in parts: a path in parquet that leaves its folder": lambda room: room.predict(
        room.photo, room.parquet(path=["../photo.png"])
    ),
    "in parts: parquet with two columns of pictures": lambda room: room.predict(
        room.photo, room.parquet(left=[b"a"], right=[b"b"])
    ),
    "in parts: a list that is not UTF-8": listed,
    "in parts: a video": lambda room: room.predict(str(room.folder / "clip.mp4")),
    "in parts: a folder that is not empty": again,
    "in parts: a folder of something else, to be resumed": strange,
    "in parts: a part that has lost its end, to be resumed": lambda room: changed(
        room, lambda part: os.truncate(part, 300)
    ),
    "in parts: a damaged part": lambda room: changed(room, spoil),
    "in parts: a part under another name": lambda room: changed(
        room, lambda part: part.rename(part.with_name("mine.parquet"))
    ),
    "in parts: an address to write to": lambda room: run_told(
        lambda: run(["predict", room.photo, "--model", str(room.models / "tree"), "--out", "s3://house/answers"])
    ),
    "in parts: an address whose package is missing": lambda room: room.predict("gs://house/photo.png"),
    "in parts: parts of another model": lambda room: again(room, "--resume", model="plain"),
    "in parts: parts of another question": lambda room: again(room, "--resume", "--top", "2"),
    "in parts: parts of other pictures": lambda room: again(room, "--resume", source=str(room.folder / "b.png")),
    "in parts: two that write into one folder": locked,
    "in parts: an address of a cluster where nothing answers": lambda room: room.predict(
        room.photo, "--engine", "ray", "--address", "127.0.0.1:9"
    ),
    "in parts: an address of a cluster that is none": lambda room: room.predict(
        room.photo, "--engine", "ray", "--address", "cluster"
    ),
    "in parts: a cluster for the engine that needs none": lambda room: room.predict(room.photo, "--address", "auto"),
}  # fmt: skip


def test_each_row_has_its_case(every_row: list[Row]) -> None:
    assert [row.name for row in every_row if row.section == SECTION] == list(MAKERS)


def test_parts_are_answered_or_refused(row: Row, models: Path, tmp_path: Path) -> None:
    code, told = MAKERS[row.name](Room(tmp_path, models))
    assert code == (1 if row.fate == "refused" else 0)
    assert row.quotes
    for quote in row.quotes:
        assert quote in told
    assert not list(tmp_path.glob("out/.part-*"))
