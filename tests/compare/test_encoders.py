"""Strategies over several encoders: beside those of the same one, with its name and the side of its images."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from judged import CLASSES, Reports, make_recipes

from meltpoint.compare.decision import Decision, compare
from meltpoint.compare.decision_files import record_of
from meltpoint.compare.page import render_page
from meltpoint.compare.results import read_results
from meltpoint.compare.table import write_text
from meltpoint.params.judging import Compare
from meltpoint.tasks.classification import paired


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    reports = Reports(tmp_path / "reports")
    reports.results(frozen=(0.3, 5.0), finetune=(0.2, 90.0), large=(0.1, 20.0))
    recipes = make_recipes(["frozen", "large", "finetune"], CLASSES, "accuracy")
    recipes["large"].settings.encoder = "other"
    recipes["large"].encoder, recipes["large"].views = (
        SimpleNamespace(name="mobilenetv2_100"),
        SimpleNamespace(side=224),
    )
    costs = tmp_path / "reports" / "costs"
    shutil.copy(costs / "embed-lite0.json", costs / "embed-other.json")
    found = read_results(tmp_path / "reports", recipes, tmp_path / "classes.json", paired)
    return compare(found, Compare(metric="accuracy", margin=0.01, confidence=0.95, cost="train_seconds"))


def test_the_table_has_them_beside_each_other(decision: Decision) -> None:
    rows = [line.split("|")[1:3] for line in write_text(decision).splitlines() if " px " in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["frozen", "tf_efficientnet_lite0 at 128 px"],
        ["finetune", "tf_efficientnet_lite0 at 128 px"],
        ["**large**", "mobilenetv2_100 at 224 px"],
    ]


def test_so_has_compare_json(decision: Decision) -> None:
    assert [(row.name, row.encoder, row.side) for row in record_of(decision).strategies] == [
        ("frozen", "tf_efficientnet_lite0", 128),
        ("finetune", "tf_efficientnet_lite0", 128),
        ("large", "mobilenetv2_100", 224),
    ]


def test_so_has_the_page_and_its_picture(decision: Decision) -> None:
    page = render_page(decision)
    assert 'colspan="2">tf_efficientnet_lite0 at 128 px</th><th scope="colgroup" colspan="1">mobilenetv2_100' in page
    legend = re.findall(r'<span class="soft">(.*?)</span>', re.findall(r'<ul class="legend">.*?</ul>', page)[0])
    assert legend == ["tf_efficientnet_lite0 at 128 px", "tf_efficientnet_lite0 at 128 px", "mobilenetv2_100 at 224 px"]
    assert "All are of" not in page
