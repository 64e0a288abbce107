"""What commands print of names and texts from outside: nothing of it steers the terminal, all of it can be read."""

import json
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from meltpoint.cli import run
from meltpoint.model.manifest import write_manifest
from meltpoint.progress import track
from meltpoint.registry.ledger import AliasChange, VersionFacts, append, read_ledger
from meltpoint.terminal import JOINERS, plain

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # of MLflow
SECTION = "Terminals"
FLAG = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
STEERING = "\x1b[31m\x1b]0;t\x07\x9b1m\r\x08\x7f\u202e\u2066\u2028"
SHOWN = r"\x1b[31m\x1b]0;t\x07\x9b1m\r\x08\x7f\u202e\u2066\u2028"
NAME, TOLD = f"q{STEERING}é猫👩\u200d🔬{FLAG}", f"q{SHOWN}é猫👩\u200d🔬{FLAG}"
FACTS = VersionFacts("shape/accuracy", 0.9, "d", "g", "k", "frozen", "t")


def steering(text: str) -> set[str]:
    """The letters of a text that steer a terminal, but for line breaks of ours and the begin of a bar's line."""
    text = re.sub(r"\r(?=[^\r\n]*(\d+%|\d+(image|row|state|strategy|picture)|(it|s|image|row|strategy)/))", "\n", text)
    kept = {"\n", "\t", *JOINERS, *FLAG}
    return {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - kept


def names_of_files(workplace: Any, told: Any) -> str:
    workplace.add(f"{NAME}.png", b"no picture")
    workplace.add(b"\xff.png", b"no picture")
    workplace.params["data"]["max_bad"] = 0
    said: str = workplace.stage("download")[1]
    return said


def names_in_answers(house: Any, told: Any, *words: str) -> str:
    folder = house.folder / "models" / "frozen"
    card = json.loads((folder / "card.json").read_text())
    card["heads"]["shape"]["classes"] = [NAME, "square"]
    (folder / "card.json").write_text(json.dumps(card))
    write_manifest(folder)
    photo = house.folder / "photos" / f"{NAME}.png"
    photo.write_bytes((house.folder / "photos" / "0.png").read_bytes())
    said: str = told(lambda: run(["predict", str(photo), "--model", "models/frozen", *words]))[1]
    return said


def lines_of_a_ledger(house: Any, told: Any) -> str:
    append(house.folder, [AliasChange("shapes", "champion", None, "1", NAME, FACTS, {}, "a", who=NAME)])
    assert [line.why for line in read_ledger(house.folder)] == [NAME], "it is kept as it is"
    path = house.folder / "reports" / "compare.json"
    path.write_text(path.read_text().replace("it is good.", json.dumps(NAME)[1:-1]))
    return "".join(told(lambda words=words: run(words))[1] for words in (["history"], ["status"], ["doctor"], ["sync"]))


def keys_of_params(workplace: Any, told: Any) -> str:
    workplace.params[NAME] = workplace.params["data"][NAME] = 1
    said: str = workplace.stage("download")[1]
    return said


def cards_of_others(house: Any, told: Any) -> str:
    folder = house.folder / "models" / "frozen"
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, NAME: 1, "task": NAME}))
    write_manifest(folder)
    said: str = told(lambda: run(["predict", "photos/0.png", "--model", "models/frozen"]))[1]
    return said


def words_of_a_command(house: Any, told: Any) -> str:
    known = [["predict", "--top", NAME], ["preset", NAME], ["predict", NAME, "--model", NAME], ["init", NAME]]
    return "".join(told(lambda words=words: run(words))[1] for words in known)


class Answers(BaseHTTPRequestHandler):
    """A server whose every answer is a refusal with steering words in it."""

    def do_GET(self) -> None:
        self.wfile.write(f"HTTP/1.0 404 {NAME}\r\nContent-Type: {NAME}\r\n\r\n".encode("latin-1", "replace"))

    do_POST = do_GET  # noqa: N815 - as http.server calls it

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def bars(workplace: Any, told: Any) -> str:
    def work() -> None:
        bar = track([1, 2], NAME)
        for _ in bar:
            bar.set_postfix_str(f"{NAME} 0.5")

    said: str = told(work)[1]
    return said


def words_of_libraries(workplace: Any, told: Any) -> str:
    code = """
import logging, sys, warnings
from meltpoint.errors import guarded
def work():
    warnings.warn(sys.argv[1])
    logging.getLogger("library").warning(sys.argv[1])
    sys.stderr.writelines([sys.argv[1], chr(10)])
    print(sys.argv[1])
    raise KeyError(sys.argv[1]) from ValueError(sys.argv[1])
guarded(work)
"""
    command = [sys.executable, "-c", code, NAME]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.count(TOLD) == 5
    return done.stdout


MAKERS: dict[str, tuple[str, Callable[[Any, Any], str]]] = {
    "names of files, and one that is not UTF-8": ("workplace", names_of_files),
    "names of files and classes in answers": ("house", names_in_answers),
    "lines of promotions.jsonl, a decision": ("house", lines_of_a_ledger),
    "keys of params.yaml": ("workplace", keys_of_params),
    "card.json of somebody else's model": ("house", cards_of_others),
    "words of a command": ("house", words_of_a_command),
    "the title and figures of a progress bar": ("workplace", bars),
    "warnings, log lines and prints of libraries, the traceback of a bug": ("workplace", words_of_libraries),
}


def test_nothing_from_outside_steers_the_terminal(row: Any, told: Any, request: pytest.FixtureRequest) -> None:
    place, make = MAKERS[row.name]
    said = make(request.getfixturevalue(place), told)
    assert not steering(said), said
    assert TOLD in said
    for quote in row.quotes:
        assert quote in said


def test_every_row_is_tried(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)


def test_answers_for_programs_hold_the_names_as_they_are(house: Any, told: Any) -> None:
    said = names_in_answers(house, told, "--json")
    answer = said[said.index('{"source"') :].split("\n")[0]
    assert not steering(answer)
    assert json.loads(answer)["source"].endswith(f"{NAME}.png")


def test_a_server_steers_nothing(server: str, house: Any, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(lambda: run(["predict", f"{server}/a.png", "--model", "models/frozen"]))[1]
    assert "cannot be used: 404 q" in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said += told(lambda: run(["doctor"]))[1]
    assert "MLflow's store cannot be used" in said
    assert not steering(said), said


def test_a_text_that_is_harmless_stays() -> None:
    for text in ("猫 👩\u200d🔬 é ß ✂\ufe0f", FLAG, "\u0645\u06cc\u200c\u0631\u0648", ""):
        assert plain(text) == text
