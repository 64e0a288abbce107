"""The pages of MLflow."""

import argparse
import os
import sys

from meltpoint.terminal import complain, say

HELP = "browse runs and models in MLflow"
ABOUT = """\
Open the pages of MLflow over mlruns/ on this machine alone (127.0.0.1), until Ctrl-C. With MLFLOW_TRACKING_URI set to a
server, that server has pages of its own: their address is printed.
"""


def describe(ui: argparse.ArgumentParser) -> None:
    """Add the words that the command takes."""
    ui.add_argument("--port", type=int, default=5000, help="where to listen on 127.0.0.1 (default 5000)")


def run(asked: argparse.Namespace) -> None:
    """Become MLflow's server on 127.0.0.1, over the local store."""
    from meltpoint.params.read import read_params
    from meltpoint.tracking.database import local_artifacts
    from meltpoint.tracking.mlflow_errors import keep_quiet
    from meltpoint.tracking.saved_view import address
    from meltpoint.tracking.store import kept_elsewhere, open_store, repository_root

    keep_quiet()
    root = repository_root()
    store = open_store(read_params().register_.name, root, moved=True)
    if why := kept_elsewhere(store):
        complain(f"note: the pages show files of another repository. {why}")
    if store.uri.startswith("http"):
        say(f"The runs are on a server that has its own pages: {store.uri}")
        return
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # seven processes that nothing here needs
    say(f"Browse {address(f'http://127.0.0.1:{asked.port}', store.experiment)} (Ctrl-C ends it)")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(asked.port), "--workers", "1",
        "--backend-store-uri", store.uri, "--default-artifact-root", local_artifacts(root),
    ]  # fmt: skip
    os.execv(command[0], command)  # noqa: S606
