"""A team's server that asks for passwords, as docs/team.md starts it: who may register does, the others are told."""

import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_pipeline import House
from servers import started

from meltpoint.cli import run
from meltpoint.errors import guarded
from meltpoint.registry import lease
from meltpoint.registry.versions import aliases
from meltpoint.tracking.store import open_store

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "team.md").read_text(encoding="utf-8")
ADMIN, PASSWORD = "admin", "the long password of the admin"


def sign_in(patch: pytest.MonkeyPatch, name: str | None, password: str = "") -> None:
    """What comes next comes from this user, of the server and of git."""
    for key, value in (("USERNAME", name), ("PASSWORD", password)):
        patch.delenv(f"MLFLOW_TRACKING_{key}", raising=False)
        if name:
            patch.setenv(f"MLFLOW_TRACKING_{key}", str(value))
    for key, value in (("COUNT", "1"), ("KEY_0", "user.name"), ("VALUE_0", name or "nobody")):
        patch.setenv(f"GIT_CONFIG_{key}", value)


@pytest.fixture
def server(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Started with the settings of the page, but with its databases here; it has no users yet."""
    pytest.importorskip("flask_wtf", reason="of the extra `server`")
    (settings,) = re.findall(r"```ini\n(.*?)```", PAGE, flags=re.S)
    users = f"database_uri = sqlite:///{tmp_path}/users.db"
    (tmp_path / "auth.ini").write_text(re.sub(r"database_uri = .*", users, settings))
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "auth.ini"))
        patch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", PASSWORD)
        patch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "signs the forms of the pages")
        words = ["--backend-store-uri", f"sqlite:///{tmp_path}/team.db", "--artifacts-destination", f"{tmp_path}/kept"]
        with started(tmp_path, "/health", "server", "--app-name", "basic-auth", *words, "--workers", "1") as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            yield address


def refused(house: House, capsys: pytest.CaptureFixture[str]) -> str:
    """What `register` prints where it may not."""
    with pytest.raises(SystemExit, match="1"):
        guarded(lambda: print(house.register()))
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_who_may_register_does(
    house: House, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(house.folder, tmp_path / "of Bob")
    sign_in(monkeypatch, None)
    assert "asks for a user and a password, and refuses a request without a user" in refused(house, capsys)
    sign_in(monkeypatch, "Ada", "a wrong one")
    assert 'refuses user "Ada". Allowed are those that it knows. Set MLFLOW_TRACKING_U' in refused(house, capsys)

    sign_in(monkeypatch, ADMIN, PASSWORD)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    with warnings.catch_warnings(action="ignore"):  # MLflow's own, of its server
        exec(script.replace("https://mlflow.example.org", server), {})  # Ada and Bob may register, Eve may read
    sign_in(monkeypatch, "Ada", "password of Ada")
    assert house.register().alias == "champion"
    monkeypatch.setattr(lease, "BEAT", 0.5)
    monkeypatch.setattr(lease, "SILENCE", 5.0)
    dead = lease._acquire(open_store("shapes"))  # and no word of it

    sign_in(monkeypatch, "Eve", "password of Eve")
    assert aliases(open_store("shapes")) == {"champion": "1"}
    assert 'knows user "Eve", who has no permission for this.' in refused(house, capsys)

    sign_in(monkeypatch, "Bob", "password of Bob")
    monkeypatch.chdir(tmp_path / "of Bob")
    other = House(tmp_path / "of Bob")
    other.train("frozen", 3)
    other.decide("frozen")
    assert other.register().alias == "champion"
    assert open_store("shapes").client.get_experiment(dead.experiment).lifecycle_stage == "deleted"
    run(["adopt"])
    run(["history"])
    said = capsys.readouterr().out
    assert re.search(r"Ada +champion +- +1 .*\n.*Bob +champion +1 +2 ", said), said
