"""Which formats of pictures are read, and what messages say about others: their name, and how to convert them."""

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from PIL import Image

from meltpoint.signatures import AVIF_BRANDS, HEIC_BRANDS, HEIF, brand_of

# Formats that are pictures and nothing more: EPS, PDF and WMF are programs, others have no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
DICOM = "pydicom"  # the package of the extra `dicom`
START = 512  # bytes of a file that are looked at
SCANS, PARTS = 100, 10_000  # of a JPEG at most; libtiff allows as many scans
LETTERS = (b"P1", b"P2", b"P3")  # what a PPM begins with whose pixels are numbers in letters
JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # no stuffed byte, nor one of those that have no length
AS_PNG = "convert it to PNG"


class RefusedError(Exception):
    """A reason and a detail; `decode` makes an ImageError of it, with the picture's name."""


class Format(NamedTuple):
    """A format that is known by its first bytes: their position, its name, and how to convert it to a picture."""

    offset: int
    signature: bytes
    name: str
    fix: str


PROGRAM = "save its pages as PNG; such files are programs to be run"
VIDEO = "save its frames as pictures: ffmpeg -i VIDEO FRAME-%05d.png"
RAW = "develop it to TIFF or JPEG, as with dcraw or rawtherapee-cli"
KNOWN = (
    Format(0, b"%!PS", "PostScript", PROGRAM),
    Format(0, b"\xc5\xd0\xd3\xc6", "EPS", PROGRAM),
    Format(0, b"%PDF", "PDF", "save its pages as PNG: pdftoppm -png FILE PAGE"),
    Format(0, b"\xd7\xcd\xc6\x9a", "WMF", PROGRAM),
    Format(0, b"\x01\x00\x00\x00", "EMF", PROGRAM),
    Format(0, b"\xff\x0a", "JPEG XL", "djxl FILE PICTURE.png"),
    Format(0, b"\x00\x00\x00\x0cJXL ", "JPEG XL", "djxl FILE PICTURE.png"),
    Format(0, b"II\xbc\x01", "JPEG XR", "JxrDecApp -i FILE -o PICTURE.tif"),
    Format(0, b"\x00\x00\x01\x00", "ICO (icon)", AS_PNG),
    Format(0, b"8BPS", "PSD (Photoshop)", "export it as PNG"),
    Format(0, b"gimp xcf", "XCF (GIMP)", "export it as PNG"),
    Format(0, b"v/1\x01", "OpenEXR", "convert it to a float TIFF"),
    Format(0, b"#?RADIANCE", "Radiance HDR", "convert it to a float TIFF"),
    Format(0, b"SIMPLE  =", "FITS", "convert it to a 16-bit or float TIFF"),
    Format(0, b"version https://git-lfs.github.com/", "a pointer of Git LFS", "get the file itself: git lfs pull"),
    Format(0, b"\x93NUMPY", "a NumPy array", "save it as PNG or TIFF"),
    Format(0, b"FUJIFILMCCD-RAW", "raw of a Fujifilm camera", RAW),
    Format(0, b"IIRO", "raw of an Olympus camera", RAW),
    Format(0, b"IIU\x00", "raw of a Panasonic camera", RAW),
    Format(0, b"FOVb", "raw of a Sigma camera", RAW),
    Format(8, b"CR\x02", "raw of a Canon camera", RAW),
    Format(4, b"ftypcrx ", "raw of a Canon camera", RAW),
    Format(0, b"\x1aE\xdf\xa3", "video (Matroska or WebM)", VIDEO),
    Format(0, b"FLV\x01", "video (FLV)", VIDEO),
    Format(8, b"AVI ", "video (AVI)", VIDEO),
    Format(0, b"\x00\x00\x01\xba", "video (MPEG)", VIDEO),
)
EXTRA = "install the extra: pip install {package}; or convert it to {other}"
BARE_ELEMENTS = (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x12\x00", b"\x16\x00", b"\x18\x00")
BARE_TYPES = (b"UL", b"OB", b"CS", b"DA", b"UI")
DICOM_SUFFIXES = (".dcm", ".dicom")


@cache
def readable() -> tuple[str, ...]:
    """The formats that Pillow reads here: those allowed that this build knows, and HEIF with its extra."""
    Image.init()  # Pillow knows no format it is asked for by name before
    found = [name for name in FORMATS if name in Image.OPEN]
    if find_spec(HEIF):
        import_module(HEIF).register_heif_opener()
        found.append("HEIF")
    return tuple(found)


def has_dicom() -> bool:
    """Whether the extra that reads DICOM is installed."""
    return find_spec(DICOM) is not None


def is_dicom(start: bytes) -> bool:
    """Whether a file begins as DICOM part 10 has it (PS3.10, section 7.1)."""
    return start[128:132] == b"DICM"


def check_start(start: bytes) -> None:
    """Refuse a file by its first bytes: empty, or of a known format that is not read.

    Raises:
        RefusedError: with the format's name and how to convert it.
    """
    if not start:
        raise RefusedError("empty file", "zero bytes")
    found = next((one for one in KNOWN if start.startswith(one.signature, one.offset)), None) or _by_content(start)
    if found and not (found.name == "HEIC" and "HEIF" in readable()):
        raise RefusedError(f"format not allowed: {found.name}; {found.fix}", "its first bytes say so")


def check_raw(image: Image.Image) -> None:
    """Refuse a camera's raw file that opens as a TIFF: what opens is the small preview in it.

    Raises:
        RefusedError: its first part is a preview, or it is a DNG.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    preview = tags.get(254) == 1 and 330 in tags  # NewSubfileType: of reduced resolution; SubIFDs: where the rest is
    if preview or 50706 in tags:  # DNGVersion
        name = "raw of a camera (DNG)" if 50706 in tags else "raw of a camera"
        raise RefusedError(f"format not allowed: {name}; {RAW}", "a TIFF that begins with a preview")


def check_scans(content: bytes) -> None:
    """Refuse a JPEG of more scans than any program writes: each of 75 bytes goes over all pixels again.

    Raises:
        RefusedError: there are more than SCANS before its end, or parts without number.
    """
    if content.count(SCAN) > SCANS:  # they may be chance, as in a video behind the picture
        place, scans = len(JPEG), 0
        for _ in range(PARTS):  # ITU-T T.81, B.1.1: a marker and, unless it is the end, a length
            marker = MARKER.search(content, place)
            scans += marker is not None and marker[0] == SCAN
            if scans > SCANS:
                break
            if marker is None or marker[0] == END:
                return
            place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
        detail = f"more than {SCANS} scans or {PARTS:,} parts; a camera writes one scan, a progressive JPEG about 10"
        raise RefusedError("too many scans", detail)


def check_letters(content: bytes) -> None:
    """Refuse a PPM in letters of more comments than any program writes: what follows one is moved.

    Raises:
        RefusedError: there are more than PARTS.
    """
    if (comments := content.count(b"#")) > PARTS:
        raise RefusedError("too many parts", f"{comments:,} comments; programs write one")


def _by_content(start: bytes) -> Format | None:
    """Formats whose signature takes more than a comparison."""
    if is_dicom(start) and not has_dicom():
        return Format(128, b"DICM", "DICOM", EXTRA.format(package=DICOM, other="a 16-bit PNG"))
    # Without its preamble DICOM begins with an element of group 2 or 8 (PS3.5, section 7.1), of a known or no type.
    group, element = start[:2] in (b"\x02\x00", b"\x08\x00"), start[2:4] in BARE_ELEMENTS
    if group and element and (start[4:6] in BARE_TYPES or int.from_bytes(start[4:8], "little") <= 64):
        return Format(0, start[:4], "DICOM without its preamble", "add one, as dcmconv FILE NEW.dcm does")
    brand = brand_of(start)
    if brand in HEIC_BRANDS:
        return Format(4, brand, "HEIC", EXTRA.format(package="pillow-heif", other="JPEG"))
    if brand in AVIF_BRANDS:
        return None if "AVIF" in readable() else Format(4, brand, "AVIF", AS_PNG)
    if brand or start[4:8] in (b"moov", b"mdat", b"wide"):
        return Format(4, brand, "video (MP4 or QuickTime)", VIDEO)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    drawing = text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in text)
    return Format(0, b"<svg", "SVG", "draw it as PNG: rsvg-convert FILE -o PICTURE.png") if drawing else None
