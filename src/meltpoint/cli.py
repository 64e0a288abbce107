"""The `meltpoint` command: what was decided, and where to look at it."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from meltpoint.errors import UserError, guarded
from meltpoint.files import read_json, whole_file

REPORT = Path("reports/compare.html")
ABOUT = """\
How far should you unfreeze? Meltpoint trains a backbone frozen and fine-tuned, and says which one to ship.

  dvc repro            run what params.yaml and the code make necessary
  meltpoint status     read the decision, and where everything is
  meltpoint ui         browse runs, curves, pictures and model versions
  meltpoint preset X   put presets/X.yaml in place as params.yaml
"""
STATUS = """\
Print the decision in one sentence, what each strategy reached and costs, which version is champion, and where the
report is. It reads reports/compare.json and promotions.jsonl, and changes nothing.
"""
PRESET = """\
Put presets/NAME.yaml in place as params.yaml. A params.yaml of your own is kept as params.yaml.bak.
"""
UI = """\
Open the pages of MLflow over mlruns/ on this machine alone (127.0.0.1), until Ctrl-C. With MLFLOW_TRACKING_URI set to a
server, that server has pages of its own: their address is printed.
"""


class CommandError(UserError, RuntimeError):
    """A command cannot do what it is asked in this folder."""


def main() -> None:
    """Run the command line."""
    guarded(lambda: run(sys.argv[1:]))


def run(words: Sequence[str]) -> None:
    """Run one command, `words` without the program's name."""
    parser = argparse.ArgumentParser(
        prog="meltpoint", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("status", help="the decision, the table of strategies, the champion", description=STATUS)
    ui = commands.add_parser("ui", help="browse runs and models in MLflow", description=UI)
    ui.add_argument("--port", type=int, default=5000, help="where to listen on 127.0.0.1 (default 5000)")
    preset = commands.add_parser("preset", help="put a known params.yaml in place", description=PRESET)
    preset.add_argument("name", help="the name of a file in presets/, without .yaml")
    asked = parser.parse_args(words)
    match asked.command:
        case "status":
            print(status(Path()))
        case "preset":
            print(put_preset(asked.name, Path()))
        case "ui":
            browse(asked.port)


def status(folder: Path) -> str:
    """What was decided in `folder`, in plain text.

    Raises:
        CommandError: there is no decision.
    """
    from meltpoint.params.read import read_params
    from meltpoint.registry.ledger import holder
    from meltpoint.registry.store import repository_root
    from meltpoint.registry.words import rows_of

    params = read_params(folder / "params.yaml")
    try:
        decision = read_json(folder / "reports" / "compare.json")
    except FileNotFoundError:
        raise CommandError(f"There is no {folder / 'reports/compare.json'} yet. Make it with: make repro") from None
    titles, rows = rows_of(decision, f"{params.main_head}/{params.compare.metric}")
    champion = holder(repository_root(), params.register_.name, "champion")
    serving = f"version {champion['to']}, since {champion['when'][:10]}: {champion['why']}" if champion else "none yet"
    return "\n".join([
        "", decision["sentence"], "", *_columns([titles, *rows]), "",
        f"champion  {params.register_.name} {serving}",
        f"report    {folder / REPORT}",
        "browse    make ui",
    ])  # fmt: skip


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


def browse(port: int) -> None:
    """Become MLflow's server on 127.0.0.1, over the local store."""
    from meltpoint.params.read import read_params
    from meltpoint.registry.pages import address
    from meltpoint.registry.store import keep_quiet, local_artifacts, open_store, repository_root

    keep_quiet()
    root = repository_root()
    store = open_store(read_params().register_.name, root)
    if store.uri.startswith("http"):
        print(f"The runs are on a server that has its own pages: {store.uri}")
        return
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # seven processes that nothing here needs
    print(f"Browse {address(f'http://127.0.0.1:{port}', store.experiment)} (Ctrl-C ends it)", flush=True)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", store.uri, "--default-artifact-root", local_artifacts(root),
    ]  # fmt: skip
    os.execv(command[0], command)  # noqa: S606


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
