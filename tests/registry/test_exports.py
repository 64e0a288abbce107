"""Exports are judged, travel with the version of their winner, and are served only if they are offered."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import meltpoint
from meltpoint.compare.export_files import write_report
from meltpoint.comparison import read_comparison
from meltpoint.container.build import find_export
from meltpoint.errors import CommandError, UserError
from meltpoint.export.folder import ExportError, write_export
from meltpoint.export.winner import read_winner, write_winner
from meltpoint.files import write_json
from meltpoint.images.views import open_views
from meltpoint.model.card import read_card
from meltpoint.model.manifest import ManifestError, write_manifest
from meltpoint.offers import OfferError, Offers, read_offers
from meltpoint.params.exports import Exports
from meltpoint.recovery.archive import Archive, ArchivedPipeline
from meltpoint.recovery.restore import restore_files, restore_versions
from meltpoint.recovery.snapshots import Snapshot
from meltpoint.registry.exports import EXPORTS, check_offered, fetch_export, has_exports
from meltpoint.registry.version_files import VersionError, fingerprint
from meltpoint.registry.versions import versions_of
from meltpoint.shards import ShardError
from meltpoint.tasks.contract import load_objective
from meltpoint.tasks.offer import offer
from meltpoint.tracking.store import open_store

Judge = Callable[..., Offers]
RAW, LITERT = Path("data/raw"), Path(__file__).parents[1] / "export" / "litert"


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder exports/ of the finished pipeline, whose winner is written as ONNX once."""
    folder, settings = tmp_path_factory.mktemp("exported"), Exports.model_validate({"onnx": {"resize": True}})
    write_winner(finished / "models" / "frozen", folder / "winner.json")
    views, decode = open_views(finished / "data" / "views" / "s128"), load_objective("classification").decode
    winner = read_winner(folder / "winner.json").fingerprint
    write_export(finished / "models" / "frozen", winner, "onnx", settings.asked["onnx"], decode, views, folder / "onnx")
    return folder


@pytest.fixture
def judge(house: Any, exported: Path) -> Judge:
    """Judge the export of the winner, as the stage `offer` does."""
    params, folders = house.params, (Path("models"), Path("exports"), Path("reports/exports"))
    shutil.copytree(exported, "exports")

    def run(*others: str, margin: float = params.compare.margin) -> Offers:
        compare = params.compare.model_copy(update={"margin": margin})
        winner = read_winner(Path("exports/winner.json"))
        offers = offer(winner, ["onnx", *others], folders, RAW, params.evaluate, compare)
        write_report(offers, Path("reports"))
        return offers

    return run


def test_they_are_judged_registered_and_fetched(house: Any, judge: Judge) -> None:
    offers = judge()
    (own,) = offers.exports
    assert (own.offered, own.agreement, own.difference) == (True, 1.0, 0.0)
    assert (
        own.test
        == offers.test
        == json.loads(Path("reports/exports/onnx/metrics.json").read_text())["test"]["shape"]["accuracy"]
    )
    assert own.apart < 1e-4
    assert read_offers(Path("reports/exports.json")) == json_like(offers)
    assert "onnx" in Path("reports/exports.html").read_text()
    house.register()
    store = open_store("shapes")
    version = store.client.get_model_version_by_alias("shapes", "champion")
    assert version.description.count("Exports of frozen") == 1
    before = sorted(path for path in (store.root / "mlruns").rglob("*") if path.is_file())
    house.register()
    assert sorted(path for path in (store.root / "mlruns").rglob("*") if path.is_file()) == before
    folder = fetch_export("models:/shapes@champion", "onnx")
    picture = next(Path("photos").glob("*.png"))
    told, wanted = (meltpoint.load(where).predict(picture) for where in (folder, "models:/shapes@champion"))
    assert {head: one.label for head, one in told.heads.items()} == {h: one.label for h, one in wanted.heads.items()}
    with pytest.raises(OfferError, match="no export 'onnx_int8'; offered are: onnx"):
        fetch_export("models:/shapes@champion", "onnx_int8")
    with pytest.raises(VersionError):
        fetch_export("models:/shapes@nobody", "onnx")
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(ManifestError, match=r"changed: model\.onnx"):
        meltpoint.load(folder)


def json_like(offers: Offers) -> Offers:
    """With lists as JSON has them."""
    return replace(offers, exports=list(offers.exports))


def test_what_is_refused_is_marked_and_never_served(
    house: Any, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ai_edge_litert")
    shutil.copytree(LITERT, "exports/litert")  # of another network with such heads
    for name in ("card.json", "export.json"):
        shutil.copy(Path("exports/onnx") / name, "exports/litert")
    record = json.loads(Path("exports/litert/export.json").read_text())
    write_json(
        Path("exports/litert/export.json"),
        record | {"format": "litert", "settings": {"precision": "int8", "images": 48}},
    )
    write_manifest(Path("exports/litert"))
    wide = judge("litert")
    assert [(one.format, one.offered) for one in wide.exports] == [("onnx", True), ("litert", True)]
    shutil.copytree("exports/litert", "exports/again")
    offers = judge("litert", "again", margin=0.01)
    assert [(one.format, one.offered) for one in offers.exports] == [
        ("onnx", True),
        ("litert", False),
        ("again", False),
    ]
    assert "litert and again are refused: test does not rule out that it loses" in offers.sentence
    assert offers.sentence.count("refused") == 1
    said = offers.exports[1]
    assert said.agreement < 1
    assert said.apart > 0.1
    assert 0 < said.costs.megabytes < 0.3
    house.register()
    assert fetch_export("models:/shapes@champion", "onnx").is_dir()
    for ask in (
        lambda: fetch_export("models:/shapes@champion", "litert"),
        lambda: check_offered(Path("exports/litert")),
    ):
        with pytest.raises(OfferError, match="was refused, and is not served: test does not rule out that it loses"):
            ask()
    check_offered(Path("models/frozen"))
    folder = Path("exports").absolute()
    monkeypatch.chdir(tmp_path)  # it is judged where it is, wherever it is asked for from
    with pytest.raises(OfferError, match="was refused"):
        check_offered(folder / "litert")
    assert "has not been judged" not in capsys.readouterr().err
    write_json(folder / "onnx" / "manifest.json", {})
    check_offered(folder / "onnx")
    assert f"{folder / 'onnx'} as it is now: how good it is has not been judged" in capsys.readouterr().err


def test_one_that_resizes_is_judged_on_pictures(judge: Judge) -> None:
    shutil.rmtree(RAW)
    with pytest.raises(ShardError, match="does not hold"):
        judge()


def test_a_kill_before_the_tag_leaves_none(house: Any, judge: Judge) -> None:
    judge()
    house.register()
    store = open_store("shapes")
    store.client.delete_model_version_tag("shapes", "1", EXPORTS)  # what is logged before it is there
    with pytest.raises(OfferError, match="offered are: none"):
        fetch_export("models:/shapes/1", "onnx")
    house.register()
    assert fetch_export("models:/shapes/1", "onnx").is_dir()


def test_exports_are_restored_with_the_files_of_their_version(house: Any, judge: Judge) -> None:
    judge()
    house.register()
    store, key = open_store("shapes"), fingerprint(Path("models/frozen"))
    snapshot = Snapshot("0" * 40, None, "", {}, {"models/frozen": "0" * 32}, {"reports/exports.json": "1" * 32})
    decision = read_comparison(Path("reports/compare.json"))
    pipeline = ArchivedPipeline(snapshot, house.state, decision, {"frozen": read_card(Path("models/frozen")).key}, True)
    archive = Archive([pipeline])
    assert archive.find("shapes", key)
    folder = fetch_export("models:/shapes/1", "onnx")
    shutil.rmtree(folder.parents[1])
    with pytest.raises(VersionError):
        fetch_export("models:/shapes/1", "onnx")
    (trouble,) = restore_versions(store, Archive([]))
    assert "exports of shapes version 1 cannot be restored: no commit has them" in trouble
    assert restore_versions(store, archive) == []
    assert folder.is_dir()
    (folder / "model.onnx").write_bytes(b"other")
    store.client.delete_model_version_tag("shapes", "1", EXPORTS)  # as if killed before it was set
    assert restore_versions(store, archive) == []
    assert has_exports(store, versions_of(store)[1])
    shutil.rmtree(folder.parents[1])
    assert restore_files(store, versions_of(store)[1], archive) == []
    assert find_export("onnx", Path("models/finetune"), Path(), "models:/shapes/1") == fetch_export(
        "models:/shapes/1", "onnx"
    ), "the repository's own export is of another model than is packed"


def test_exports_of_another_winner_are_told(house: Any, judge: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    judge()
    write_winner(Path("models/finetune"), Path("exports/winner.json"))
    with pytest.raises(ExportError, match="was made of another model, of the strategy 'frozen'"):
        judge()
    house.train("frozen", 5)
    house.register()
    assert "are not of today's frozen" in capsys.readouterr().out
    with pytest.raises(OfferError):
        fetch_export("models:/shapes@champion", "onnx")


def test_without_exports_nothing_is_said(house: Any) -> None:
    write_winner(Path("models/frozen"), Path("exports/winner.json"))
    folders = (Path("models"), Path("exports"), Path("reports/exports"))
    winner = read_winner(Path("exports/winner.json"))
    offers = offer(winner, [], folders, RAW, house.params.evaluate, house.params.compare)
    write_report(offers, Path("reports"))
    assert offers.sentence.startswith("frozen is not exported")
    house.register()
    tags = open_store("shapes").client.get_model_version("shapes", "1").tags
    assert EXPORTS not in tags


@pytest.mark.usefixtures("judge")
def test_words_need_the_network() -> None:
    with pytest.raises(UserError, match=r"exports/onnx is an export.*Give the model that it was made of"):
        meltpoint.load("exports/onnx").with_words(["dog", "cat"])


def test_a_backend_is_of_a_version(house: Any) -> None:
    from meltpoint.cli import run

    with pytest.raises((CommandError, SystemExit)):
        run(["serve", "models/frozen", "--backend", "onnx"])
