"""Known params files, put in place."""

import argparse
import difflib
from pathlib import Path

from meltpoint.errors import CommandError
from meltpoint.files import whole_file
from meltpoint.terminal import say

HELP = "put presets/NAME.yaml in place as params.yaml"
ABOUT = """\
Put presets/NAME.yaml in place as params.yaml. A params.yaml of your own is kept as params.yaml.bak.
"""


def describe(preset: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    preset.add_argument("name", help="the name of a file in presets/, without .yaml")


def run(asked: argparse.Namespace) -> None:
    """Copy a preset to params.yaml; a params.yaml that is no preset is kept as params.yaml.bak.

    Raises:
        CommandError: there is no such preset.
        ParamsError: the preset is not a params.yaml.
    """
    from meltpoint.params.read import read_params

    known = {path.stem: path for path in sorted(Path("presets").glob("*.yaml"))}
    if asked.name not in known:
        near = difflib.get_close_matches(asked.name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        there = ", ".join(known) or "none"
        raise CommandError(f"There is no preset {asked.name!r}.{hint} There are {there}, in presets/.")
    chosen = read_params(known[asked.name])
    place, saved = Path("params.yaml"), ""
    if place.exists() and place.read_bytes() not in [path.read_bytes() for path in known.values()]:
        place.replace("params.yaml.bak")
        saved = " What was there is params.yaml.bak now."
    with whole_file(place) as temporary:
        temporary.write_bytes(known[asked.name].read_bytes())
    strategies = ", ".join(chosen.strategies)
    say(f"params.yaml is presets/{asked.name}.yaml now: {chosen.register_.name}, {strategies}.{saved}")
