"""Pictures and tables as the artifacts MLflow shows inline, written to a folder that is then logged in one go.

`log_image` and `log_table` invent a new name for each picture, so that showing a run twice would double them. Here a
picture has the same name each time: the layout is MLflow's (mlflow/tracking/client.py), the unique part is not random.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from meltpoint.files import sha256_of

PREVIEW = 256  # pixels of the longer side of the small copy that MLflow's pages load first
MOST_ROWS = 1000  # of a table; predictions.parquet holds all of them
IMAGES_TAG, TABLES_TAG = "mlflow.loggedImages", "mlflow.loggedArtifacts"


def add_picture(picture: Path, key: str, stamp: int, folder: Path) -> None:
    """Put a picture among those that MLflow draws in a run's charts under the name `key`; `stamp` is in ms."""
    name = f"{key.replace('/', '~')}+step+0+timestamp+{stamp}+{uuid.uuid5(uuid.NAMESPACE_OID, key)}"
    images = folder / "images"
    images.mkdir(exist_ok=True)
    shutil.copyfile(picture, images / f"{name}.png")
    with Image.open(picture) as image:
        _preview(image).save(images / f"{name}+compressed.webp")


def write_table(
    table: pd.DataFrame, name: str, folder: Path, thumbnails: Sequence[NDArray[np.uint8]] | None = None
) -> None:
    """Write a table as `name`.json; `thumbnails`, uint8 (H, W, 3) for each row, become its first column."""
    if thumbnails is not None:
        (folder / "table_images" / name).mkdir(parents=True, exist_ok=True)
        cells = []
        for row, pixels in enumerate(thumbnails):
            image, stem = Image.fromarray(pixels), f"table_images/{name}/{row:04d}"
            image.save(folder / f"{stem}.png")
            _preview(image).save(folder / f"{stem}.webp")
            cells.append({"type": "image", "filepath": f"{stem}.png", "compressed_filepath": f"{stem}.webp"})
        table = pd.concat([pd.DataFrame({"photograph": cells}), table.reset_index(drop=True)], axis=1)
    text = table.to_json(orient="split", index=False, date_format="iso", force_ascii=False)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def table_tag(names: Sequence[str]) -> str:
    """The value of the tag that tells MLflow's pages which artifacts are tables."""
    return json.dumps([{"path": f"{name}.json", "type": "table"} for name in names])


def _preview(image: Image.Image) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((PREVIEW, PREVIEW))
    return small


def digest_of(files: Iterable[Path], folder: Path) -> str:
    """The sha256 over the names, relative to `folder`, and bytes of files."""
    lines = [f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
