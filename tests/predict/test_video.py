"""Videos of common kinds are read as they are seen, and written so that they can be read again, or not at all."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from meltpoint.predict.video import Frame, VideoError, is_video, read_film, read_frames, write_video

Array = np.ndarray[Any, Any]
COLOURS = [(220, 30, 30), (30, 200, 30), (40, 60, 230), (230, 230, 230)]


def frame(number: int, height: int = 48, width: int = 64) -> Array:
    """One colour, another each time, with a dark upper left corner."""
    pixels = np.full((height, width, 3), COLOURS[number % len(COLOURS)], np.uint8)
    pixels[: height // 2, : width // 2] = 10
    return pixels


def encode(
    path: Path, frames: Iterator[Array] | list[Array], codec: str, rotation: int = 0, sound: bool = False
) -> None:
    """Write a video with another program's settings than ours."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("aac", rate=44100) if sound else None
        if rotation:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            if not number:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        if audio:
            keep_silent(container, audio)


def keep_silent(container: Any, audio: Any) -> None:
    silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
    silence.sample_rate = 44100
    container.mux(audio.encode(silence))
    container.mux(audio.encode(None))


def close(pixels: Array, expected: Array) -> bool:
    """The same but for what a codec loses."""
    return pixels.shape == expected.shape and float(np.abs(pixels.astype(int) - expected).mean()) < 15


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"),
        (".mov", "mpeg4"),
        (".avi", "mpeg4"),
        (".mkv", "libx264"),
        (".webm", "libvpx-vp9"),
        (".ts", "libx264"),
        (".wmv", "mpeg4"),
    ],
)
def test_common_files_are_read(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"clip{suffix}"
    encode(path, [frame(n) for n in range(8)], codec, sound=suffix == ".mp4")
    assert is_video(path)
    film, frames = read_film(path), list(read_frames(path))
    assert film.rate == 10
    assert film.frames is None or 7 <= film.frames <= 12
    assert len(frames) == 8
    assert all(close(own.pixels, frame(n)) for n, own in enumerate(frames))
    np.testing.assert_allclose([own.seconds for own in frames], np.arange(8) / 10, atol=0.02)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_turned_video_is_seen_upright(tmp_path: Path, rotation: int) -> None:
    encode(tmp_path / "a.mp4", [frame(0)] * 3, "libx264", rotation)
    upright = np.rot90(frame(0), rotation // 90)
    assert close(next(read_frames(tmp_path / "a.mp4")).pixels, upright)


@pytest.mark.parametrize("content", [b"", b"no video", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"])
def test_what_is_no_video_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError) as caught:
        read_film(tmp_path / "a.mp4")
    assert caught.value.reason == "not a video"
    with pytest.raises(VideoError, match="unreadable file"):
        read_film(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        keep_silent(container, container.add_stream("aac", rate=44100))
    with pytest.raises(VideoError, match="there are no pictures in it"):
        list(read_frames(tmp_path / "a.mp4"))


@pytest.mark.parametrize(("suffix", "noise"), [(".mp4", True), (".mp4", False), (".mkv", False)])
def test_a_damaged_video_gives_what_can_be_read_and_then_says_so(tmp_path: Path, suffix: str, noise: bool) -> None:
    whole = tmp_path / f"a{suffix}"
    encode(whole, [np.random.default_rng(n).integers(0, 256, (48, 64, 3), np.uint8) for n in range(12)], "libx264")
    content = bytearray(whole.read_bytes())
    middle, part = len(content) // 2, len(content) // 4
    content[middle : middle + part] = np.random.default_rng(0).bytes(part) if noise else bytes(part)
    (tmp_path / f"b{suffix}").write_bytes(bytes(content))
    frames: list[Frame] = []
    with pytest.raises(VideoError) as caught:
        for own in read_frames(tmp_path / f"b{suffix}"):
            frames.append(own)
    assert caught.value.reason == "damaged video"
    assert 1 <= len(frames) < 12


def test_a_written_video_can_be_read_again_with_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.35, 0.4, 1.0]
    with write_video(tmp_path / "out" / "a.mp4", 48, 64, Fraction(10)) as write:
        for number, seconds in enumerate(times):
            write(frame(number), seconds)
    frames = list(read_frames(tmp_path / "out" / "a.mp4"))
    np.testing.assert_allclose([own.seconds for own in frames], times, atol=0.001)
    for number, own in enumerate(frames):
        np.testing.assert_allclose(own.pixels[30:, 40:].mean((0, 1)), COLOURS[number % 4], atol=8)
    with av.open(str(tmp_path / "out" / "a.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].codec_context.name == "h264"


def test_frames_of_equal_times_are_all_kept(tmp_path: Path) -> None:
    with write_video(tmp_path / "a.mp4", 48, 64, Fraction(10)) as write:
        for seconds in (0.0, 0.0, 0.0, 0.2, 0.1):
            write(frame(0), seconds)
    times = [own.seconds for own in read_frames(tmp_path / "a.mp4")]
    assert len(times) == 5
    assert times == sorted(set(times))


def test_a_video_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_video(tmp_path / "a.mp4", 48, 64, Fraction(10)) as write:
        write(frame(0), 0.0)
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "yes"), [("a.MP4", True), ("a/b.webm", True), ("a.gif", False), ("mp4", False)])
def test_videos_go_by_their_suffix(name: str, yes: bool) -> None:
    assert is_video(name) is yes
