"""A job answers for everything it is given, in order, and says what it could not use."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from meltpoint.images import fonts
from meltpoint.predict.batch import Batch, BatchError, Summary, run_batch
from meltpoint.predict.drawer import Drawer, PlaceError
from meltpoint.predict.records import Answer, PredictError
from meltpoint.tasks.answerer import Answerer
from meltpoint.tasks.contract import load_display

if TYPE_CHECKING:
    from saved_models import Kit

NAMES = ["2.PNG", "a/1.png", "a/broken.jpg", "a/sub/3.png", "b/1.png"]


def run(predictor: Answerer, given: list[str], **changes: Any) -> tuple[str, Summary]:
    facts: dict[str, Any] = {"top": 2, "language": None, "form": "lines", "draw": None, "font": None}
    facts |= {"masks": None, "window": False}
    out = io.StringIO()
    tally = run_batch(predictor, load_display(predictor.card.task), Batch(given, **(facts | changes)), out)
    return out.getvalue(), tally


def test_lines_are_in_order_and_bad_pictures_are_counted(yogi: Answerer, album: Path) -> None:
    text, tally = run(yogi, [str(album)])
    lines = text.splitlines()
    assert [line.split("  ")[0] for line in lines] == [str(album / name) for name in NAMES]
    assert "cannot be used" in lines[2]
    assert " > " in lines[0]
    assert (tally.good, tally.bad) == (4, 1)
    assert tally.sentence == (
        "4 pictures answered, 1 cannot be used (1 truncated), 3 other files (1 hidden, 1 no suffix, 1 .txt) skipped"
    )


def test_json_and_csv_can_be_read_again(yogi: Answerer, album: Path) -> None:
    lines = [json.loads(line) for line in run(yogi, [str(album)], form="json", language="zh")[0].splitlines()]
    rows = list(csv.DictReader(io.StringIO(run(yogi, [str(album)], form="csv", language="zh")[0])))
    assert [line["source"] for line in lines] == [row["source"] for row in rows] == [str(album / one) for one in NAMES]
    assert [line["error"] is not None for line in lines] == [bool(row["error"]) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        for head, said in line["heads"].items():
            assert (row[head], row[f"{head}.name"]) == (said["label"], said["name"])
    assert {row["overall.name"] for row in rows} <= {"躺臥", "站立", ""}


def test_drawings_mirror_the_pictures_in_their_own_size(yogi: Answerer, album: Path, tmp_path: Path) -> None:
    text, tally = run(yogi, [str(album)], draw=tmp_path / "out", language="zh")
    assert text.count("\n") == 5
    drawn = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert drawn == ["2.PNG.jpg", "a/1.png.jpg", "a/sub/3.png.jpg", "b/1.png.jpg"]
    pictures = [np.asarray(Image.open(tmp_path / "out" / name)) for name in ("a/1.png.jpg", "b/1.png.jpg")]
    assert (pictures[0][:60] != pictures[1][:60]).any(), "two files of one name stay two"
    original = np.asarray(Image.open(album / "b" / "1.png")).astype(int)
    left = (pictures[1].shape[1] - 80) // 2
    assert np.abs(pictures[1][:60, left : left + 80] - original).mean() < 12
    assert tally.sentence.endswith(f"drawn in {tmp_path / 'out'}")


def test_names_that_cannot_be_written_are_told(
    yogi: Answerer, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FONTS", ())
    tally = run(yogi, [str(album)], draw=tmp_path / "out", language="zh")[1]
    assert tally.sentence.endswith("5 names have letters that no installed font has (give a font with --font)")


def test_all_bad_is_a_tally_too(yogi: Answerer, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    tally = run(yogi, [str(tmp_path / "a.jpg"), str(tmp_path / "none.jpg")])[1]
    assert tally.good == 0
    assert tally.sentence == "0 pictures answered, 2 cannot be used (1 empty file, 1 unreadable file)"


def test_a_folder_without_pictures_is_told(yogi: Answerer, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(BatchError, match=r"There are no pictures in .*: only 1 other file \(1 .txt\)"):
        run(yogi, [str(tmp_path)])


@pytest.mark.parametrize("place", ["", "out", "a/out"])
def test_drawings_do_not_go_among_the_pictures(yogi: Answerer, album: Path, place: str) -> None:
    with pytest.raises(BatchError, match="be read as pictures the next time"):
        run(yogi, [str(album)], draw=album / place)


def test_a_place_that_cannot_be_written_is_told(yogi: Answerer, album: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceError, match="cannot be written"):
        run(yogi, [str(album)], draw=tmp_path / "file" / "out")


def test_an_impossible_question_is_told_before_anything_is_written(yogi: Answerer, album: Path) -> None:
    with pytest.raises(PredictError, match="in: en, zh"):
        run(yogi, [str(album)], language="fr")


def test_the_plain_heads_feature_the_main_one(predictor: Answerer, tmp_path: Path, kit: "Kit") -> None:
    (tmp_path / "a.png").write_bytes(kit.png(kit.noise(1)))
    line = run(predictor, [str(tmp_path)])[0]
    assert "; kind " in line
    assert line.count("(") == 1
    assert line.index("(") < line.index("; kind ")


def test_masks_are_drawn_written_and_told(painter: Answerer, tmp_path: Path, kit: "Kit") -> None:
    pixels, mask = kit.scene(48, 96)
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "1.png").write_bytes(kit.png(pixels))
    (tmp_path / "in" / "bad.png").write_bytes(b"text")
    given, places = [str(tmp_path / "in")], {"draw": tmp_path / "drawn", "masks": tmp_path / "masks"}
    text, tally = run(painter, given, form="json", language="zh", **places)
    bad, good = map(json.loads, text.splitlines())
    said = good["heads"]["scene"]
    assert (said["height"], said["width"]) == (48, 96)
    share = pytest.approx((mask == 0).mean(), abs=0.01)
    assert said["areas"][0] == {"label": "grass", "name": "草地", "colour": "#20c020", "share": share}
    assert sum(area["share"] for area in said["areas"]) == pytest.approx(1, abs=1e-5)
    assert (bad["heads"], bad["error"]) == ({}, "not an image")
    with Image.open(tmp_path / "masks" / "a" / "1.png.png") as written:
        assert (np.asarray(written) != mask).mean() < 0.01
    with Image.open(tmp_path / "drawn" / "a" / "1.png.jpg") as drawn:
        assert drawn.height > 48
    assert [path.name for path in (tmp_path / "masks").rglob("*.*")] == ["1.png.png"]
    assert (tally.good, tally.bad) == (1, 1)


def test_areas_are_a_line_and_a_row(painter: Answerer, tmp_path: Path, kit: "Kit") -> None:
    pixels, mask = kit.scene(64, 64)
    (tmp_path / "1.png").write_bytes(kit.png(pixels))
    line = run(painter, [str(tmp_path)], language="zh")[0]
    assert line.startswith(f"{tmp_path / '1.png'}  scene 草地 ")
    assert "水 25.0%" in line
    row = next(csv.DictReader(io.StringIO(run(painter, [str(tmp_path)], form="csv")[0])))
    assert float(row["scene.area.water"]) == pytest.approx((mask == 1).mean(), abs=0.01)
    assert float(row["scene.area.rock"]) == pytest.approx((mask == 2).mean(), abs=0.01)


def test_masks_need_a_model_that_tells_them_and_pictures(
    predictor: Answerer, painter: Answerer, tmp_path: Path, kit: "Kit"
) -> None:
    (tmp_path / "1.png").write_bytes(kit.png(kit.noise(1)))
    with pytest.raises(BatchError, match="There are no masks to write"):
        run(predictor, [str(tmp_path)], masks=tmp_path.parent / "out")
    with pytest.raises(BatchError, match="Masks are written for pictures"):
        run(painter, [str(tmp_path / "clip.mp4")], masks=tmp_path.parent / "out")
    with pytest.raises(BatchError, match="another folder for --masks"):
        run(painter, [str(tmp_path)], masks=tmp_path / "out")
    with pytest.raises(PredictError, match="Windows are for masks"):
        run(predictor, [str(tmp_path)], window=True)


def test_masks_of_several_heads_have_folders(painter: Answerer, tmp_path: Path, kit: "Kit") -> None:
    said = painter.predict(kit.scene(40, 40)[0])
    assert isinstance(said, Answer)
    both = Answer(str(tmp_path / "1.png"), None, {}, (), {"a": said.masks["scene"], "b": said.masks["scene"]})
    Drawer(load_display("segmentation"), "a", (), tmp_path, None, tmp_path / "out").keep((both, None))
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png")) == ["a", "b"]
