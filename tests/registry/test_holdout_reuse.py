"""How many models were judged on a test set is counted, also while a few images come and go."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meltpoint.compare.intervals import optimism
from meltpoint.registry.holdout_reuse import JUDGED, Judged, judged_on, reuse_of, sketch, write_judged


def hashes(start: int, end: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(start, end)]


def line(models: list[str], test: list[str], spread: float | None = 0.01) -> Judged:
    return Judged("2026-01-01T00:00:00+00:00", "shapes", len(test), "accuracy", spread, models, sketch(test))


def test_models_are_counted_once_on_nearly_the_same_images(tmp_path: Path) -> None:
    write_judged(tmp_path, line(["a", "b"], hashes(0, 600)))
    write_judged(tmp_path, line(["b", "a"], hashes(0, 600)))
    assert len((tmp_path / JUDGED).read_text().splitlines()) == 1, "nothing new"
    write_judged(tmp_path, line(["c", "a"], hashes(30, 640)))
    reuse = reuse_of(tmp_path, "shapes")
    assert reuse is not None
    assert reuse.models == 3
    assert "3 models judged on this test set of 610 images" in str(reuse)
    assert "too well here; label fresh images" in str(reuse)
    assert reuse_of(tmp_path, "other") is None
    write_judged(tmp_path, replace(line(["a"], hashes(0, 600)), model="other"))
    other = reuse_of(tmp_path, "other", "a")
    assert other is not None, "models known under another registered name are judged anew under this one"
    assert other.models == 1


def test_fresh_images_begin_a_new_count(tmp_path: Path) -> None:
    write_judged(tmp_path, line(["a", "b"], hashes(0, 600)))
    write_judged(tmp_path, line(["c"], hashes(600, 1200)))
    reuse = reuse_of(tmp_path, "shapes")
    assert reuse is not None
    assert reuse.models == 1
    assert judged_on(sketch(hashes(0, 600)), [line(["a"], hashes(0, 590)), line(["b"], hashes(5000, 5600))]) == {"a"}


def test_the_best_of_twenty_equals_is_as_much_too_high_as_told() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 0.01, (20_000, 20)).max(1).mean()
    assert optimism(20, 0.01) == pytest.approx(drawn, rel=0.02)
    assert optimism(1, 0.01) == 0
