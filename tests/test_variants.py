"""Params files side by side: what they have in common, what may grow, and the table of them."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from meltpoint import variants
from meltpoint.variants import Trained, VariantError, compare_variants

ROOT = Path(__file__).parents[1]
ELPV = ROOT / "presets" / "elpv.yaml"


def trained(
    name: str, heads: dict[str, dict[str, float]], tmp_path: Path, size: int = 64, milliseconds: float = 4.0
) -> Trained:
    """A strategy whose classes, by head, have these recalls."""
    card = SimpleNamespace(main_head=next(iter(heads)), views="s128", images=SimpleNamespace(side=size))
    answerer: Any = SimpleNamespace(card=card, predictor=SimpleNamespace(folder=tmp_path), milliseconds=milliseconds)
    scores = {
        head: {"classes": {own: {"precision": 0.5, "recall": recall} for own, recall in classes.items()}}
        for head, classes in heads.items()
    }
    return Trained(name, "frozen", True, answerer, scores)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies are what a predictor says, and grow with its pixels."""
    monkeypatch.setattr(variants, "_latencies", lambda some: [one.milliseconds for one in some])

    def resize(answerer: Any, size: int) -> Any:
        milliseconds = answerer.milliseconds * (size / answerer.card.images.side) ** 2
        return SimpleNamespace(card=SimpleNamespace(images=SimpleNamespace(side=size)), milliseconds=milliseconds)

    monkeypatch.setattr(variants, "_resize", resize)


@pytest.mark.parametrize("files", [[ELPV], [ELPV, ELPV]])
def test_variants_are_two_or_more_of_different_names(files: Sequence[Path], tmp_path: Path) -> None:
    with pytest.raises(VariantError, match="two or more files with different names"):
        compare_variants(files, tmp_path, False)


def test_a_missing_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(VariantError, match=r"no params file .*other\.yaml"):
        compare_variants([tmp_path / "other.yaml", ELPV], tmp_path, False)
    assert not (tmp_path / ".variants").exists()


def test_places_in_the_repository_are_found_from_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    raw: dict[str, Any] = yaml.safe_load(ELPV.read_text())
    raw["data"]["source"] = {"kind": "folder", "path": "photos/cats"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(raw))
    source = variants._read(tmp_path / "own.yaml", tmp_path)["data"]["source"]
    assert source == {"kind": "folder", "path": str(tmp_path / "photos" / "cats")}


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(VariantError, match="'own' stopped: `dvc repro compare`"):
        variants._dvc(tmp_path, "own", "repro", "compare")


def test_the_table_has_what_all_know(tmp_path: Path, clock: None) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2_000_000)
    two = trained("two", {"screen": {"photo": 0.1, "screen": 0.9}, "paper": {"other": 0.2, "document": 0.8}}, tmp_path)
    three = trained("three", {"kind": {"document": 0.7, "other": 0.3, "screen": 0.6}}, tmp_path, 96, 9.0)
    lines = variants._tabulate([two, three]).splitlines()
    titles, _, first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4])
    assert {title for title in titles if "recall" in title} == {"screen recall", "other recall", "document recall"}
    rows = [dict(zip(titles, row, strict=True)) for row in (first, second)]
    assert [row["screen recall"] for row in rows] == ["90.0%", "60.0%"]
    assert [row["document recall"] for row in rows] == ["80.0%", "70.0%"]
    assert [(row["pixels"], row["latency ms"], row["MB"]) for row in rows] == [
        ("64", "4.0", "2.0"),
        ("96", "9.0", "2.0"),
    ]


def test_nothing_in_common_is_told(tmp_path: Path, clock: None) -> None:
    some = [trained(name, {"main": {name: 0.5}}, tmp_path) for name in ("cat", "dog")]
    with pytest.raises(VariantError, match="share no class"):
        variants._tabulate(some)


def test_a_faster_variant_grows_up_to_the_latency_of_the_slowest(tmp_path: Path, clock: None) -> None:
    slow, fast = (trained(name, {"main": {"a": 0.5}}, tmp_path, 64, ms) for name, ms in (("elpv", 16.0), ("own", 4.0)))
    own = tmp_path / "own.yaml"
    own.write_bytes(ELPV.read_bytes())
    found = dict(variants._enlarged([ELPV, own], [slow, fast], tmp_path))
    assert list(found) == ["own-128"], "4 ms at 64 pixels are 16 ms at 128"
    assert found["own-128"]["views"]["s128"]["side"] == 128
