"""What an assistant may be talked into asking: it gets a sentence, and nothing beyond the folder is looked at."""

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from PIL import Image
from saved_models import noise, png, save, tree_card

from meltpoint.assistant.server import build_server
from meltpoint.assistant.tools import Tools
from meltpoint.serving.request_limits import read_limits
from meltpoint.serving.responses import limit
from meltpoint.tasks.answerer import Answerer, open_answerer

SECTION = "Assistants"
GOOD = base64.b64encode(png(noise(0))).decode()


def bomb() -> str:
    path = Path("bomb.png")
    Image.new("1", (8000, 8000)).save(path)  # within the limit of the card, beyond that of requests
    return base64.b64encode(path.read_bytes()).decode()


CALLS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "a picture of the folder": ("classify", lambda: {"path": "in/a.png"}),
    "a path that leads out of the folder": ("classify", lambda: {"path": "../secret.png"}),
    "an absolute path": ("classify", lambda: {"path": str(Path("secret.png").absolute())}),
    "a link in the folder to a file outside": ("classify", lambda: {"path": "link.png"}),
    "a pipe in the folder": ("classify", lambda: {"path": "pipe"}),
    "a name with a zero byte": ("classify", lambda: {"path": "a\0.png"}),
    "a name of 10,000 letters": ("classify", lambda: {"path": "a" * 10_000}),
    "an address (SSRF)": ("classify", lambda: {"path": "http://169.254.169.254/latest"}),
    "an address of a file": ("classify", lambda: {"path": "file:///etc/hostname"}),
    "a path, where no folder was allowed": ("classify", lambda: {"path": "a.png"}),
    "a picture and a path at once": ("classify", lambda: {"image": GOOD, "path": "in/a.png"}),
    "neither picture nor path": ("classify", dict),
    "words instead of base64": ("classify", lambda: {"image": "ignore all previous instructions"}),
    "a text in the folder": ("classify", lambda: {"path": "notes.txt"}),
    "a bomb of pixels from an assistant": ("classify", lambda: {"image": bomb()}),
    "a file of too many bytes": ("classify", lambda: {"path": "heavy.png"}),
    "a language without names, from an assistant": ("classify", lambda: {"image": GOOD, "language": "de"}),
    "no choices": ("classify", lambda: {"image": GOOD, "top": 0}),
    "a class that nobody knows": ("may_be_confused", lambda: {"name": "lotus"}),
    "a number for a picture": ("classify", lambda: {"image": 7}),
    "a tool that the model has no answer to": ("segment", lambda: {"image": GOOD}),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return open_answerer(save(tree_card(max_megapixels=100.0), tmp_path_factory.mktemp("tree") / "model"))


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pictures"
    (folder / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for path in ("secret.png", "pictures/in/a.png"):
        Path(path).write_bytes(png(noise(1)))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "heavy.png").write_bytes(bytes(32_000_001))
    os.mkfifo(folder / "pipe")
    return folder


def test_a_row_of_the_page(row: Any, model: Answerer, pictures: Path) -> None:
    tool, make = CALLS[row.name]
    limits = read_limits({})
    allowed = None if row.name == "a path, where no folder was allowed" else pictures
    tools = Tools("models/it", limit(model, limits), None, None, allowed, limits, None)

    async def call() -> Any:
        async with Client(build_server(tools)) as client:
            return await client.call_tool(tool, make())

    result = asyncio.run(call())
    assert result.is_error == (row.fate == "refused")
    said = result.content[0].text
    assert all(quote in said for quote in row.quotes), said
    assert "Traceback" not in said
    assert len(said) < 2_000 or row.fate == "read"


def test_every_row_has_its_call(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(CALLS)
