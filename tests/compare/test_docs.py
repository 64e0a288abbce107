"""The numbers of docs/segmentation.md are what the code computes, and its example is what params.yaml takes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from meltpoint.metrics import from_pixels
from meltpoint.params.read import parse_params

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8")
IMAGES = {
    row[0]: np.array(row[1:], np.int64).reshape(2, 3)  # road and cyclist; tp, fp, fn
    for row in re.findall(r"^\| ([A-D])" + r" \| (\d+)" * 6 + r" \|$", PAGE, flags=re.M)
}
AVERAGES = re.findall(r"^\| (?:nothing|images|batches): ([A-D+, ]+) \| ([\d.]+)% \|$", PAGE, flags=re.M)


def mean_iou(images: str) -> float:
    """Of images such as A+C, added up."""
    tp, fp, fn = sum(IMAGES[name] for name in images.split("+")).T
    return float(from_pixels(tp, fp, fn)["miou"])


def test_images_have_a_hundred_pixels() -> None:
    assert list(IMAGES) == ["A", "B", "C", "D"]
    for counts in IMAGES.values():
        assert counts[:, [0, 2]].sum() == 100
        assert counts[:, 1].sum() == counts[:, 2].sum(), "what one class lacks, another has too much"


def test_the_page_shows_every_way_to_average() -> None:
    assert [parts for parts, _ in AVERAGES] == ["A+B+C+D", "A, B, C, D", "A+B, C+D", "A+C, B+D"]


@pytest.mark.parametrize(("parts", "told"), AVERAGES)
def test_averages_are_those_told(parts: str, told: str) -> None:
    assert f"{100 * np.mean([mean_iou(part) for part in parts.split(', ')]):.1f}" == told


def test_the_text_says_the_same_as_the_tables() -> None:
    tp, fp, fn = sum(IMAGES.values()).T
    for told in (f"{iou:.1%}" for iou in tp / (tp + fp + fn)):
        assert told in PAGE
    whole, *others = (100 * np.mean([mean_iou(part) for part in parts.split(", ")]) for parts, _ in AVERAGES)
    assert f"by {min(others) - whole:.0f} to {max(others) - whole:.0f} points" in PAGE


def test_the_example_is_valid() -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)[0]
    preset: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    preset["register"]["floors"] = {}
    assert parse_params(preset | yaml.safe_load(example), "docs/segmentation.md").task.kind == "segmentation"


@pytest.mark.parametrize("kind", ["dense_linear", "dense_conv", "dense_pyramid"])
def test_every_head_is_told(kind: str) -> None:
    assert f"| `{kind}` |" in PAGE
    assert (ROOT / "src" / "meltpoint" / "model" / "heads" / f"{kind}.py").exists()
