"""A folder that a container is built from: a model or an export, the code that answers, pins of what that needs."""

import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template

import meltpoint
from meltpoint.container.lock import take
from meltpoint.errors import UserError
from meltpoint.export.folder import read_record
from meltpoint.export.winner import fingerprint_of, is_export
from meltpoint.files import whole_folder
from meltpoint.model.card import Card, read_card
from meltpoint.model.manifest import check_manifest
from meltpoint.offers import read_offers
from meltpoint.serving.mlflow_package import NEEDED, NEEDED_BY

ROOMS = (  # what answering is made of
    "__init__", "arrays", "bit_depth", "errors", "export", "files", "images", "listening", "memory", "metrics", "model",
    "params", "parts", "predict", "prefetch", "progress", "serving", "signatures", "tables", "tasks", "terminal",
    "trees",
)  # fmt: skip
SERVER = (
    "numpy", "opencv-python-headless", "pandas", "pillow", "prometheus-client", "psutil", "pydantic", "starlette",
    "tqdm", "uvicorn",
)  # fmt: skip
RUNTIMES = {  # what runs an export, by format
    "onnx": "onnxruntime", "onnx_int8": "onnxruntime", "onnx_qat": "onnxruntime", "openvino": "openvino",
    "litert": "ai-edge-litert", "executorch": "executorch", "torch_export": "torch",
}  # fmt: skip
TORCH = ("torch", "torchvision")  # from their own index, whose wheels are for CPUs
GPU = (*TORCH, "nvidia-", "cuda-", "triton")
TORCH_LINES = """\
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --no-deps --index-url $TORCH_INDEX {}
"""
TEMPLATES = Path(__file__).parent / "templates"


class PackageError(UserError, RuntimeError):
    """A model cannot be packed."""


def write_context(model: Path, folder: Path, repository: Path, where: str, offered: bool = False) -> None:
    """Write `folder`, whole or not at all, from a model folder or an export; `where` is what it was asked for as.

    `repository` has the locks, and the judgement of exports, but of one that is known to be `offered`.

    Raises:
        PackageError: the folder is there already, the export is not offered, or it is not known what runs it.
        LockError: a package is not in the locks.
        ModelError, ManifestError, ExportError: there is no model that can be used.
    """
    if folder.exists():
        raise PackageError(
            f"{folder} is there already, and is not overwritten. Name a folder that is not there, or remove this one."
        )
    card = read_card(model)
    check_manifest(model)
    if is_export(model) and not offered:
        check_offered(model, repository)
    needed, torch = _needed(model, card)
    pins = [f"{name}=={version(name).split('+')[0]}" for name in TORCH] if torch else []
    filled = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}", "name": folder.name.lower(), "model": where,
        "torch": TORCH_LINES.format(" ".join(pins)) if torch else "", "task": card.task, "licence": card.licence,
    }  # fmt: skip
    requirements = take(needed, GPU if torch else (), repository)
    with whole_folder(folder) as new:
        for template in sorted(TEMPLATES.iterdir()):
            text = Template(template.read_text(encoding="utf-8")).safe_substitute(filled)
            (new / template.name.replace("dockerignore", ".dockerignore")).write_text(text, encoding="utf-8")
        (new / "requirements.txt").write_text(requirements, encoding="utf-8")
        shutil.copytree(model, new / "model")
        _copy_sources(new / "meltpoint")


def find_export(name: str, model: Path, repository: Path, where: str) -> Path:
    """The folder of the export `name` that was made of a model folder, and is offered.

    It is that of the repository, or where that has none of this model, and `where` names a registered version, that
    of the version.

    Raises:
        PackageError: there is none, it was made of another model, or it is not offered.
        OfferError, VersionError: the version has no such export that is offered.
    """
    folder = repository / "exports" / name
    own = is_export(folder) and read_record(folder)[0].winner == fingerprint_of(model)
    if where.startswith("models:") and not own:
        from meltpoint.registry.exports import fetch_export  # and MLflow, which a folder does without

        return fetch_export(where, name)
    if not is_export(folder):
        there = sorted(path.parent.name for path in folder.parent.glob("*/export.json"))
        raise PackageError(
            f"There is no export {name!r} in {folder.parent}; there are {', '.join(there) or 'none'}. Write `export:"
            f" {{{name}: ...}}` into params.yaml, and run: dvc repro"
        )
    if not own:
        record, _ = read_record(folder)
        raise PackageError(
            f"{folder} was made of a model of {record.strategy!r}, and {model} is another one. An export is packed"
            " with the model that it was made of: name that by --model, or run: dvc repro"
        )
    check_offered(folder, repository)
    return folder


def check_offered(export: Path, repository: Path) -> None:
    """Whether the judge lets an export be offered.

    Raises:
        PackageError: it was refused, or has not been judged as it is now.
        OfferError: the judgement cannot be read.
    """
    judged = repository / "reports" / "exports.json"
    offers = read_offers(judged)
    rows = offers.exports if offers else ()
    own = next((row for row in rows if row.fingerprint == fingerprint_of(export)), None)
    if own is None or not own.offered:
        why = f"{judged} does not name it, run `dvc repro`" if own is None else own.reason
        raise PackageError(f"The export {export} is not offered: {why}. Pack another one, or the model itself.")


def _needed(model: Path, card: Card) -> tuple[Sequence[str], bool]:
    """The packages that answering needs, and whether torch is among them."""
    if not is_export(model):
        own = [name for name in (*NEEDED, *NEEDED_BY.get(card.backbone.library, ())) if name != "mlflow"]
        return [*SERVER, *own], True
    record, _ = read_record(model)
    if (runtime := RUNTIMES.get(record.format)) is None:
        raise PackageError(
            f"What runs an export of the format {record.format!r} is not known here; known are {', '.join(RUNTIMES)}."
            " Pack one of these, or the model itself."
        )
    return [*SERVER, runtime], runtime in ("torch", "executorch")


def _copy_sources(folder: Path) -> None:
    (source,) = map(Path, meltpoint.__path__)
    folder.mkdir()
    for room in ROOMS:
        if (source / room).is_dir():
            shutil.copytree(source / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source / f"{room}.py", folder / f"{room}.py")
