"""What a served model takes at most of a request; more than that is refused before it costs anything.

A served model has no params.yaml beside it: who serves it may set other limits in the environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from meltpoint.errors import UserError

DEFAULTS = {  # variable -> the limit where it is not set
    "MELTPOINT_SERVE_ROWS": 256.0,  # of one request
    "MELTPOINT_SERVE_MEGABYTES": 32.0,  # of one image's file, in 10**6 bytes
    "MELTPOINT_SERVE_MEGAPIXELS": 50.0,  # of one image, in 10**6 pixels
    "MELTPOINT_SERVE_REQUEST_MEGAPIXELS": 250.0,  # of all images of one request together
}


class LimitError(UserError, ValueError):
    """A limit in the environment is no number over 0."""


@dataclass(frozen=True)
class Limits:
    """At most so many rows in a request, and of each image so many bytes of its file and so many 10**6 pixels.

    `request_megapixels`: of all images of a request together; a server sees to it, and not who is given the images.
    """

    rows: int
    image_bytes: int
    megapixels: float
    request_megapixels: float


def read_limits(environment: Mapping[str, str]) -> Limits:
    """The usual limits, or those of an environment.

    Raises:
        LimitError: one of them is no number over 0.
    """
    values = dict(DEFAULTS)
    for name in DEFAULTS.keys() & environment.keys():
        came = environment[name]
        try:
            values[name] = float(came)
        except ValueError:
            values[name] = 0.0
        if not 0 < values[name] < float("inf"):
            raise LimitError(
                f"{name} is {came!r} in the environment. Allowed is a number over 0. Set one, or unset it: it is"
                f" {DEFAULTS[name]:g} then."
            )
    rows, megabytes, megapixels, request_megapixels = values.values()
    return Limits(max(1, int(rows)), int(megabytes * 1e6), megapixels, request_megapixels)
