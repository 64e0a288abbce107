"""A video becomes an answer for each frame and a video with the answers on it, in the memory of a few frames."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from meltpoint.predict import frames as frames_module
from meltpoint.predict.batch import Batch, Summary, run_batch
from meltpoint.predict.drawer import Drawer
from meltpoint.predict.fonts import SIZES, open_fonts
from meltpoint.predict.frames import answer_frames
from meltpoint.predict.records import Answer, Question
from meltpoint.predict.video import Film, Frame, read_frames, write_video
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_display

if TYPE_CHECKING:
    from saved_models import Kit

FRAMES, HEIGHT, WIDTH = 12, 96, 128


@pytest.fixture
def clip(tmp_path: Path, kit: "Kit") -> Path:
    """A scene that turns around half way."""
    path = tmp_path / "clip.mp4"
    with write_video(path, HEIGHT, WIDTH, Fraction(10)) as write:
        for number in range(FRAMES):
            pixels = kit.scene(HEIGHT, WIDTH)[0]
            write(pixels if number < FRAMES // 2 else pixels[:, ::-1], number / 10)
    return path


def run(predictor: Answerer, given: list[Path], draw: Path | None) -> tuple[list[dict[str, Any]], Summary]:
    out = io.StringIO()
    job = Batch([str(path) for path in given], 2, None, "json", draw, None, None, window=False)
    tally = run_batch(predictor, load_display(predictor.card.task), job, out)
    return [json.loads(line) for line in out.getvalue().splitlines()], tally


def as_it_is(pixels: Any, answer: Any) -> Any:
    return frames_module.Image.fromarray(pixels)


def test_each_frame_has_an_answer_with_its_time(painter: Answerer, clip: Path, kit: "Kit") -> None:
    told, tally = run(painter, [clip], None)
    assert [line["source"] for line in told] == [f"{clip}#t={number / 10:.3f}" for number in range(FRAMES)]
    water = [{area["label"]: area["share"] for area in line["heads"]["scene"]["areas"]} for line in told]
    assert [areas["water"] for areas in water] == pytest.approx([0.25] * FRAMES, abs=0.02)
    assert (tally.good, tally.frames, tally.answered) == (0, FRAMES, FRAMES)
    assert tally.sentence == f"{FRAMES} frames answered"


def test_the_drawn_video_shows_every_frame_under_its_mask(painter: Answerer, clip: Path, tmp_path: Path) -> None:
    _, tally = run(painter, [clip], tmp_path / "out")
    assert tally.sentence.endswith(f"drawn in {tmp_path / 'out'}")
    shown = list(read_frames(tmp_path / "out" / "clip.mp4.mp4"))
    assert [frame.seconds for frame in shown] == pytest.approx([number / 10 for number in range(FRAMES)], abs=0.01)
    first, last = shown[0].pixels.astype(int), shown[-1].pixels.astype(int)
    assert first.shape[0] > HEIGHT
    left = (first.shape[1] - WIDTH) // 2
    blue = [frame[HEIGHT - 8, left + 8, 2] - frame[HEIGHT - 8, left + WIDTH - 8, 2] for frame in (first, last)]
    assert blue[0] > 50 > -50 > blue[1], "water is left at first, and right in the end"
    legend = first[HEIGHT:]
    assert (legend > 240).all(-1).mean() > 0.5


def test_a_classifier_labels_frames(yogi: Answerer, clip: Path, tmp_path: Path) -> None:
    told, _ = run(yogi, [clip], tmp_path / "out")
    assert all(set(line["heads"]) == {"overall", "family", "pose", "indoors"} for line in told)
    shown = list(read_frames(tmp_path / "out" / "clip.mp4.mp4"))
    assert len(shown) == FRAMES
    assert len({frame.pixels.shape for frame in shown}) == 1


def test_pictures_and_videos_go_together_and_a_bad_one_stops_nothing(
    painter: Answerer, clip: Path, tmp_path: Path, kit: "Kit"
) -> None:
    (tmp_path / "1.png").write_bytes(kit.png(kit.scene(40, 40)[0]))
    (tmp_path / "bad.mkv").write_bytes(b"no video")
    told, tally = run(painter, [tmp_path / "bad.mkv", clip, tmp_path / "1.png"], tmp_path / "out")
    assert [line["error"] for line in told] == [None, "not a video", *[None] * FRAMES]
    assert tally.sentence.startswith(f"{FRAMES} frames answered, 1 picture answered, 1 cannot be used (1 not a video)")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png.jpg", "clip.mp4.mp4"]


@pytest.mark.parametrize("shapes", [[(95, 127)] * 3, [(96, 128), (60, 200), (200, 60)], [(1, 1), (700, 9)]])
def test_frames_of_odd_and_changing_sizes_fit(
    painter: Answerer, tmp_path: Path, kit: "Kit", monkeypatch: pytest.MonkeyPatch, shapes: list[tuple[int, int]]
) -> None:
    shown = [Frame(kit.scene(*shape)[0], number / 5) for number, shape in enumerate(shapes)]
    monkeypatch.setattr(frames_module, "read_frames", lambda path: iter(shown))
    place = tmp_path / "out.mp4"

    answers = list(
        answer_frames(painter, Path("a.mp4"), Film(Fraction(5), None), Question(1, None, False), as_it_is, place)
    )
    assert [answer.masks["scene"].mask.shape for answer in answers] == shapes
    written = [frame.pixels for frame in read_frames(place)]
    size = (shapes[0][0] + shapes[0][0] % 2, shapes[0][1] + shapes[0][1] % 2, 3)
    assert [pixels.shape for pixels in written] == [size] * len(shapes)
    for (height, width), pixels in zip(shapes, written, strict=True):
        below = round(height * min(1, size[1] / width, size[0] / height)) + 4
        assert (pixels[below:] > 230).all(), "made small, not cut"


def test_legends_of_frames_name_all_classes(painter: Answerer, tmp_path: Path, kit: "Kit") -> None:
    fonts = tuple(open_fonts(size, None, None) for size in SIZES)
    drawer = Drawer(load_display("segmentation"), "scene", fonts, tmp_path, tmp_path, None)
    grass = kit.scene(60, 60)[0][:1, :1].repeat(60, 0).repeat(60, 1)
    said = painter.predict(grass)
    assert isinstance(said, Answer)
    legends = [np.asarray(drawer.draw(grass, said, steady))[60:] for steady in (True, False)]
    assert [(legend == [0x20, 0x40, 0xE0]).all(-1).any() for legend in legends] == [True, False]


def test_a_long_video_is_read_only_a_little_ahead(
    painter: Answerer, tmp_path: Path, kit: "Kit", monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def endless(path: Path) -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield Frame(kit.scene(16, 16)[0], taken / 10)

    monkeypatch.setattr(frames_module, "read_frames", endless)
    place = tmp_path / "out.mp4"

    answers = answer_frames(painter, Path("a.mp4"), Film(Fraction(10), None), Question(1, None, False), as_it_is, place)
    for _ in range(20):
        next(answers)
    assert taken <= 20 + 8 * frames_module.BATCH
    answers.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir()), "what is not whole is not there"


def test_the_drawn_video_has_no_sound(painter: Answerer, clip: Path, tmp_path: Path) -> None:
    run(painter, [clip], tmp_path / "out")
    with av.open(str(tmp_path / "out" / "clip.mp4.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert np.isclose(float(container.duration or 0) / 1e6, FRAMES / 10, atol=0.1)
