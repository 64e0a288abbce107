"""Archives: read by what is in them, left where they are, refused where the pipeline could not read them."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from warm_process import nursery

from meltpoint.errors import UserError

Draw = Callable[..., Path]
Fill = Callable[[Path, dict[str, int]], Path]
Init = Callable[..., Any]


def pack(folder: Path, kind: str) -> Path:
    packed = Path(shutil.make_archive(str(folder), kind, folder.parent, folder.name))
    shutil.rmtree(folder)
    return packed


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_class_folders_in_an_archive(place: Path, fill: Fill, init: Init, kind: str) -> None:
    fill(place / "pets" / "train", {"cat": 6, "dog": 6})
    fill(place / "pets" / "test", {"cat": 3, "dog": 3})
    packed = pack(place / "pets", kind)
    ran = init(packed.name)
    source = ran.raw["data"]["source"]
    assert source["kind"] == "archive"
    assert source["location"] == packed.name
    assert source["sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert source["inside"] == {"kind": "folder", "path": "pets"}
    assert ran.params.main_head == "pets"
    assert "train 12, test 6" in ran.out
    assert not (place / ".checkpoints" / "init").exists()


def test_a_table_in_an_archive(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "pets", {"photos": 12})
    rows = [f"photos/{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(12)]
    (place / "pets" / "list.csv").write_text("\n".join(["file,kind", *rows]) + "\n")
    packed = pack(place / "pets", "zip")
    inside = init(packed.name).raw["data"]["source"]["inside"]
    assert (inside["table"], inside["images"], inside["path"]) == ("pets/list.csv", "pets", "file")


def test_masks_in_an_archive_are_to_be_unpacked(place: Path, draw: Draw, init: Init) -> None:
    (place / "street" / "masks").mkdir(parents=True)
    for number in range(5):
        draw(place / "street" / "images" / f"{number}.png")
        Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(place / "street" / "masks" / f"{number}.png")
    packed = pack(place / "street", "zip")
    with pytest.raises(
        UserError, match=r"holds images and masks, which is read from a folder only. Unpack it yourself"
    ):
        init(packed.name)


def test_what_is_no_dataset(place: Path, init: Init) -> None:
    (place / "papers").mkdir()
    (place / "papers" / "a.txt").write_text("a")
    packed = pack(place / "papers", "zip")
    with pytest.raises(UserError, match="holds neither class folders nor a table"):
        init(packed.name)
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(UserError, match="cannot be unpacked"):
        init(packed.name)


@pytest.mark.slow
def test_the_download_stage_reads_it(place: Path, fill: Fill, init: Init) -> None:
    fill(place / "pets", {"cat": 6, "dog": 6})
    init(pack(place / "pets", "zip").name)
    script = Path(__file__).parents[2] / "stages" / "download.py"
    subprocess.run([str(nursery() / "python"), str(script)], cwd=place, check=True, timeout=300)
    assert len((place / "data" / "samples.csv").read_text().splitlines()) == 13
