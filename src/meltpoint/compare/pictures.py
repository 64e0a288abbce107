"""Pictures inside a page that needs no other file."""

import base64
import io
from pathlib import Path

from markupsafe import Markup
from PIL import Image

WIDEST = 1080  # pixels of an embedded picture


def embed_picture(path: Path) -> Markup:
    """A picture as a data address: JPEG, at most WIDEST wide. Returns what belongs into `src`, with its size."""
    with Image.open(path) as picture:
        image = picture.convert("RGB")
    image.thumbnail((WIDEST, 10 * WIDEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82, optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    return Markup('src="data:image/jpeg;base64,{}" width="{}" height="{}"').format(data, image.width, image.height)
