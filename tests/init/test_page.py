"""What docs/init.md shows of small data is what is printed on them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "init.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```\n\$ meltpoint init (.+)\n((?:.+\n)+)```$", PAGE, flags=re.M)
Init = Callable[..., Any]


@pytest.mark.parametrize(("words", "shown"), SHOWN, ids=[words.split()[0] for words, _ in SHOWN])
def test_the_page_shows_what_is_printed(place: Path, init: Init, words: str, shown: str) -> None:
    exec(re.findall(r"^```python\n(.+?)^```$", PAGE, flags=re.M | re.S)[0], {})
    out = init(*words.split()).out
    assert out.split("\n\n")[0] == shown.rstrip("\n")
    if "COCO" in shown:
        assert "data/market-table.csv (60 rows)" in out
    assert not (place / "params.yaml").exists()


def test_the_page_shows_three_layouts() -> None:
    assert [words.split()[0] for words, _ in SHOWN] == ["datasets/album", "datasets/road", "datasets/market"]
