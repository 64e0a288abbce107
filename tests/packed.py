"""A repository with a model, its export, and the locks: what `meltpoint package` packs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from meltpoint.export.folder import write_export
from meltpoint.export.winner import fingerprint_of
from meltpoint.offers import Costs, OfferedExport, Offers, write_offers
from meltpoint.params.exports import Exports
from meltpoint.tasks.contract import load_objective

if TYPE_CHECKING:
    from meltpoint.images.views import Views

ROOT = Path(__file__).parents[1]


def make_place(model: Path, folder: Path) -> Path:
    """`folder` with models/it, exports/onnx of it, which the judge offers, and the locks."""
    copy, export = folder / "models" / "it", folder / "exports" / "onnx"
    shutil.copytree(model, copy)
    settings = Exports.model_validate({"onnx": {}}).asked["onnx"]
    decode, views = load_objective("classification").decode, cast("Views", None)  # nothing is calibrated
    write_export(copy, fingerprint_of(copy), "onnx", settings, decode, views, export)
    judge(folder, offered=True)
    for lock in ("requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / lock, folder)
    return folder


def judge(folder: Path, offered: bool) -> None:
    """Write what the judge says of exports/onnx."""
    costs = Costs(megabytes=1.0, latency_p50_ms=1.0, latency_p95_ms=1.0, throughput_per_second=1.0)
    row = OfferedExport(
        format="onnx", fingerprint=fingerprint_of(folder / "exports" / "onnx"), offered=offered,
        reason="it loses 3 points, and 1 does not matter", agreement=1.0, agreement_interval=None, apart=0.0, val=None,
        test=None, difference=None, interval=None, at_least=None, costs=costs,
    )  # fmt: skip
    offers = Offers(
        strategy="it", winner="f" * 64, head="pose", metric="accuracy", margin=0.01, confidence=0.95, images=9,
        sentence="", costs=costs, exports=[row],
    )  # fmt: skip
    write_offers(offers, folder / "reports" / "exports.json")
