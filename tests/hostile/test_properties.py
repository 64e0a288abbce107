"""What holds for every input, not for examples: one tensor on all ways in, and archives that stay in their folder."""

import base64
import io
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meltpoint.data.unpack import ArchiveError, unpack
from meltpoint.images.augment import build_transform
from meltpoint.images.decode import decode
from meltpoint.images.views import open_views, write_views
from meltpoint.params.data import Images
from meltpoint.predict.inputs import read_picture
from meltpoint.serving.responses import read_image
from meltpoint.tables import check_samples

LOSSLESS = {"1": "PNG", "L": "PNG", "LA": "PNG", "P": "PNG", "RGB": "PNG", "RGBA": "PNG", "I;16": "PNG", "F": "TIFF"}
OTHERS = {"CMYK": "JPEG", "YCbCr": "JPEG"}

pictures = st.tuples(
    st.sampled_from(sorted(LOSSLESS | OTHERS)),
    st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
geometries = st.builds(
    Images,
    side=st.integers(8, 40),
    resize=st.sampled_from(["squash", "crop", "letterbox"]),
    interpolation=st.sampled_from(["bilinear", "bicubic", "area"]),
    draft=st.booleans(),
)


def draw(mode: str, kind: str, width: int, height: int, orientation: int, seed: int) -> bytes:
    """A picture of noise in a mode and in a format that can hold it, with an EXIF orientation where that can be."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noise.view(np.uint16)[..., 0])
    elif mode == "F":
        image = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    else:
        image = Image.fromarray(noise, "RGBA" if mode == "RGBA" else "RGBX").convert(mode)
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    kind = OTHERS.get(mode) or (kind if mode in ("L", "RGB") else LOSSLESS[mode])
    image.save(content, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
    return content.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


def train_pixels(contents: list[bytes], images: Images, place: Path) -> Any:
    """The plain views that training reads, (N, S, S, 3)."""
    rows = [
        {"id": number, "path": f"{number}.png", "y": "a", "group": None, "split": "train", "width": 1, "height": 1,
         "sha256": f"{number}"}
        for number in range(len(contents))
    ]  # fmt: skip
    samples = check_samples(pd.DataFrame(rows), {"y": ["a"]})
    files = {f"{number}.png": content for number, content in enumerate(contents)}
    write_views(files.__getitem__, samples, {"y": ["a"]}, images, build_transform([], images), 0, 0, place / "views")
    return np.array(open_views(place / "views").plain)


@settings(deadline=None, max_examples=60)
@given(drawn=st.lists(pictures, min_size=1, max_size=3), images=geometries)
def test_training_and_serving_see_the_same_tensor(place: Path, drawn: list[Any], images: Images) -> None:
    contents = [draw(*one) for one in drawn]
    trained = train_pixels(contents, images, place)
    card: Any = SimpleNamespace(max_megapixels=1.0, depths={}, images=images)
    for number, content in enumerate(contents):
        sent = read_image(base64.b64encode(content).decode(), 10**6)
        assert isinstance(sent, bytes)
        path = place / f"{number}.png"
        path.write_bytes(content)
        opened = [] if images.draft else [Image.open(io.BytesIO(content))]  # what is open is decoded as a whole
        for source in (path, str(path), content, sent, *opened):
            served = read_picture(source, card, None, False)
            assert served.error is None
            np.testing.assert_array_equal(served.pixels, trained[number])
        seen = read_picture(content, card, 9, True)
        np.testing.assert_array_equal(seen.pixels, trained[number])
        np.testing.assert_array_equal(seen.whole, decode(content, 1))


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "../x", "..", ".", "/x", "//x", "a/../../x", "./a", "..\\x", "a\\..\\..\\x", "C:\\x",
     "C:x", "~/x", "a/", "A", "x\0y", "é", "e\u0301", "con", "a/./b", "a//b", " ", "a ", "..."]
)  # fmt: skip
TYPES = st.sampled_from([
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
    tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z",
])  # fmt: skip
MEMBERS = st.lists(st.tuples(NAMES, TYPES, NAMES, st.integers(0, 3000)), min_size=1, max_size=5)


def write_tar(path: Path, members: list[tuple[str, bytes, str, int]], kind: int) -> None:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, type_, target, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, target
            info.size = size if type_ in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE) else 0
            archive.addfile(info, io.BytesIO(bytes(info.size)))


def write_zip(path: Path, members: list[tuple[str, bytes, str, int]]) -> None:
    modes = {tarfile.SYMTYPE: 0o120777, tarfile.CHRTYPE: 0o020666, tarfile.DIRTYPE: 0o040755}
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, type_, target, size) in enumerate(members):
            info = zipfile.ZipInfo(f"{number}")
            info.filename = info.orig_filename = name
            info.external_attr = modes.get(type_, 0o100644) << 16
            archive.writestr(info, target.encode() if type_ == tarfile.SYMTYPE else bytes(size))
            archive.NameToInfo.clear()  # or it warns of a name that stands twice


def check_inside(archive: Path, place: Path) -> None:
    """Unpack: all of it lies in the folder as plain files, or there is no folder; nothing else is touched."""
    before = set(place.rglob("*"))
    target = place / "deep" / "er" / "target"
    try:
        unpack(archive, target, max_members=10, max_bytes=10_000)
    except ArchiveError:
        assert not target.exists()
    for path in set(place.rglob("*")) - before - {place / "deep", place / "deep" / "er"}:
        assert path.is_relative_to(target)
        assert path.is_file() or path.is_dir()
        assert not path.is_symlink()


@settings(deadline=None, max_examples=150)
@given(members=MEMBERS, kind=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), data=st.data())
def test_nothing_of_a_tar_lands_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Any], kind: int, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("place")
    write_tar(place / "archive", members, kind)
    content = bytearray((place / "archive").read_bytes())
    for number in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=2)):  # and with damage
        content[number] ^= 0x21
    (place / "archive").write_bytes(content)
    check_inside(place / "archive", place)


@settings(deadline=None, max_examples=150)
@given(members=MEMBERS)
def test_nothing_of_a_zip_lands_outside(tmp_path_factory: pytest.TempPathFactory, members: list[Any]) -> None:
    place = tmp_path_factory.mktemp("place")
    write_zip(place / "archive", members)
    check_inside(place / "archive", place)
