"""How files of pictures begin: enough to tell a picture from anything else before it is decoded."""

from importlib.util import find_spec

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
HEIF = "pillow_heif"  # the package of the extra `heif`


def brand_of(start: bytes) -> bytes:
    """The brand of a file in ISO's base media format (HEIC, AVIF, MP4); empty for any other."""
    return start[8:12] if start[4:8] == b"ftyp" else b""


def is_image(start: bytes) -> bool:
    """Whether these first bytes (16 or more) are of a JPEG, PNG, GIF, BMP, TIFF, JPEG 2000, WebP or AVIF.

    Or of HEIC, where the extra that reads it is installed.
    """
    webp, brand = start.startswith(b"RIFF") and start[8:12] == b"WEBP", brand_of(start)
    heic = brand in HEIC_BRANDS and find_spec(HEIF) is not None
    return start.startswith(MAGIC) or webp or brand in AVIF_BRANDS or heic


def what_it_is(start: bytes, announced: str) -> str:
    """What a response that is no readable image is: an unsupported image format, else the announced type."""
    if brand_of(start) in HEIC_BRANDS:
        return "HEIC, which needs the extra: pip install pillow-heif"
    if start.startswith(JPEG_XL):
        return "JPEG XL, which is not read"
    return f"no image but {announced.partition(';')[0].strip()[:40] or 'something else'}"
