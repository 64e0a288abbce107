"""The tools of an assistant, asked through the client of the protocol's own package in this process."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from mcp import Client
from PIL import Image
from worded import save_sentences

from meltpoint.assistant.confusions import ClassError, Confusions, find_class
from meltpoint.assistant.server import build_server
from meltpoint.assistant.tools import Tools
from meltpoint.serving.request_limits import read_limits
from meltpoint.tables import answer_column, label_column, probability_columns
from meltpoint.tasks.answerer import Answerer, open_answerer

if TYPE_CHECKING:
    from saved_models import Kit


def make_tools(answerer: Answerer, predictions: Path | None = None, language: str | None = None) -> Tools:
    return Tools("models/it", answerer, None, predictions, None, read_limits({}), language)


def ask(tools: Tools, tool: str, **asked: Any) -> Any:
    """What a tool answers: its result, which holds the text and the data alike."""

    async def call() -> Any:
        async with Client(build_server(tools)) as client:
            return await client.call_tool(tool, asked)

    result = asyncio.run(call())
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    return result


def sent(kit: "Kit", seed: int = 0) -> str:
    return base64.b64encode(kit.png(kit.noise(seed, 60, 80))).decode()


def write_predictions(answerer: Answerer, path: Path) -> None:
    """A table in which three trees were answered as dancers, one dancer as a tree, and the rest is right."""
    truth = ["tree"] * 5 + ["dancer"] * 4 + ["corpse"] * 2 + ["mountain"]
    said = ["tree"] * 2 + ["dancer"] * 3 + ["dancer"] * 3 + ["tree"] + ["corpse"] * 2 + ["mountain"]
    table = pd.DataFrame({"id": range(len(truth)), "path": "x.png", "split": "test", "group": "g"})
    for head, names in answerer.card.classes.items():
        right = truth if head == "pose" else [names[0]] * len(truth)
        table[label_column(head)] = pd.array(right, dtype="string")
        table[answer_column(head)] = pd.array(said if head == "pose" else right, dtype="string")
        shares = pd.DataFrame(1 / len(names), table.index, probability_columns(head, names), dtype=np.float32)
        table = table.join(shares)
    pd.concat([table, table.assign(split="val")]).to_parquet(path)


def test_a_pose_its_chinese_name_and_what_it_may_be_confused_with(yogi: Answerer, kit: "Kit", tmp_path: Path) -> None:
    write_predictions(yogi, tmp_path / "predictions.parquet")
    tools = make_tools(yogi, tmp_path / "predictions.parquet", "zh")
    seen = ask(tools, "classify", image=sent(kit)).structured_content
    expected = yogi.predict(kit.png(kit.noise(0, 60, 80)), language="zh")
    assert not isinstance(expected, list)
    assert expected.target is not None
    assert seen["heads"]["pose"]["name"] == expected.target.name
    assert seen["levels"] == ["overall", "family", "pose"]
    assert "may_be" in seen["heads"]["pose"]
    for name in ("dancer", "舞王式", "DANCER POSE"):
        known = ask(tools, "may_be_confused", name=name).structured_content
        assert (known["head"], known["label"], known["counted"]) == ("pose", "dancer", "pictures")
        assert known["names"] == {"en": "Dancer Pose", "zh": "舞王式"}
        assert known["really"] == [{"label": "tree", "name": "樹式", "count": 3, "share": 0.5}]
        assert known["answered_as"] == [{"label": "tree", "name": "樹式", "count": 1, "share": 0.25}]
        assert (known["test_count"], known["right"]) == (4, 3)


def test_a_model_is_described_and_a_folder_has_no_promotion(yogi: Answerer) -> None:
    tools = make_tools(yogi)
    told = ask(tools, "describe_model", language="zh").structured_content
    assert told["heads"]["pose"]["classes"][0] == {"label": "corpse", "name": "攤屍式"}
    assert told["tree"] == ["overall", "family", "pose"]
    assert ask(tools, "may_be_confused", name="tree").structured_content["known"] is False
    names = {name for name, fits in tools.fits.items() if fits}
    assert names == {"classify"}, "a net of timm's has no text side, a class for the picture no mask"


def test_a_picture_under_its_mask_comes_with_shares(painter: Answerer, kit: "Kit") -> None:
    picture, mask = kit.scene(90, 120)
    image = base64.b64encode(kit.png(picture)).decode()
    result = ask(make_tools(painter), "segment", image=image, language="zh")
    areas = {area["label"]: area for area in result.structured_content["heads"]["scene"]["areas"]}
    assert areas["grass"]["share"] == pytest.approx(float(np.mean(mask == 0)), abs=0.05)
    assert areas["water"]["name"] == "水"
    with Image.open(io.BytesIO(base64.b64decode(result.content[1].data))) as drawn:
        assert drawn.format == "JPEG"
        assert drawn.width >= 120


def test_words_are_tags_with_their_chinese_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where its text side is
    tools = make_tools(open_answerer(save_sentences(tmp_path)))
    image = base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()
    told = ask(tools, "tag_with_words", words=["dog|狗", "cat||0", "red car||1"], image=image, language="zh")
    said = told.structured_content["heads"]["words"]
    assert {choice["name"] for choice in said["top"]} == {"狗", "cat", "red car"}
    tags = [tag["label"] for tag in said["tags"]]
    assert "cat" in tags
    assert "red car" not in tags
    one = ask(tools, "tag_with_words", words=["dog", "cat"], image=image, one=True).structured_content
    assert one["heads"]["words"]["label"] in ("dog", "cat")


def test_words_that_say_nothing_are_told_to_the_assistant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tools = make_tools(open_answerer(save_sentences(tmp_path, ["photograph", "something", "dog", "cat"])))
    image = base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()
    told = ask(tools, "tag_with_words", words=["dog", "kitten"], image=image).structured_content
    (doubt,) = told["doubts"]
    assert "one by one: 'kitten'. Answers that hang on them mean little." in doubt
    assert "doubts" not in ask(tools, "tag_with_words", words=["dog", "cat"], image=image).structured_content


def test_a_class_is_found_by_its_label_first(kit: "Kit") -> None:
    card = kit.tree_card()
    assert find_class(card, "lie", None) == ("overall", "lie")
    assert find_class(card, " YES ", None) == ("indoors", "yes")
    assert find_class(card, "樹", None) == ("pose", "tree"), "no other class begins so"
    with pytest.raises(ClassError, match="Near it are"):
        find_class(card, "danser", None)
    with pytest.raises(ClassError, match=r"Known are \['no', 'yes'\]\. describe_model"):
        find_class(card, "unicorn", "indoors")
    with pytest.raises(ClassError, match="no head 'poses'"):
        find_class(card, "tree", "poses")
    assert Confusions({}).of("pose", card.heads["pose"], "tree", None) is None
