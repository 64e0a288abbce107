"""An address is had, or a sentence says why not, before a server says where it is."""

from pathlib import Path

import pytest
from saved_models import tree_folder  # noqa: F401 - a fixture

from meltpoint.cli import run
from meltpoint.errors import guarded
from meltpoint.listening import ListenError, listen, url_of


def test_any_free_port_is_had_once() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert url_of(bound) == f"http://127.0.0.1:{port}"
        with pytest.raises(ListenError, match=f"on 127.0.0.1:{port}: .*in use. Choose another port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "mend"),
    [("192.0.2.1", 0, "Give an address of this machine"), ("127.0.0.1", 99_999, "Choose another port")],
)
def test_what_is_no_address_of_this_machine_is_told(host: str, port: int, mend: str) -> None:
    with pytest.raises(ListenError, match=mend):
        listen(host, port)


@pytest.mark.parametrize("command", [["serve"], ["mcp", "--model"]])
def test_a_server_whose_port_is_taken_does_not_say_that_it_answers(
    command: list[str],
    tree_folder: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SystemExit) as ended:
        guarded(lambda: run([*command, str(tree_folder), "--port", str(taken.getsockname()[1])]))
    assert ended.value.code == 1
    told = "".join(capfd.readouterr())
    assert "Nothing can listen on 127.0.0.1" in told
    assert " answer" not in told
    assert "Traceback" not in told
