"""A repository with the stages of dvc.yaml, of which only `fingerprint` really runs: what DVC itself does is seen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from meltpoint.params.yaml12 import dump, load

ROOT = Path(__file__).parents[1]
CLASSES = 100
PACK = """\
from pathlib import Path
from meltpoint.shards import write_shards
photos = Path("datasets/photos")
files = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))
write_shards(({path: (photos / path).read_bytes()} for path in files), Path("data/raw"))
"""
STUB = """\
set -e
for out in "$@"; do
  case "$out" in
    data/raw) rm -rf data/raw; python pack.py;;
    *.*) mkdir -p "$(dirname "$out")"; echo "$out" > "$out";;
    *) mkdir -p "$out"; echo "$out" > "$out/one";;
  esac
done
"""


def make_repository(folder: Path, count: int) -> None:
    """Write it into `folder`, with a source of `count` empty files; nothing has run."""
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    photos = folder / "datasets" / "photos"
    for number in range(CLASSES):
        (photos / f"class{number}").mkdir(parents=True)
    for number in range(count):
        (photos / f"class{number % CLASSES}" / f"{number:06}.jpg").touch()
    write_params(folder, {})
    stages = load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in stages["stages"].items():
        if name != "fingerprint":
            body = stage.get("do", stage)
            body["cmd"] = f"sh stub.sh {' '.join(_outs(body))}"
    (folder / "dvc.yaml").write_text(dump(stages), encoding="utf-8")
    for name, text in (("stub.sh", STUB), ("pack.py", PACK)):
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / ".dvcignore", folder)
    call(folder, "dvc", "init", "--no-scm", "--quiet")
    settings = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    (folder / ".dvc" / "config").write_text(settings.replace("[core]", "[core]\n    no_scm = true"), encoding="utf-8")


def write_params(folder: Path, backbone: dict[str, Any]) -> None:
    """Write params.yaml: those of the default with one label, one head, and these values of the backbone."""
    params = load((ROOT / "presets" / "elpv.yaml").read_text(encoding="utf-8"))
    params["data"]["source"] = {"kind": "folder", "path": "datasets/photos"}
    params["data"]["labels"] = {"defective": {"kind": "names", "column": "class", "classes": None}}
    params["heads"] = {"defective": params["heads"]["defective"]}
    params["encoders"]["lite0"] |= {"weights": {"kind": "random"}, **backbone}
    (folder / "params.yaml").write_text(dump(params), encoding="utf-8")


def call(folder: Path, *words: str) -> str:
    """Run a command of this environment in the repository; what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _outs(body: dict[str, Any]) -> list[str]:
    listed = [out for key in ("outs", "metrics", "plots") for out in body.get(key, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]
