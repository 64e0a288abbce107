"""What strategies are asked for and cannot have: said, with what they do instead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from meltpoint.train.problem import take_shots
from meltpoint.train.strategies.pretrained import map_classes, tell_mapped

SECTION = "Strategies"
KNOWN = [["n1", "tabby"], ["n2", "missile"]]


def mapped(*classes: str, **asked: list[str]) -> None:
    owner = map_classes(classes, KNOWN, asked, "strategies.p.classes")
    tell_mapped("y", classes, owner, torch.tensor([0, 1, 1, 1, -1]))


def shots() -> None:
    labels = pd.Series([*"aaaaa", *"bb", None], dtype="string")
    assert take_shots({"y": labels}, np.arange(8), 4, seed=1)["y"].value_counts().to_dict() == {"a": 4, "b": 2}


MAKERS: dict[str, Callable[[], None]] = {
    "more shots than a class has": shots,
    "a listed class that the pretrained classifier has not": lambda: mapped("cat", "missile", cat=["tabbi"]),
    "a pretrained class that would count for two": lambda: mapped("cat", "pet", cat=["n1"], pet=["tabby"]),
    "classes of which the pretrained classifier has none": lambda: mapped("intact", "broken"),
    "a class that the pretrained classifier has not, beside others": lambda: mapped("tabby", "gadget"),
}


def test_strategies(row: Any, told: Any, check_refused: Any) -> None:
    code, said = told(MAKERS[row.name])
    if row.fate == "refused":
        check_refused(row, code, said)
    else:
        assert code == 0
        assert all(quote in said for quote in row.quotes), said


def test_every_row_has_its_strategy(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
