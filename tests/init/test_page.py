"""What docs/init.md shows of small data is what is printed on them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "init.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```\n\$ meltpoint init (.+)\n((?:.+\n)+)```$", PAGE, flags=re.M)
Init = Callable[..., Any]


def test_the_page_shows_what_is_printed(place: Path, init: Init) -> None:
    exec(re.findall(r"^```python\n(.+?)^```$", PAGE, flags=re.M | re.S)[0], {})
    layouts = []
    for words, shown in SHOWN:
        out = init(*words.split()).out
        assert out.split("\n\n")[0] == shown.rstrip("\n")
        assert ("data/market-table.csv (60 rows)" in out) == ("COCO" in shown)
        layouts.append(words.split()[0].removeprefix("datasets/"))
    assert layouts == ["album", "road", "market", "pets", "hub"]
    assert not (place / "params.yaml").exists()
