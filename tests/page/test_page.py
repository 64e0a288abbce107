"""The page in a real browser: one server, one browser, every panel, two users, nothing asked of another machine."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from browser import PROGRAM, Browser, browsing
from PIL import Image
from servers import OURS, started
from worded import save_sentences

if TYPE_CHECKING:
    from saved_models import Kit

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


class Shown(NamedTuple):
    """A page that is served, and the browser that looks at it."""

    address: str
    browser: Browser
    folder: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, tree_folder: Path, scene_folder: Path) -> Iterator[Shown]:
    """A page over three models: with a tree and names in two languages, with a text side, with masks."""
    folder = tmp_path_factory.mktemp("page")
    told = save_sentences(folder)
    models = [word for path in (tree_folder, told, scene_folder) for word in ("--model", str(path))]
    with started(folder, "/", "app", *models, program=OURS) as address, browsing(folder / "profile") as browser:
        yield Shown(address, browser, folder)


def open_page(shown: Shown, width: int = 1280) -> Browser:
    shown.browser.open(shown.address, width)
    shown.browser.wait_for("#answer-said", "Choose a picture")
    return shown.browser


def choose_model(browser: Browser, name: str) -> None:
    browser.look("document.querySelector('#model input').focus()")
    browser.wait("document.querySelector('#model ul, ul[role=listbox]') != null")
    browser.look(
        "[...document.querySelectorAll('[role=option]')].find(one => one.innerText.includes("
        f"{name!r})).dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))"
    )


def test_a_picture_is_answered_in_every_panel(shown: Shown, scene_folder: Path) -> None:
    browser = open_page(shown)
    browser.give("#picture", [shown.folder / "photo.png"])
    browser.wait("document.querySelectorAll('#answer-said .path li').length == 2")  # above the leaf of a tree
    browser.wait("document.querySelector('#save') != null")
    browser.press("中文", "#language label")
    browser.wait("/躺臥|站立/.test(document.querySelector('#answer-said').innerText)")
    browser.press("Compare", "[role=tab]")
    browser.wait("document.querySelector('#right-said .answer') != null")
    assert str(shown.folder / "told") in browser.look("document.querySelector('#right-name').innerText")
    browser.press("Where it looked", "[role=tab]")
    browser.wait_for("#looked-said", "Grad-CAM")
    browser.wait("document.querySelector('#looked-drawn img').naturalWidth > 0")
    browser.press("Words", "[role=tab]")
    browser.wait_for("#words-said", "has no text side")
    choose_model(browser, str(shown.folder / "told"))
    browser.wait_for("#words-said", "Write what may be on the picture")
    browser.write("#words textarea", "a dog|狗, a red car|红色的汽车, a boat")
    browser.wait("document.querySelectorAll('#words-said .bar').length == 3")
    browser.press("中文", "#spoken label")
    browser.wait_for("#words-said", "狗")
    browser.press("each by itself", "#kind label")
    browser.wait("document.querySelector('#words-said .tags') != null")
    choose_model(browser, str(scene_folder))
    browser.press("Answer", "[role=tab]")
    browser.wait("document.querySelector('#answer-drawn img') != null")


def test_two_users_do_not_see_each_others_pictures_and_bad_ones_get_a_sentence(
    shown: Shown, tmp_path: Path, kit: "Kit"
) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    (tmp_path / "cut.png").write_bytes(kit.png(kit.noise(0))[:-20])
    browser = open_page(shown)
    assert "Choose a picture" in browser.text()
    for name, reason in (("bomb.png", "too many pixels"), ("cut.png", "truncated")):
        browser.give("#picture", [tmp_path / name])
        browser.wait_for("#answer-said", f"This picture cannot be used: {reason}")


def test_a_picture_comes_from_the_clipboard_or_the_camera(shown: Shown, kit: "Kit") -> None:
    browser = open_page(shown)
    browser.wait("document.querySelector('#picture input[type=file]') != null")
    seen = "document.querySelector('#picture img')?.src"
    before = None
    for seed in (0, 1):  # into an empty place, and in place of another picture
        browser.paste(kit.png(kit.noise(seed)))
        before = browser.wait(f"{seen} && {seen} != {json.dumps(before)} && {seen}")
    browser.wait("document.querySelector('#answer-said .answer') != null")
    browser.look("document.querySelector(\"#picture button[aria-label='Capture from camera']\").click()")
    browser.wait_for("#answer-said", "Choose a picture")  # the one before is gone
    browser.press("Click to Access Webcam", "#picture button")
    browser.wait("document.querySelector('#picture video').videoWidth > 0")
    browser.look("document.querySelector(\"#picture button[aria-label='capture photo']\").click()")
    browser.wait(f"{seen} && {seen} != {json.dumps(before)}")
    browser.wait_for("#answer-said", "cannot be used: too many pixels")  # of the model's one megapixel


def test_many_pictures_become_a_gallery_and_a_table_on_a_telephone(shown: Shown, album: Path, tmp_path: Path) -> None:
    browser = open_page(shown, 390)
    assert browser.look("document.documentElement.scrollWidth") <= 390
    browser.press("Many pictures", "[role=tab]")
    browser.give("#files", [album / "2.PNG", album / "b" / "1.png", album / "a" / "broken.jpg"])
    browser.wait_for("#summary", "2 pictures answered")
    assert "1 cannot be used: 1 truncated" in browser.text()
    browser.wait("document.querySelectorAll('#gallery img').length == 2")
    file = browser.save("#table", tmp_path)
    table = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert [row["source"] for row in table] == ["2.PNG", "1.png", "broken.jpg"]
    assert [row["error"] for row in table] == ["", "", "truncated"]
    assert set(table[0]) >= {"pose", "pose.probability", "overall"}


@pytest.mark.parametrize(
    ("place", "said"), [("/etc/hostname", "was not uploaded by a user"), ("http://127.0.0.1:1/a.png", "is an address")]
)
def test_only_a_picture_that_was_sent_is_opened(shown: Shown, place: str, said: str) -> None:
    parts = requests.get(f"{shown.address}/config", timeout=20).json()
    (picture,) = [part["id"] for part in parts["components"] if part["props"].get("elem_id") == "picture"]
    asked = next(one for one in parts["dependencies"] if picture in one["inputs"])
    data = [
        {"path": place, "meta": {"_type": "gradio.FileData"}} if own == picture else None for own in asked["inputs"]
    ]
    question = {"data": data, "fn_index": asked["id"], "session_hash": place}
    requests.post(f"{shown.address}/gradio_api/queue/join", json=question, timeout=20).raise_for_status()
    answers = requests.get(
        f"{shown.address}/gradio_api/queue/data", params={"session_hash": place}, timeout=20, stream=True
    )
    done = next(line for line in answers.iter_lines() if b"process_completed" in line)
    answer = json.loads(done.removeprefix(b"data: "))
    assert not answer["success"]
    assert said in answer["output"]["error"]


def test_nothing_is_asked_of_another_machine(shown: Shown) -> None:
    asked = [urlsplit(url) for url in shown.browser.asked if not url.startswith(("data:", "blob:"))]
    assert len(asked) > 30
    assert {url.hostname for url in asked} == {"127.0.0.1"}
    refused = [
        said for said in shown.browser.complaints if "/gradio_api/stream/" not in said
    ]  # ended streams of a camera
    assert refused == []  # the browser refused nothing either
