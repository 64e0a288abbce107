"""The exports of a version: logged with its run, listed in a tag that is set last, fetched to be served."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from meltpoint.errors import UserError
from meltpoint.export.winner import WinnerError, fingerprint_of, is_export
from meltpoint.model.manifest import check_manifest
from meltpoint.offers import OfferError, read_offers
from meltpoint.registry.version_files import VersionError, fetch_artifacts, fetch_version, files_folder
from meltpoint.terminal import complain, say
from meltpoint.tracking.descriptions import LONGEST
from meltpoint.tracking.pipeline_state import PipelineState
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

EXPORTS = "meltpoint.exports"  # tag of a version: format -> fingerprint, and why it is refused, if it is
FOLDER = "exports"  # of the artifacts of its run
HEADING = "\n\n## "  # of what is added to the description of a version
DIGITS = 12  # of a fingerprint in a path: exports that were made again stand beside the older ones


def log_exports(store: Store, state: PipelineState, version: "ModelVersion", lost: bool = False) -> None:
    """Log the judged exports of the winner, whose version this is, with their table and picture; again, nothing.

    Refused ones are there, too, and marked. Killed before the tag is set, the version has none of them. `lost`: what
    was logged of them may be gone, and is logged again.
    """
    reports = state.folder / "reports"
    offers = read_offers(reports / "exports.json")
    if offers is None or not offers.exports:
        return
    if offers.winner != fingerprint_of(state.folder / "models" / offers.strategy):
        say(f"note: the exports are not of today's {offers.strategy}, and are left out. Make them again: dvc repro")
        return
    if other := [one.format for one in offers.exports
                 if fingerprint_of(state.folder / "exports" / one.format) != one.fingerprint]:  # fmt: skip
        say(f"note: of the exports {', '.join(other)} was made again and not judged since; all are left out. Judge"
            " them: dvc repro")  # fmt: skip
        return
    listed = {one.format: {"fingerprint": one.fingerprint, "refused": None if one.offered else one.reason}
              for one in offers.exports}  # fmt: skip
    tag = json.dumps(listed)
    if version.tags.get(EXPORTS) == tag and not lost:
        return
    with TemporaryDirectory() as temporary:
        for one in offers.exports:
            place = Path(temporary) / FOLDER / one.format / one.fingerprint[:DIGITS]
            shutil.copytree(state.folder / "exports" / one.format, place)
        for name in ("exports.png", "exports.md"):
            shutil.copyfile(reports / name, Path(temporary) / FOLDER / name)
        store.client.log_artifacts(str(version.run_id), temporary)
    told = (reports / "exports.md").read_text(encoding="utf-8")
    before = str(version.description or "").split(f"{HEADING}Exports of ", maxsplit=1)[0]
    store.client.update_model_version(store.name, version.version, f"{before}\n\n#{told}"[:LONGEST])
    store.client.set_model_version_tag(store.name, version.version, EXPORTS, tag)


def has_exports(store: Store, version: "ModelVersion") -> bool:
    """Whether the exports that a version lists are there; those on this machine are compared with their manifests."""
    for name, one in json.loads(version.tags.get(EXPORTS, "{}")).items():
        path = f"{FOLDER}/{name}/{one['fingerprint'][:DIGITS]}"
        if files_folder(store, version) is None:
            if not store.client.list_artifacts(str(version.run_id), path):
                return False
            continue
        try:
            folder = fetch_artifacts(version, path, store.uri)
            check_manifest(folder)
            if fingerprint_of(folder) != one["fingerprint"]:
                return False
        except UserError:
            return False
    return True


def fetch_export(where: str, name: str, uri: str | None = None) -> Path:
    """The folder of an export of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, to the byte as it was judged.

    Raises:
        VersionError: there is no such version, or the files of the export are gone or were changed.
        OfferError: the version has no such export, or it was refused.
    """
    _, version = fetch_version(where, uri)
    listed = json.loads(version.tags.get(EXPORTS, "{}"))
    offered = ", ".join(format_ for format_, one in listed.items() if one["refused"] is None) or "none"
    if name not in listed:
        raise OfferError(
            f"{where} has no export {name!r}; offered are: {offered}. Write `export: {{{name}: ...}}` into params.yaml,"
            " and run: dvc repro"
        )
    if listed[name]["refused"] is not None:
        raise OfferError(
            f"The export {name!r} of {where} was refused, and is not served: {listed[name]['refused']}. Offered are:"
            f" {offered}. Serve one of these, or the version itself without --backend."
        )
    wanted = listed[name]["fingerprint"]
    folder = fetch_artifacts(version, f"{FOLDER}/{name}/{wanted[:DIGITS]}", uri)
    try:
        found = fingerprint_of(folder)
    except WinnerError:
        found = ""
    if found != wanted:
        raise VersionError(
            f"The export {name!r} of {where} in {folder} is not the one that was judged. Write it again: remove the"
            f" tag {EXPORTS} of the version, then dvc repro --force register"
        )
    return folder


def check_offered(folder: Path) -> None:
    """Whether a folder may be served: not an export that was refused; of one that was not judged a note is printed.

    Raises:
        OfferError: it was refused.
        WinnerError: it is an export without a manifest.
    """
    if not is_export(folder):
        return
    judged, found = folder.absolute().parent.parent / "reports" / "exports.json", fingerprint_of(folder)
    offers = read_offers(judged)
    if offers is None or not (own := [one.format for one in offers.exports if one.fingerprint == found]):
        complain(f"note: {judged} says nothing of {folder} as it is now: how good it is has not been judged")
    else:
        offers.find(own[0])
