"""Pictures that an assistant sends or names: in base64, or as files of one folder that was allowed; no others."""

import os
import stat
from pathlib import Path

from meltpoint.errors import UserError
from meltpoint.predict.inputs import is_address
from meltpoint.serving.responses import read_image


class PictureError(UserError, ValueError):
    """A picture is not one that may be read."""


def read_sent(image: str | None, path: str | None, folder: Path | None, most: int) -> bytes:
    """The bytes of the one picture of a call, at most `most`: `image` is base64 text, `path` a file of `folder`.

    What is outside of the folder is not looked at, so that the answer does not say whether it exists; no address is
    fetched. `folder` None: no path is allowed.

    Raises:
        PictureError: neither or both are given, or the one that is given may not or cannot be read.
    """
    if (image is None) == (path is None):
        raise PictureError("Give one picture: either `image`, the base64 text of its file, or `path`. Not both.")
    if image is not None:
        content = read_image(image, most)
        if isinstance(content, str):
            raise PictureError(f"The picture is {content}. Send the base64 text of an image file as `image`.")
        return content
    assert path is not None
    if folder is None or is_address(path):
        what = "Addresses are not fetched" if is_address(path) else "No folder of pictures was allowed"
        raise PictureError(
            f"{what}. Send the picture as `image`, in base64; or start `meltpoint mcp` with --pictures FOLDER, and name"
            " a file of it."
        )
    return _read_file(path, folder, most)


def _read_file(path: str, folder: Path, most: int) -> bytes:
    root, refused = folder.resolve(), f"{path[:200]!r} is no picture in the folder that was allowed, or cannot be read."
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise OSError
        # Links were followed above: one that is put there since is refused. A pipe is not waited for.
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:  # noqa: PTH123
            about = os.fstat(opened.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise OSError
            content = opened.read(most + 1)
    except (OSError, ValueError, RuntimeError):  # of a name with a zero byte, of links in a circle
        raise PictureError(f"{refused} Name a file below it, by its path in it.") from None
    if len(content) > most:
        raise PictureError(f"{path[:200]!r} has over {most:,} bytes; that many are allowed. Send a smaller picture.")
    return content
