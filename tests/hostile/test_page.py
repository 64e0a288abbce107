"""What comes to the page in the browser, and commands that would open it where they must not."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hostile.conftest import Row, run_told
from PIL import Image
from saved_models import save, tree_card

from meltpoint.cli import run
from meltpoint.commands import app as command
from meltpoint.images import formats
from meltpoint.page.answer_html import show_answer
from meltpoint.page.answers import ask
from meltpoint.page.folder import answer_folder
from meltpoint.page.server import SETTINGS, Address, build_app
from meltpoint.page.shelf import Shelf
from meltpoint.tasks.answerer import Answerer, open_answerer

SECTION = "A page in the browser"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return open_answerer(save(tree_card(), tmp_path_factory.mktemp("models") / "tree"))


def asked(model: Answerer, folder: Path, path: str, host: str, password: str | None = None) -> tuple[int, str]:
    """Status and body of what the page answers."""

    async def ask_it() -> httpx.Response:
        app = build_app(Shelf({"tree": "tree"}, lambda _: model), Address("127.0.0.1", 7860, password), folder)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}") as client:
            return await client.get(path)

    answer = asyncio.run(ask_it())
    assert answer.status_code >= 400
    return 1, answer.text


def shown(model: Answerer, folder: Path, content: bytes | Image.Image) -> tuple[int, str]:
    """What stands on the page below a picture."""
    if isinstance(content, bytes):
        (folder / "photo.png").write_bytes(content)
    else:
        content.save(folder / "photo.png")
    return 0, ask(model, folder / "photo.png", None).html


def half(folder: Path) -> bytes:
    Image.new("RGB", (40, 40), "red").save(folder / "whole.png")
    return (folder / "whole.png").read_bytes()[:-30]


def markup(model: Answerer, folder: Path) -> tuple[int, str]:
    Image.new("RGB", (40, 40), "red").save(folder / "photo.png")
    answer = ask(model, folder / "photo.png", None).answer
    named = replace(answer.heads["indoors"], name="<script>alert(1)</script>")
    html = show_answer(replace(answer, heads={"indoors": named}, levels=()), "indoors")
    assert "<script" not in html
    return 0, html


def busy(folder: Path) -> tuple[int, str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return run_told(lambda: run(["app", "--model", str(folder), "--port", str(taken.getsockname()[1])]))


Made = Callable[[Answerer, Path], tuple[int, str]]
MAKERS: dict[str, Made] = {
    "to the page: a host that is not this machine's": lambda model, to: asked(model, to, "/", "evil.example"),
    "to the page: a file of this machine, asked for by its path": lambda model, to: asked(
        model, to, "/gradio_api/file=/etc/hostname", "127.0.0.1"
    ),
    "to the page: somebody without the password, where one is set": lambda model, to: asked(
        model, to, "/config", "127.0.0.1", "secret"
    ),
    "to the page: a bomb": lambda model, to: shown(model, to, Image.new("1", (20_000, 20_000))),
    "to the page: half of a picture": lambda model, to: shown(model, to, half(to)),
    "to the page: HEIC without the extra `heif`": lambda model, to: shown(model, to, b"\0\0\0\x18ftypheic" + bytes(30)),
    "to the page: a class whose name is markup": markup,
    "to the page: 501 pictures at once": lambda model, to: run_told(
        lambda: answer_folder(model, [("a", to)] * 501, None, to, lambda *_: None)
    ),
    "an address that others reach, without a password": lambda _, __: run_told(
        lambda: run(["app", "--model", "models/a", "--host", "0.0.0.0"])
    ),
    "a port that another program has": lambda model, _: busy(model.predictor.folder),
    "no model anywhere": lambda _, __: run_told(lambda: run(["app"])),
    "the page without the extra `app`": lambda _, __: run_told(lambda: run(["app"])),
}


def test_a_page(row: Row, model: Answerer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MELTPOINT_APP_PASSWORD", raising=False)
    for name in (*SETTINGS, "GRADIO_TEMP_DIR"):  # which the page sets, and other tests go without
        monkeypatch.setenv(name, "")
    if "extra" in row.name:
        formats.readable.cache_clear()
        monkeypatch.setattr(formats, "find_spec", lambda _: None)
        monkeypatch.setattr(command, "find_spec", lambda _: None)
    try:
        code, text = MAKERS[row.name](model, tmp_path)
    finally:
        formats.readable.cache_clear()
    assert code == (1 if row.fate == "refused" else 0)
    assert row.quotes
    assert all(quote in text for quote in row.quotes), text


def test_every_row_has_its_test(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
