"""compare.json is read as it was written, also by an older version; what it needs and lacks is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from meltpoint.comparison import ComparisonError, read_comparison, write_comparison

STRATEGY = {"name": "frozen", "metrics": {"test": {"shape": {"f1": 0.5}}}, "intervals": {}, "cost": {"megabytes": None}}
PAIR = {"a": "frozen", "b": "finetune", "split": "test", "head": "shape", "metric": "f1", "difference": 0.1,
        "interval": [0, 0.2], "p_value": 0.04, "p_holm": 0.08}  # fmt: skip
OLD: dict[str, Any] = {  # what the first version wrote
    "winner": "frozen", "verdict": "ship", "sentence": "Ship frozen.", "best": "frozen", "main_head": "shape",
    "metric": "f1", "margin": 0.01, "confidence": 0.95, "cost": "train_seconds", "images": {"val": 3, "test": 4},
    "more_images": None, "strategies": [STRATEGY], "pairs": [PAIR],
}  # fmt: skip


def test_a_comparison_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(OLD))
    comparison = read_comparison(tmp_path / "compare.json")
    assert (comparison.main, comparison.ships, comparison.spread) == ("shape/f1", True, None)
    assert comparison.costs_of("frozen") == {}
    assert comparison.pairs[0].at_least is None
    assert (comparison.strategies[0].encoder, comparison.strategies[0].side) == ("", None)


def test_it_is_written_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(OLD))
    write_comparison(read_comparison(tmp_path / "compare.json"), tmp_path / "new.json")
    written = (tmp_path / "new.json").read_bytes()
    write_comparison(read_comparison(tmp_path / "new.json"), tmp_path / "new.json")
    assert (tmp_path / "new.json").read_bytes() == written
    told = json.loads(written)
    assert told.items() >= {key: value for key, value in OLD.items() if not isinstance(value, list)}.items()
    assert told["strategies"][0].items() >= STRATEGY.items()
    assert told["pairs"][0].items() >= PAIR.items()


@pytest.mark.parametrize("lacking", ["winner", "metric", "strategies"])
def test_what_is_missing_is_named(lacking: str, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps({key: value for key, value in OLD.items() if key != lacking}))
    with pytest.raises(ComparisonError, match=f"{lacking}.*dvc repro --force compare"):
        read_comparison(tmp_path / "compare.json")
