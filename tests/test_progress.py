"""What a person sees: the closing line, and the sizes in it."""

from pathlib import Path

import pytest

from meltpoint.progress import Stopwatch, megabytes, peak_megabytes, track


def test_the_closing_line_says_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(2_500_000))
    Stopwatch("split").close("3 images", tmp_path)
    line = capsys.readouterr().out
    assert line.startswith("split: 3 images, 0.")
    assert f"2.5 MB in {tmp_path}" in line


def test_megabytes_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(bytes(1_000_000))
    (tmp_path / "b").write_bytes(bytes(500_000))
    assert megabytes(tmp_path / "deep", tmp_path / "b") == pytest.approx(1.5)


def test_costs_are_seconds_and_memory() -> None:
    costs = Stopwatch("embed").costs()
    assert costs["seconds"] >= 0
    assert 10 < costs["peak_megabytes"] <= peak_megabytes() + 1


def test_a_bar_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    assert "counting: 100%" in capsys.readouterr().err
