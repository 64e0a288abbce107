"""No exception of MLflow passes the border under its own name."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR
from requests import HTTPError

import meltpoint
from meltpoint.tracking.mlflow_errors import StoreError, guarded_client, library_errors, ours

# Rooms of MLflow that nothing here calls: gateways and judges of language models, and its vendor's notebooks.
UNUSED = ("mlflow.gateway.", "mlflow.genai.", "mlflow.legacy_databricks_cli.", "mlflow.utils.databricks_utils")


def imported() -> set[str]:
    """The modules of MLflow that this package imports anywhere."""
    names = set()
    for path in Path(meltpoint.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mlflow":
                names.add(str(node.module))
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "mlflow"}
    return names


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def exceptions() -> dict[str, bool]:
    """The exceptions of MLflow that exist once all that is imported of it is there, and whether ours takes their place.

    To be called in a process of its own: a server in it, say, imports rooms of MLflow that the package does not.
    """
    for name in imported():
        import_module(name)
    found = {kind for kind in below(Exception) if kind.__module__.split(".")[0] == "mlflow"}
    return {f"{kind.__module__}.{kind.__name__}": issubclass(kind, library_errors()) for kind in found}


def test_every_exception_of_the_library_becomes_ours() -> None:
    command = "import json, test_mlflow_errors as it; print(json.dumps(it.exceptions()))"
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, bool] = json.loads(asked.stdout.splitlines()[-1])
    assert found["mlflow.exceptions.MlflowException"]
    assert [name for name, taken in found.items() if not (taken or name.startswith(UNUSED))] == []


@pytest.mark.parametrize("error", [MlflowException("full\nof words", INTERNAL_ERROR), MlflowException("")])
def test_it_tells_where_and_why(error: MlflowException) -> None:
    with (
        pytest.raises(StoreError, match='sqlite:///a.db gives "(full|MlflowException)"') as caught,
        ours("sqlite:///a.db"),
    ):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "name", "said"),
    [
        (MlflowException("failed with error code 401 != 200"), None, "refuses a request without a user. Allowed"),
        (MlflowException("failed with error code 401 != 200"), "Ada", 'refuses user "Ada". Allowed are those'),
        (MlflowException("failed with error code 403 != 200"), "Ada", 'knows user "Ada", who has no permission'),
        (HTTPError("403 Client Error: FORBIDDEN for url: http://x"), "Ada", 'knows user "Ada", who has no permission'),
    ],
)
def test_a_server_that_refuses_a_user_is_told(
    error: Exception, name: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name or "")
    with pytest.raises(StoreError) as caught, ours("https://me:secret@mlflow.example.org"):
        raise error
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_bug_keeps_its_name() -> None:
    with pytest.raises(ZeroDivisionError), ours("sqlite:///a.db"):
        raise ZeroDivisionError


def test_each_call_of_a_client_passes_the_border(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(self: MlflowClient, name: str) -> None:
        raise MlflowException(f"no {name}")

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", fail)
    with pytest.raises(StoreError, match="no shapes"):
        guarded_client(MlflowClient(f"sqlite:///{tmp_path}/never-asked.db"), "sqlite:///a.db").get_experiment_by_name(
            "shapes"
        )
