"""Shards give back what was put in, change little where little changes, and say what is wrong with them."""

import hashlib
import multiprocessing
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltpoint import shards
from meltpoint.shards import ShardError, open_shards, write_shards

MANY = {f"folder{number % 7}/{number:05}.png": b"%d" % number for number in range(3000)}
HOSTILE = ["动物/猫 1.png", 'it\'s "1".png', "Cat/a.png", "cat/A.png", "cat/a.png", "é/%20 #?.png", "-rf", "x" * 900]


def write(files: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    """Write files in the order of their paths; the bytes of the shards by name."""
    write_shards(({path: files[path]} for path in sorted(files)), folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(HOSTILE), st.binary(max_size=100)))
def test_any_name_and_content_come_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("raw")
    write(files, folder)
    raw = open_shards(folder)
    assert {path: raw.read(path) for path in raw.places} == files


def test_any_tool_opens_them(tmp_path: Path) -> None:
    files = {path: path.encode() for path in HOSTILE}
    write(files, tmp_path)
    archives = [zipfile.ZipFile(path) for path in sorted(tmp_path.iterdir())]
    assert {name: archive.read(name) for archive in archives for name in archive.namelist()} == files
    assert all(archive.testzip() is None for archive in archives)
    for archive in archives:
        archive.close()


def test_equal_files_give_equal_bytes_at_any_time(tmp_path: Path) -> None:
    write(MANY, tmp_path / "now")
    program = "import sys, time; time.time = lambda: 2e9; sys.path[:0] = sys.argv[1:2]; import test_shards, pathlib;"
    program += "test_shards.write(test_shards.MANY, pathlib.Path(sys.argv[2]))"
    words = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "later")]
    subprocess.run(words, check=True, env={"TZ": "Asia/Tokyo", "PYTHONPATH": str(Path(shards.__file__).parents[1])})
    now, later = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("now", "later"))
    assert now == later


def test_shards_have_256_files_on_average(tmp_path: Path) -> None:
    written = write(MANY, tmp_path)
    begins = [path for path in MANY if hashlib.sha256(path.encode()).hexdigest().startswith("00")]
    assert len(written) in (len(begins), len(begins) + 1)
    assert 128 < len(MANY) / len(written) < 512
    assert len(write(dict(list(MANY.items())[:5]), tmp_path / "few")) == 1


@pytest.mark.parametrize("path", ["folder0/00000.png", "folder3/01000a.png", "folder6/99999.png", "a.png"])
def test_one_file_more_changes_one_shard(path: str, tmp_path: Path) -> None:
    before = set(write(MANY, tmp_path / "before").values())
    after = set(write(MANY | {path: b"new"}, tmp_path / "after").values())
    assert len(after - before) == len(before - after) == 1


def test_a_folder_more_leaves_most_shards_as_they_were(tmp_path: Path) -> None:
    before = set(write(MANY, tmp_path / "before").values())
    added = {f"folder3b/{number}.png": b"new" for number in range(1000)}
    after = set(write(MANY | added, tmp_path / "after").values())
    assert len(before - after) <= 1


def test_a_group_stays_in_one_shard(tmp_path: Path) -> None:
    groups = [{path: content, f"masks/{path}": b"mask"} for path, content in sorted(MANY.items())]
    write_shards(groups, tmp_path)
    raw = open_shards(tmp_path)
    assert all(raw.places[path].shard == raw.places[f"masks/{path}"].shard for path in MANY)
    assert raw.read("masks/folder0/00007.png") == b"mask"


def test_many_threads_and_processes_read_at_once(tmp_path: Path) -> None:
    write(MANY, tmp_path)
    raw = open_shards(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(raw.read, MANY)) == list(MANY.values())
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert processes.map(raw.read, MANY, chunksize=100) == list(MANY.values())


def test_one_group_at_a_time_is_in_memory(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from meltpoint.shards import write_shards
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_shards(({f"{number}": bytes(1_000_000)} for number in range(200)), Path(sys.argv[1]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "again")],
        env={"PYTHONPATH": str(Path(shards.__file__).parents[1])}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(said.stdout) < 20_000_000


@pytest.mark.slow
def test_a_shard_over_4_gib_is_read(tmp_path: Path) -> None:
    block = bytes(256 * 2**20)
    write_shards([{"a": block} | {f"b{number}": block for number in range(17)} | {"last": b"end"}], tmp_path)
    raw = open_shards(tmp_path)
    assert (tmp_path / "00000.zip").stat().st_size > 2**32
    assert raw.places["last"].start > 2**32
    assert raw.read("last") == b"end"


def test_what_is_not_there_is_named_with_its_remedy(tmp_path: Path) -> None:
    write(MANY, tmp_path)
    with pytest.raises(ShardError, match=r"does not hold 'x\.png'\. Restore it: dvc checkout .* dvc repro download"):
        open_shards(tmp_path).read("x.png")
    with pytest.raises(ShardError, match="does not hold"):
        open_shards(tmp_path / "nowhere").read("x.png")
    raw = open_shards(tmp_path)
    (tmp_path / "00000.zip").unlink()
    with pytest.raises(ShardError, match="does not hold"):
        raw.read("folder0/00000.png")


def test_damage_is_told(tmp_path: Path) -> None:
    content = write({"a.png": b"content", "b.png": b"other"}, tmp_path)["00000.zip"]
    path = tmp_path / "00000.zip"
    path.write_bytes(content.replace(b"content", b"c0ntent"))
    with pytest.raises(ShardError, match=r"00000\.zip is damaged at 'a\.png': wrong checksum"):
        open_shards(tmp_path).read("a.png")
    assert open_shards(tmp_path).read("b.png") == b"other"
    path.write_bytes(content[:-30])
    with pytest.raises(ShardError, match=r"00000\.zip is damaged: "):
        open_shards(tmp_path)
