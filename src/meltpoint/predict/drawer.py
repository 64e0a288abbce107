"""Puts drawings and masks of answers into folders that mirror where their pictures are."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from meltpoint.errors import UserError
from meltpoint.files import whole_file
from meltpoint.images.decode import Pixels
from meltpoint.predict.answers import Answer
from meltpoint.predict.draw import draw_answer, place_of, write_drawing
from meltpoint.predict.legend import draw_masks
from meltpoint.predict.lettering import Lettering
from meltpoint.predict.masks import encode_mask

VIDEO = ".mp4"


class PlaceError(UserError, RuntimeError):
    """A place that cannot be written."""


@dataclass(frozen=True, eq=False)
class Drawer:
    """Where things go: drawings below `into`, masks below `masks`, None: nowhere. `letters` are of `legend.SIZES`."""

    featured: str
    letters: tuple[Lettering, ...]
    root: Path
    into: Path | None
    masks: Path | None

    def keep(self, seen: tuple[Answer, Pixels | None]) -> Answer:
        """Write what is wanted of a picture, and give its answer back.

        Raises:
            PlaceError: a file cannot be written.
        """
        answer, shown = seen
        if answer.source is None or answer.error is not None:
            return answer
        try:
            if self.into is not None and shown is not None:
                write_drawing(self.draw(shown, answer), place_of(answer.source, self.root, self.into))
            if self.masks is not None:
                self._write_masks(answer, answer.source, self.masks)
        except OSError as error:
            raise PlaceError(
                f"What was made of {answer.source} cannot be written: {error}. Choose other folders for --draw and "
                "--masks."
            ) from error
        return answer

    def draw(self, shown: Pixels, answer: Answer) -> Image.Image:
        """The picture uint8 (H, W, 3) with its answer; see `draw_masks` and `draw_answer`."""
        if answer.masks:
            return draw_masks(shown, answer, self.letters, steady=False)
        return draw_answer(shown, answer, self.featured, self.letters[1])

    def draw_frame(self, shown: Pixels, answer: Answer) -> Image.Image:
        """The same for a frame: drawings of frames of one size are of one size, as far as can be."""
        if answer.masks:
            return draw_masks(shown, answer, self.letters, steady=True)
        return draw_answer(shown, answer, self.featured, self.letters[1])

    def place_of_video(self, path: Path) -> Path | None:
        """Where the drawn video goes."""
        return place_of(str(path), self.root, self.into, VIDEO) if self.into else None

    def _write_masks(self, answer: Answer, source: str, into: Path) -> None:
        """A PNG for each head; of several, each has a folder."""
        for head, said in answer.masks.items():
            place = place_of(source, self.root, into / head if len(answer.masks) > 1 else into, ".png")
            with whole_file(place) as temporary:
                temporary.write_bytes(encode_mask(said.mask, [area.colour for area in said.legend]))
