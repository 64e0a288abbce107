"""What the README says of the tree and of commands is so."""

import argparse
import re
from pathlib import Path

import pytest
import yaml

from meltpoint.params.read import parse_params

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = README.split("## Map of the repository")[1].split("```")[1]


def test_the_map_shows_every_room() -> None:
    rooms = {
        path.name for path in (ROOT / "src" / "meltpoint").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert {room for room in rooms if f"  {room}/" not in MAP} == set()


@pytest.mark.parametrize("name", re.findall(r"^ {0,2}(\w+(?:\.\w+|/))", MAP, flags=re.M))
def test_everything_on_the_map_is_there(name: str) -> None:
    made = {"models/", "reports/", "data/", "mlruns/"}
    assert name in made or (ROOT / name).exists() or (ROOT / "src" / "meltpoint" / name).exists()


def test_every_make_target_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"(?:^|`)make (\w+)", README, flags=re.M)) - {"lint"} <= targets
    assert "lint" in targets


def test_the_stages_are_those_of_dvc() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    table = README.split("## What the pipeline does")[1].split("##")[0]
    assert re.findall(r"^\| `(\w+)", table, flags=re.M) == list(stages)


def test_pictures_are_there() -> None:
    assert [name for name in re.findall(r"\]\((docs/[^)]+)\)", README) if not (ROOT / name).exists()] == []


def test_your_own_images_are_commands_that_are_there() -> None:
    from meltpoint.cli import COMMANDS

    section = README.split("## Your own images")[1].split("\n## ")[0]
    named = set(re.findall(r"meltpoint ([a-z-]+)", section))
    assert {"init", "plan"} <= named <= set(COMMANDS)
    words = set(re.findall(r"`(--[a-z-]+)", section))
    parser = argparse.ArgumentParser()
    COMMANDS["init"].describe(parser)
    assert words <= set(parser.format_help().replace("]", " ").split())


def test_every_guarantee_names_a_test_that_is_there() -> None:
    table = README.split("## Guarantees")[1]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", table, flags=re.M)[1:]
    tests = [re.findall(r"`(tests/[^`]+)`", row[1]) for row in rows]
    assert rows
    assert all(tests)
    assert [path for paths in tests for path in paths if not (ROOT / path).exists()] == []


def test_rows_to_add_fit_the_default() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (rows,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    for section, added in yaml.safe_load(rows).items():
        params[section] |= added
    assert parse_params(params, "README.md").strategies.keys() == {"frozen", "finetune", "frozen_224"}
