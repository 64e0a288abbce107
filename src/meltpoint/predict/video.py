"""Video files in and out: upright frames with their times, whatever the format; MP4 without sound, whole or not at all.

Nothing else imports PyAV. A frame is in memory only while it is used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meltpoint.arrays import Pixels
from meltpoint.errors import UserError
from meltpoint.files import whole_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
LOCAL = {"protocol_whitelist": "file"}  # a playlist in disguise reaches nothing else
USUAL, FASTEST = Fraction(25), Fraction(240)  # frames a second: where a file does not say, and at most
TICKS = 90_000  # a second: the times of frames are counted in these
QUALITY = {"crf": "20", "preset": "veryfast"}  # of x264: no loss that is seen
BT709, LIMITED = 1, 1  # the colours that players expect

Write = Callable[[Pixels, float], None]


class VideoError(UserError, RuntimeError):
    """A file is no video that can be read; `reason` says why in a few words."""

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(
            f"The video {path} cannot be used: {reason} ({detail}). Allowed is what FFmpeg reads of the suffixes "
            f"{' '.join(SUFFIXES)}. Check the file, or convert it to MP4."
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame as it is to be seen, uint8 (H, W, 3) RGB, and when, in seconds from the start."""

    pixels: Pixels
    seconds: float


@dataclass(frozen=True)
class Film:
    """What a file says of itself: frames a second, and how many frames, if it says so."""

    rate: Fraction
    frames: int | None


def is_video(path: str | Path) -> bool:
    """Whether a file's name ends as those of videos do."""
    return Path(path).suffix.lower() in SUFFIXES


def read_film(path: Path) -> Film:
    """What there is to come.

    Raises:
        VideoError: no file, or no video in it.
    """
    with _opened(path) as (container, stream):
        rate = min(stream.average_rate or stream.guessed_rate or USUAL, FASTEST)
        seconds = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        if seconds is None and container.duration:
            seconds = Fraction(container.duration, 1_000_000)
        return Film(rate, stream.frames or (round(seconds * rate) if seconds else None))


def read_frames(path: Path) -> Iterator[Frame]:
    """Every frame of a video, in order, turned as its file says. Damaged parts are skipped.

    Raises:
        VideoError: no file, no video in it, or, once all that can be read was read, parts that are damaged.
    """
    from av.error import FFmpegError

    damaged = 0
    with _opened(path) as (container, stream):
        start, last, step = None, -1.0, float(1 / (stream.average_rate or USUAL))
        packets = container.demux(stream)
        while True:
            try:
                frames = next(packets).decode()
            except StopIteration:
                break
            except FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                time = last + step if frame.time is None else frame.time
                start = time if start is None else start
                last = time
                damaged += frame.is_corrupt  # made up for from its neighbours
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                yield Frame(np.ascontiguousarray(upright, dtype=np.uint8), max(0.0, time - start))
    if damaged:
        raise VideoError(path, "damaged video", f"{damaged} parts of it")


@contextmanager
def write_video(path: Path, height: int, width: int, rate: Fraction) -> Iterator[Write]:
    """Yield a function that writes a frame uint8 (height, width, 3) for a time in seconds; both sides are even.

    The file, H.264 in MP4, appears when all is written.
    """
    import av

    assert not height % 2, "H.264 halves the resolution of colours"
    assert not width % 2
    with whole_file(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=QUALITY)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.colorspace, stream.color_primaries, stream.color_trc = BT709, BT709, BT709
        stream.color_range = LIMITED
        stream.codec_context.time_base = Fraction(1, TICKS)
        last = -1

        def write(pixels: Pixels, seconds: float) -> None:
            nonlocal last
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            last = max(last + 1, round(seconds * TICKS))
            frame.pts, frame.time_base = last, Fraction(1, TICKS)
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


@contextmanager
def _opened(path: Path) -> Iterator["tuple[InputContainer, VideoStream]"]:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(f"file:{path}", "r", options=LOCAL)
    except FFmpegError as error:
        reason = "unreadable file" if isinstance(error, OSError) else "not a video"
        raise VideoError(path, reason, str(error.strerror)) from None
    with container:
        if not container.streams.video:
            raise VideoError(path, "not a video", "there are no pictures in it")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream
