"""A model folder that nobody registered, RAM's, behind a real server on loopback."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from PIL import Image
from servers import OURS, started
from tiny_ram import TAGS, make_state

from meltpoint.cli import run
from meltpoint.errors import guarded

pytestmark = pytest.mark.slow


def test_it_answers_with_tags_in_both_languages_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": make_state()}, "ram.pth")
    Path("en.txt").write_text("\n".join(TAGS), encoding="utf-8")
    Path("zh.txt").write_text("狗\n猫\n咖啡馆\n消防车\n雪\n", encoding="utf-8")
    lists = ["--tags", "en.txt", "--tags-zh", "zh.txt", "--threshold", "0", "--licence", "none"]
    run(["convert-ram", "ram.pth", "ram", *lists])
    Image.new("RGB", (90, 60), "#6080a0").save("photo.png")
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "kept"))
    image = base64.b64encode(Path("photo.png").read_bytes()).decode()
    with started(tmp_path, "/ready", "serve", "ram", program=OURS) as address:
        asked = {"dataframe_records": [{"image": image}, {"image": "bad"}]}
        good, bad = requests.post(f"{address}/invocations", json=asked, timeout=60).json()["predictions"]
    assert set(json.loads(good["tags.tags"])) == set(TAGS)
    assert json.loads(good["tags.names"])["zh"]["café"] == "咖啡馆"
    assert bad["error"]
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize("damage", ["no folder", "no card", "a changed byte"])
def test_what_is_no_whole_model_is_refused_at_once(
    damage: str, house: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    if damage != "no folder":
        shutil.copytree(house.folder / "models" / "frozen", model)
    if damage == "no card":
        (model / "card.json").unlink()
    if damage == "a changed byte":
        (model / "history.jsonl").write_text("{}")
    with pytest.raises(SystemExit):
        guarded(lambda: run(["serve", str(model)]))
    said = capsys.readouterr()
    assert str(model) in said.err + said.out
    assert "Traceback" not in said.err
