"""Whatever a picture comes as, its pixels are those that its file gives."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from meltpoint.images.decode import decode
from meltpoint.predict import inputs
from meltpoint.predict.inputs import is_single, most_bytes, read_picture

if TYPE_CHECKING:
    from saved_models import Kit

PNG_MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]
MODES = [*PNG_MODES, "La", "PA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]


def make(mode: str, pixels: np.ndarray[Any, Any]) -> Image.Image:
    """Noise in that mode, where there is one with a lively alpha."""
    image = Image.fromarray(pixels)
    if mode in ("I", "F", "I;16"):
        grey = pixels[..., 0].astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode])
        return Image.fromarray(grey * (200 if mode != "F" else 1))
    alpha = Image.fromarray(pixels[..., 2])
    image.putalpha(alpha)
    steps = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}
    return image.convert(steps.get(mode, "RGBA" if mode in ("LA", "RGBA") else "RGB")).convert(mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turn", [None, 6])
def test_a_pillow_image_of_any_mode_goes_the_way_of_files(kit: "Kit", mode: str, turn: int | None) -> None:
    pixels = kit.noise(1, 24, 40)
    image = make(mode, pixels)
    assert image.mode == mode
    if turn:
        image.getexif()[0x0112] = turn
    seen: Any = read_picture(image, kit.plain_card(), 100, whole=False)
    assert seen.error is None
    assert seen.shown.shape == ((40, 24, 3) if turn else (24, 40, 3))
    upright = np.rot90(seen.shown) if turn else seen.shown
    if mode in ("L", "RGB", "I", "F", "I;16", "1"):
        grey = np.repeat(pixels[..., :1], 3, axis=2)
        expected: dict[str, Any] = {"RGB": pixels, "F": grey, "I": np.round(grey * (200 * 255 / 65535))}
        expected["I;16"] = expected["I"]
        known = expected.get(mode, np.asarray(image.convert("RGB")))
        np.testing.assert_allclose(upright.astype(int), known.astype(int), atol=1)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_an_opened_file_gives_what_its_path_gives(kit: "Kit", tmp_path: Path) -> None:
    image, exif = Image.fromarray(kit.noise(2, 30, 50)), Image.Exif()
    exif[0x0112] = 8
    palette = image.quantize(8)
    files = {
        "turned.jpg": saved(image, "JPEG", exif=exif.tobytes(), quality=95),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG"),
        "clear.png": saved(palette, "PNG", transparency=3),
        "key.png": saved(image, "PNG", transparency=tuple(int(value) for value in np.asarray(image)[0, 0])),
        "turned.tif": saved(image, "TIFF", exif=exif.tobytes()),
        "moving.gif": saved(palette, "GIF", save_all=True, append_images=[palette.rotate(90)]),
        "deep.png": saved(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
        "alpha.webp": saved(image.convert("RGBA"), "WEBP", lossless=True),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with Image.open(tmp_path / name) as opened:
            seen = read_picture(opened, kit.plain_card(), 100, whole=False)
        np.testing.assert_array_equal(seen.shown, decode(tmp_path / name, 1), err_msg=name)


def test_values_of_more_than_8_bits_are_on_the_scale_of_the_training(kit: "Kit", tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 1200).astype(np.uint16).reshape(30, 40)
    (tmp_path / "deep.png").write_bytes(saved(Image.fromarray(values), "PNG"))
    card = kit.plain_card(depths={"integer": (0, 4095)})
    expected = np.round(values * (255 / 4095)).astype(int)
    for source in (tmp_path / "deep.png", (tmp_path / "deep.png").read_bytes(), Image.fromarray(values)):
        seen: Any = read_picture(source, card, 100, whole=False)
        np.testing.assert_allclose(seen.shown[..., 0].astype(int), expected, atol=1)
    assert read_picture(tmp_path / "deep.png", kit.plain_card(), 100, whole=False).shown.max() == 16


def test_colours_that_pillow_has_cut_to_8_bits_have_a_reason(kit: "Kit", tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8, 3), 3000, dtype=np.uint16))
    with Image.open(tmp_path / "deep.png") as opened:
        seen = read_picture(opened, kit.plain_card(depths={"integer": (0, 4095)}), None, whole=False)
    assert seen.error == "Pillow keeps 8 of its 16 bits a channel"


def test_arrays_are_rgb_or_grey(kit: "Kit") -> None:
    colour, grey = kit.noise(1, 24, 40), kit.noise(2, 24, 40)[..., 0]
    for given, shown in ((colour[:, ::-1], colour[:, ::-1]), (grey, grey[..., None].repeat(3, 2))):
        np.testing.assert_array_equal(read_picture(given, kit.plain_card(), 99, whole=False).shown, shown)


def test_a_damaged_pillow_image_has_a_reason(kit: "Kit", tmp_path: Path) -> None:
    content = saved(Image.fromarray(kit.noise(1, 200, 200)), "JPEG")
    opened = Image.open(io.BytesIO(content[: len(content) // 2]))
    assert read_picture(opened, kit.plain_card(), None, whole=False).error == "damaged"
    large = Image.new("1", (1001, 1000))
    assert read_picture(large, kit.plain_card(), None, whole=False).error == "too many pixels"


def test_pictures_to_be_shown_are_not_larger_than_asked_for(kit: "Kit") -> None:
    seen: Any = read_picture(kit.noise(1, 300, 20), kit.plain_card(), 30, whole=False)
    assert seen.shown.shape == (30, 2, 3)
    assert read_picture(kit.noise(1), kit.plain_card(), None, whole=False).shown is None


@pytest.mark.parametrize("source", ["a.jpg", "http://localhost/a/", b"", np.zeros((2, 2), np.uint8), Path("none")])
def test_one_is_told_from_many(source: Any) -> None:
    assert is_single(source)
    assert not is_single([source])
    assert not is_single(iter([source]))
    assert not is_single(Path())


class Web(BaseHTTPRequestHandler):
    """/good a picture, /turn a redirect to it, /round a redirect to itself, /large too many bytes, /page a web page."""

    picture = b""

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        if place in ("/turn", "/round", "/away"):
            self.send_response(302)
            self.send_header("Location", {"/turn": "/good", "/away": "file:///etc/passwd"}.get(place, place))
            self.end_headers()
            return
        body = {"/good": self.picture, "/large": self.picture + b"\0" * 9_000_000, "/page": b"<html>" * 9}.get(place)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words: object) -> None:
        """Keep quiet."""


@pytest.fixture
def web(kit: "Kit", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Web, "picture", kit.png(kit.noise(5, 24, 40)))
    monkeypatch.setattr(inputs, "RETRIES", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_addresses_are_fetched_within_bounds(kit: "Kit", web: str) -> None:
    seen = {
        name: read_picture(f"{web}/{name}", kit.plain_card(), 100, whole=False)
        for name in ("good", "turn", "round", "away", "large", "page", "none")
    }
    np.testing.assert_array_equal(seen["good"].shown, kit.noise(5, 24, 40))
    np.testing.assert_array_equal(seen["turn"].shown, seen["good"].shown)
    assert seen["turn"].source == f"{web}/turn"
    assert {name: picture.error for name, picture in seen.items() if picture.error} == {
        "round": "too many redirects",
        "away": "no valid address",
        "large": f"larger than {most_bytes(1) / 1e6:g} MB",
        "page": "no image but something else",
        "none": "404 Not Found",
    }


def test_a_host_that_is_not_there_is_a_reason(kit: "Kit", web: str) -> None:
    assert read_picture("http://127.0.0.1:9/a.jpg", kit.plain_card(), None, whole=False).error == "no connection"
