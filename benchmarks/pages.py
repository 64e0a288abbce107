"""Draws a small dataset for the presets `documents` and `documents-three`: pages, other things, and both on screens.

    python benchmarks/pages.py datasets/documents 900

Drawn pictures are easier than photographs: what a model reaches on them says that a preset works, and nothing else.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WORDS = (
    "invoice", "total", "date", "amount", "page", "order", "number", "street",
    "terms", "item", "price", "sum", "name", "account", "signature", "notice",
)  # fmt: skip
WIDTH, HEIGHT = 360, 480


def main(folder: Path, count: int) -> None:
    """Write `count` pictures, a third of each class, and labels.csv without a header."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        rng = np.random.default_rng([11, number])
        kind = number % 3
        subject = _page(rng) if kind == 0 or (kind == 2 and rng.random() < 0.5) else _thing(rng)
        picture = _screen(subject, rng) if kind == 2 else _photograph(subject, rng)
        name = f"images/{number:05}.jpg"
        picture.save(folder / name, quality=int(rng.integers(70, 95)))
        lines.append(f"{name},{kind}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    print(f"{count} pictures in {folder}")


def _page(rng: np.random.Generator) -> Image.Image:
    """Lines of words, a heading, at times a table."""
    page = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(value) for value in rng.integers(225, 256, 3)))
    draw, ink = ImageDraw.Draw(page), tuple(int(value) for value in rng.integers(0, 70, 3))
    path, size = font_manager.findfont("DejaVu Sans"), int(rng.integers(9, 15))
    font, heading = ImageFont.truetype(path, size), ImageFont.truetype(path, 2 * size)
    draw.text((30, 24), str(rng.choice(WORDS)).title(), ink, heading)
    for top in range(40 + 2 * size, HEIGHT - 40, size + 5):
        if rng.random() < 0.88:
            draw.text((30, top), " ".join(rng.choice(WORDS, int(rng.integers(3, 7)))), ink, font)
        elif rng.random() < 0.3:
            draw.line((30, top, WIDTH - 30, top), ink, 1)
    return page


def _thing(rng: np.random.Generator) -> Image.Image:
    """Coloured shapes before a soft background."""
    coarse = rng.integers(30, 226, (6, 5, 3), dtype=np.uint8)
    thing = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(thing)
    for _ in range(int(rng.integers(2, 9))):
        left, top = int(rng.integers(0, WIDTH - 60)), int(rng.integers(0, HEIGHT - 60))
        box = (left, top, left + int(rng.integers(20, 200)), top + int(rng.integers(20, 200)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return thing.filter(ImageFilter.GaussianBlur(float(rng.random() * 2)))


def _photograph(subject: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Laid on a table, a little turned, or filling the frame; with noise and uneven light."""
    if rng.random() < 0.5:
        return _light(subject.resize((WIDTH + 80, HEIGHT + 80)), rng)
    table = Image.new("RGB", (WIDTH + 80, HEIGHT + 80), tuple(int(value) for value in rng.integers(40, 200, 3)))
    turned = subject.convert("RGBA").rotate(float(rng.normal(0, 6)), Image.Resampling.BICUBIC, expand=True)
    table.paste(turned, (20, 20), turned)
    return _light(table, rng)


def _screen(subject: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Behind a grid of pixels, with the moiré and the bands of a camera before a display."""
    pixels = np.asarray(subject.resize((WIDTH + 80, HEIGHT + 80)), dtype=np.float32)
    rows, columns = np.indices(pixels.shape[:2], dtype=np.float32)
    period, angle = rng.uniform(2.2, 5.0), rng.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / period)
    bands = np.sin(2 * np.pi * rows / rng.uniform(40, 160) + rng.uniform(0, 6))
    tint = rng.uniform(0.9, 1.1, 3)
    seen = pixels * tint * (1 + rng.uniform(0.01, 0.05) * wave + rng.uniform(0, 0.03) * bands)[..., None] + rng.uniform(
        0, 14
    )
    return _light(Image.fromarray(seen.clip(0, 255).astype(np.uint8)), rng)


def _light(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32)
    slope = np.linspace(rng.uniform(0.7, 1.0), rng.uniform(0.7, 1.0), pixels.shape[1], dtype=np.float32)
    noisy = pixels * slope[None, :, None] + rng.normal(0, rng.uniform(1, 7), pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
