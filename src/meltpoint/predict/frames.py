"""The frames of a video through a model: an answer for each, and the same video with the answers drawn."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from meltpoint.arrays import Pixels
from meltpoint.predict.records import Answer, Answering, Question
from meltpoint.predict.video import Film, VideoError, Write, read_frames, write_video
from meltpoint.prefetch import map_ahead

SIDE = 1920  # pixels: of a drawn frame's picture, at most
BATCH, DRAWN_AHEAD = 8, 4  # few: frames are large

Draw = Callable[[Pixels, Answer], Image.Image]


def answer_frames(
    answerer: Answering, path: Path, film: Film, question: Question, draw: Draw | None, place: Path | None
) -> Iterator[Answer]:
    """An answer for each frame, whose source is "path#t=seconds"; a damaged video ends with an answer that says so.

    `draw` makes the frames of the video that is written to `place`. All are as large as the first one.
    """
    times, trouble = deque[float](), list[str]()  # of the frames on their way; what went wrong at the end

    def frames() -> Iterator[Pixels]:
        try:
            for frame in read_frames(path):
                times.append(frame.seconds)
                yield frame.pixels
        except VideoError as error:
            trouble.append(error.reason)

    def drawing_of(seen: tuple[Answer, Pixels | None]) -> tuple[Answer, Image.Image | None]:
        answer, shown = seen
        return answer, draw(shown, answer) if draw is not None and shown is not None else None

    seen = answerer.look(frames(), question, BATCH, SIDE if draw else None)
    drawn = map_ahead(drawing_of, seen, DRAWN_AHEAD, None)
    with ExitStack() as stack:
        write: Write | None = None
        size = (0, 0)
        for answer, drawing in drawn:
            seconds = times.popleft()
            if drawing is not None and place is not None:
                if write is None:
                    size = (drawing.width + drawing.width % 2, drawing.height + drawing.height % 2)
                    write = stack.enter_context(write_video(place, size[1], size[0], film.rate))
                if drawing.width > size[0] or drawing.height > size[1]:
                    drawing.thumbnail(size)
                canvas = Image.new("RGB", size, "#ffffff")
                canvas.paste(drawing, ((size[0] - drawing.width) // 2, 0))
                write(np.asarray(canvas), seconds)
            yield replace(answer, source=f"{path}#t={seconds:.3f}")
    for reason in trouble:
        yield Answer(str(path), reason, {}, answerer.levels)
