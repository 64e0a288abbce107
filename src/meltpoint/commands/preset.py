"""Known params files, put in place."""

import argparse
import difflib
from pathlib import Path

from meltpoint.commands.trouble import CommandError
from meltpoint.files import whole_file

HELP = "put a known params.yaml in place"
ABOUT = """\
Put presets/NAME.yaml in place as params.yaml. A params.yaml of your own is kept as params.yaml.bak.
"""


def describe(preset: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    preset.add_argument("name", help="the name of a file in presets/, without .yaml")


def run(asked: argparse.Namespace) -> None:
    """Put a preset in place, and say so."""
    print(put_preset(asked.name, Path()))


def put_preset(name: str, folder: Path) -> str:
    """Copy presets/`name`.yaml to params.yaml; a params.yaml that is no preset is kept as params.yaml.bak.

    Raises:
        CommandError: there is no such preset.
        ParamsError: the preset is not a params.yaml.
    """
    from meltpoint.params.read import read_params

    known = {path.stem: path for path in sorted((folder / "presets").glob("*.yaml"))}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CommandError(f"There is no preset {name!r}.{hint} There are {', '.join(known) or 'none'}, in presets/.")
    chosen = read_params(known[name])
    place, saved = folder / "params.yaml", ""
    if place.exists() and place.read_bytes() not in [path.read_bytes() for path in known.values()]:
        place.replace(folder / "params.yaml.bak")
        saved = " What was there is params.yaml.bak now."
    with whole_file(place) as temporary:
        temporary.write_bytes(known[name].read_bytes())
    return f"params.yaml is presets/{name}.yaml now: {chosen.register_.name}, {', '.join(chosen.strategies)}.{saved}"
