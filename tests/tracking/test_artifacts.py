"""Pictures and tables are laid out as MLflow's own calls lay them out, and the same each time."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meltpoint.tracking.artifacts import add_picture, table_tag, write_table
from meltpoint.tracking.runs import open_parent
from meltpoint.tracking.store import open_store

TABLE = pd.DataFrame({"true": ["circle", "square"], "confidence": [0.5, 1.0]})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGBA", (600, 30), (200, 10, 10, 255)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def shape_of(name: str) -> str:
    """A file name without what is unique in it."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|timestamp.\d+", "*", name)


def test_pictures_lie_where_mlflow_puts_them(house: Any, picture: Path, tmp_path: Path) -> None:
    store = open_store("shapes")
    run = open_parent(store, house.state).info.run_id
    store.client.log_image(run, Image.open(picture), key="test/confusion", step=0, timestamp=77)
    theirs = [shape_of(info.path) for info in store.client.list_artifacts(run, "images")]
    (tmp_path / "ours").mkdir()
    add_picture(picture, "test/confusion", 77, tmp_path / "ours")
    ours = [shape_of(str(path.relative_to(tmp_path / "ours"))) for path in (tmp_path / "ours").rglob("*.*")]
    assert sorted(ours) == sorted(theirs)


def test_hung_twice_is_there_once(picture: Path, tmp_path: Path) -> None:
    for _ in range(2):
        add_picture(picture, "confusion", 77, tmp_path)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert len(names) == 2
    with Image.open(tmp_path / "images" / names[0]) as small:
        assert max(small.size) <= 256


def test_a_table_is_what_mlflow_loads(house: Any, tmp_path: Path) -> None:
    store = open_store("shapes")
    run = open_parent(store, house.state).info.run_id
    (tmp_path / "ours").mkdir()
    write_table(TABLE, "mistakes", tmp_path / "ours", [np.full((8, 8, 3), 9, np.uint8)] * 2)
    store.client.log_artifacts(run, str(tmp_path / "ours"))
    store.log(run, tags={"mlflow.loggedArtifacts": table_tag(["mistakes"])})
    with store.in_environment():
        loaded = store.client.load_table(store.experiment, "mistakes.json", run_ids=[run])
    assert loaded["true"].tolist() == ["circle", "square"]
    assert store.client.download_artifacts(run, loaded["photograph"][1]["filepath"])


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write_table(TABLE.head(0), "mistakes", tmp_path, [])
    assert json.loads((tmp_path / "mistakes.json").read_text()) == {
        "columns": ["photograph", "true", "confidence"], "data": [],
    }  # fmt: skip


def test_the_worst_mistakes_are_shown_with_their_photographs(house: Any) -> None:
    house.register()
    store = open_store("shapes")
    run = store.client.search_runs([store.experiment], "tags.strategy = 'frozen'")[0].info.run_id
    table = json.loads(Path(store.client.download_artifacts(run, "test_mistakes.json")).read_text())
    assert len(table["data"]) == 3, "evaluate.worst"
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert row["true"] != row["predicted"]
    with Image.open(store.client.download_artifacts(run, row["photograph"]["filepath"])) as image:
        assert image.size == (32, 32)
