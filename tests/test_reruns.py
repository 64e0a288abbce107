"""An edit of one view, encoder, strategy or head reruns what hangs on it, and nothing else.

dvc.yaml as it is, with stages that write what their params and deps add up to instead of doing their work.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from warm_process import nursery

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

STUB = """
import hashlib, json, sys
from pathlib import Path
import yaml

asked, deps, outs = (json.loads(word) for word in sys.argv[1:])
digest, params = hashlib.sha256(), yaml.safe_load(Path("params.yaml").read_text())
for name in asked:
    value = params
    for part in name.split("."):
        value = value[part]
    digest.update(json.dumps([name, value]).encode())
for dep in map(Path, deps):
    for file in sorted(path for path in [dep, *dep.rglob("*")] if path.is_file()):
        digest.update(str(file).encode() + file.read_bytes())
for out in map(Path, outs):
    file = out if out.suffix else out / "content"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(digest.hexdigest())
"""
SMALL, END = (
    {"train@frozen", "evaluate@frozen", "train@finetune", "evaluate@finetune"},
    {"speed", "compare", "offer", "register"},
)
LARGE = {"train@large", "evaluate@large"}


def stubbed(stages: dict[str, Any]) -> dict[str, Any]:
    """The stages but the first with the stub as command, and without code among their deps."""
    for name, stage in stages.items():
        body = stage.get("do", stage)
        body["deps"] = [dep for dep in body["deps"] if not dep.startswith(("src/", "stages/"))]
        listed = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
        outs = [out if isinstance(out, str) else next(iter(out)) for out in listed]
        lists = " ".join(
            "'[" + ", ".join(f'"{one}"' for one in some) + "]'" for some in (body.get("params", []), body["deps"], outs)
        )
        body["cmd"] = (
            f"{nursery() / 'python'} {ROOT}/stages/{name}.py"
            if name == "fingerprint"
            else f"{sys.executable} stub.py {lists}"
        )
    return stages


class Edited:
    """A repository with two sizes and two encoders, in which every stage has run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "photos" / "cat").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "photos" / "cat" / "1.png")
        (folder / "w.safetensors").write_bytes(b"weights")
        program = yaml.safe_load((ROOT / "dvc.yaml").read_text())
        (folder / "dvc.yaml").write_text(
            yaml.safe_dump({**program, "stages": stubbed(program["stages"])}, sort_keys=False, width=10_000)
        )
        (folder / "stub.py").write_text(STUB)
        self.params: dict[str, Any] = yaml.safe_load((ROOT / "presets" / "elpv.yaml").read_text())
        self.params["data"]["source"] = {"kind": "folder", "path": "photos"}
        self.params["data"]["labels"] = {"defective": {"kind": "names", "column": "class"}}
        self.params["heads"] = {"defective": {"label": "defective", "main": True}, "again": {"label": "defective"}}
        self.params["views"]["s224"] = {**self.params["views"]["s128"], "side": 224}
        weights = {"kind": "file", "path": str(folder / "w.safetensors"), "match": "name", "licence": "none"}
        self.params["encoders"]["other"] = {"views": "s224", "name": "mobilenetv2_100", "weights": weights}
        self.params["strategies"]["large"] = {**self.params["strategies"]["frozen"], "encoder": "other"}
        self.run("dvc", "init", "-q", "--no-scm")
        self.run("dvc", "config", "core.analytics", "false")

    def run(self, *words: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "PATH": f"{nursery()}:{os.environ['PATH']}",
        }
        command = [str(nursery() / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ran(self) -> set[str]:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False))
        return set(re.findall(r"Running stage '(.+?)'", self.run("dvc", "repro"))) - {"fingerprint"}


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Edited:
    repository = Edited(tmp_path_factory.mktemp("edited"))
    everything = {
        "download",
        "split",
        "augment@s128",
        "augment@s224",
        "embed@lite0",
        "embed@other",
        *SMALL,
        *LARGE,
        *END,
    }
    assert repository.ran() == everything
    assert repository.ran() == set()
    return repository


def add_rows(params: dict[str, Any]) -> None:
    params["views"]["s64"] = {**params["views"]["s128"], "side": 64}
    params["encoders"]["third"] = {**params["encoders"]["lite0"], "views": "s64"}
    params["strategies"]["new"] = {**params["strategies"]["frozen"], "encoder": "third"}


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], set[str]]] = {
    "a view": (lambda raw: raw["views"]["s224"].update(copies=1), {"augment@s224", "embed@other", *LARGE, *END}),
    "an encoder": (lambda raw: raw["encoders"]["other"].update(mean=[0.1] * 3), {"embed@other", *LARGE, *END}),
    "a strategy": (
        lambda raw: raw["strategies"]["finetune"].update(lr=0.5), {"train@finetune", "evaluate@finetune", *END},
    ),
    "the taps of a strategy": (
        lambda raw: raw["strategies"]["large"].update(taps={"again": -2}), {"embed@other", *LARGE, *END},
    ),
    "the weight of a head": (lambda raw: raw["heads"]["again"].update(weight=2.0), {*SMALL, *LARGE, *END}),
    "the tap of a head that a strategy taps elsewhere": (
        lambda raw: raw["heads"]["again"].update(tap=-1), {"embed@lite0", *SMALL, *LARGE, *END},
    ),
    "new rows": (add_rows, {"augment@s64", "embed@third", "train@new", "evaluate@new", *END}),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_what_hangs_on_it(edited: Edited, name: str) -> None:
    change, expected = EDITS[name]
    change(edited.params)
    assert edited.ran() == expected


def test_other_weights_rerun_their_encoder(edited: Edited) -> None:
    (edited.folder / "w.safetensors").write_bytes(b"others")
    assert edited.ran() == {"embed@other", *LARGE, *END}
    assert edited.ran() == set()  # nothing is left over of any edit
