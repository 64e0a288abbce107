"""Tags from stored views to a decision: two strategies train, are judged, compared, asked and scored again."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from text_folder import WIDTH, write_text_folder
from tiny_clip import save_clip
from worded import LITE0

from meltpoint.compare.decision import compare
from meltpoint.compare.decision_files import write_decision
from meltpoint.compare.results import read_results
from meltpoint.images.views import open_views
from meltpoint.metrics import average_precision, from_tags
from meltpoint.model.backbones import build_backbone
from meltpoint.model.class_vectors import TagListError
from meltpoint.model.library import open_text
from meltpoint.model.text_vectors import embed_words
from meltpoint.params.judging import Compare, Evaluate
from meltpoint.params.model import Backbone
from meltpoint.params.recipe import Recipe
from meltpoint.params.training import Embed
from meltpoint.predict.fonts import open_fonts
from meltpoint.predict.records import PredictError
from meltpoint.serving.request_limits import read_limits
from meltpoint.serving.responses import answer, answer_columns
from meltpoint.tables import JUDGED, read_tags
from meltpoint.tasks.answerer import Answerer, open_answerer
from meltpoint.tasks.tagging import display, metrics, paired, registry, report
from meltpoint.tasks.tagging.tag_thresholds import count_tags
from meltpoint.train.embed import embed
from meltpoint.train.strategy import Inputs, train_strategy

SIZE, IMAGES, TAGS = 32, 120, ["blue", "green", "red"]
PROBE = {
    "epochs": 30, "batch": 16, "lr": 0.02, "schedule": "cosine", "weight_decays": [0.0, 0.3], "label_smoothing": 0.0,
}  # fmt: skip
TUNED = {
    "encoder": "net", "probe": PROBE, "epochs": 2, "batch": 16, "lr": 0.002, "schedule": "cosine", "weight_decay": 0.01,
    "warmup": 0.1,
}  # fmt: skip
STRATEGIES: dict[str, dict[str, Any]] = {
    "frozen": {"kind": "frozen", "encoder": "net", "probe": PROBE},
    "finetune": {"kind": "finetune", **TUNED, "unfreeze": "all", "backbone_lr": 0.001, "repeats": 2},
    "partial": {"kind": "finetune", **TUNED, "unfreeze": 1, "backbone_lr": 0.001},
    "lora": {"kind": "lora", **TUNED, "rank": 2, "alpha": 4.0, "where": "all", "adapter_lr": 0.001},
}


def recipe(name: str, **head: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "strategy": name,
            "settings": STRATEGIES[name],
            "seed": 3,
            "task": {"kind": "tagging"},
            "views": {"side": SIZE, "resize": "squash", "interpolation": "area", "copies": 1},
            "encoder": {
                "views": "small", "name": "test_efficientnet", "weights": {"kind": "random"}, "mean": [0.5] * 3,
                "std": [0.25] * 3,
            },
            "heads": {"light": {"label": "light", "tag_thresholds": {"metric": "f1"}, **head}},
            "metric": "map",
            "max_megapixels": 10.0,
            "machine": {"processes": 1, "workers": 0, "threads": 1, "precision": "fp32", "checkpoint_steps": 50},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with models and reports of both strategies: pictures that shine in the colours of their tags."""
    folder, rng = tmp_path_factory.mktemp("tags"), np.random.default_rng(0)
    patch = pytest.MonkeyPatch()
    for name, value in {"MELTPOINT_TRACKING": "off", "ACCELERATE_USE_CPU": "true"}.items():
        patch.setenv(name, value)
    patch.delenv("DVC_ROOT", raising=False)
    patch.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_views(folder / "data", rng)
    shown = recipe("frozen")
    views = open_views(folder / "data/views/small")
    backbone = build_backbone(shown.encoder, {"final", "final_map"}, SIZE)
    features = embed(backbone, views, Embed(batch=32, max_gb=1), folder / "data/features/net")
    assert features.stored
    for name in STRATEGIES:
        asked = recipe(name)
        trained = train_strategy(asked, Inputs.below(folder / "data", asked), Path(name), Path(f"{name} repeats"))
        write_reports(folder, name, views, trained.costs["seconds"])
    yield folder
    torch.set_num_threads(threads)
    patch.undo()


def write_views(data: Path, rng: Any) -> None:
    truth = rng.random((IMAGES, 3)) < 0.5
    split = np.repeat(["train", "val", "test"], [IMAGES // 2, IMAGES // 4, IMAGES // 4])
    shine = 70 + 110 * truth[:, None, None, ::-1]  # red, green, blue
    plain = rng.normal(shine, 40, (IMAGES, SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    cells = ["".join(f"|{tag}" for tag, has in zip(TAGS, row, strict=True) if has) + "|" for row in truth]
    cells[0], cells[1] = "", "|?blue|?green|?red|"
    samples = pd.DataFrame({"id": np.arange(IMAGES), "path": [f"{number}.png" for number in range(IMAGES)]})
    samples = samples.assign(light=cells, group="image:" + samples["path"], split=split, width=SIZE, height=SIZE)
    samples["sha256"] = [f"{number:064x}" for number in range(IMAGES)]
    folder = data / "views/small"
    folder.mkdir(parents=True)
    np.save(folder / "plain.npy", plain)
    np.save(folder / "augmented.npy", plain[split == "train"][:, None, :, ::-1])
    samples.to_csv(folder / "samples.csv", index=False)
    (folder / "classes.json").write_text(json.dumps({"light": TAGS}))
    (folder / "views.json").write_text(json.dumps({"size": SIZE, "count": 1, "fingerprint": "noise"}))
    (data / "classes.json").write_text(json.dumps({"light": TAGS}))
    (data / "names.json").write_text(json.dumps({"light": {"de": {"red": "rot"}}}))
    (data / "descriptions.json").write_text("{}")


def write_reports(folder: Path, name: str, views: Any, seconds: float) -> None:
    answerer, settings = open_answerer(folder / name), Evaluate(batch=32, calibration_bins=5, worst=6, latency_runs=1)
    table = answerer.predict_views(views, JUDGED, 32)
    judgement = metrics.judge(table, answerer.card, settings)
    target = folder / "reports/strategies" / name
    report.write_report(table, judgement, views, answerer, settings, target)
    repeats = [
        again.assign(repeat=number)
        for number, (_, again) in enumerate(answerer.predict_repeats(folder / f"{name} repeats", views, JUDGED, 32), 2)
    ]
    pd.concat(repeats or [table.iloc[:0].assign(repeat=0)]).to_parquet(target / "repeats.parquet", index=False)
    costs = folder / "reports/costs"
    costs.mkdir(exist_ok=True)
    train = {"seconds": seconds, "peak_megabytes": 1.0, "parameters": 5, "trainable_parameters": 5}
    speed = {"latency_p50_ms": 1.0, "latency_p95_ms": 1.0, "throughput_per_second": 1.0, "megabytes": 1.0}
    (costs / "embed-net.json").write_text(json.dumps(train))
    (costs / f"train-{name}.json").write_text(json.dumps(train))
    (costs / f"predict-{name}.json").write_text(json.dumps({**train, **speed}))


@pytest.fixture
def answerer(made: Path) -> Answerer:
    return open_answerer(made / "frozen")


def test_each_strategy_learns_tags_and_thresholds(made: Path) -> None:
    for name in STRATEGIES:
        found = json.loads((made / f"reports/strategies/{name}/metrics.json").read_text())["test"]["light"]
        assert found["map"] > 0.9
        assert found["images"] == IMAGES // 4
        assert set(found["classes"]) == set(TAGS)
        card = open_answerer(made / name).card.heads["light"]
        assert card.thresholds is not None
        assert [own["threshold"] for own in found["classes"].values()] == pytest.approx(card.thresholds, abs=1e-6)
        drawn = {path.name for path in (made / f"reports/strategies/{name}/pictures").iterdir()}
        assert drawn == {"tags.png", "mistakes.png"}


def test_a_head_of_queries_learns_tags(made: Path) -> None:
    decoder = {"kind": "query", "hidden": 16, "layers": 1, "attention_heads": 2, "vectors": 8}
    loss = {"kind": "asymmetric", "gamma_pos": 0, "gamma_neg": 2, "clip": 0.05}
    asked = recipe("frozen", **decoder, loss=loss)
    inputs = Inputs.below(made / "data", asked)
    train_strategy(asked, inputs, Path("queries"), Path("queries repeats"))
    table = open_answerer(Path("queries")).predict_views(inputs.views, ("test",), 32)
    truth, shares = read_tags(table["light.label"], TAGS), table[[f"light.p.{tag}" for tag in TAGS]].to_numpy()
    assert average_precision(truth, shares).mean() > 0.75  # chance gives a half


def queries(made: Path, name: str, **own: Any) -> Answerer:
    """A head of queries that began as `own` says, trained and saved."""
    decoder = {"kind": "query", "hidden": 16, "layers": 1, "attention_heads": 2, "vectors": 8}
    asked = recipe("frozen", **decoder, queries=own)
    train_strategy(asked, Inputs.below(made / "data", asked), Path(name), Path(f"{name} repeats"))
    return open_answerer(Path(name))


def vectors_of(answerer: Answerer) -> Any:
    return answerer.predictor.network.state_dict()["heads.light.1.vectors"].numpy()


def test_queries_begin_as_the_vectors_of_names_and_can_be_asked_for_other_words(made: Path) -> None:
    save_clip(made / "clip.safetensors", 8)
    weights = {"kind": "file", "path": str(made / "clip.safetensors"), "match": "name", "licence": "MIT"}
    encoder = {"library": "open_clip", "name": "ViT-B-16", "weights": weights}
    answerer = queries(made, "texts", kind="text", encoder=encoder, fixed=True)
    expected = embed_words(open_text(Backbone.model_validate(encoder)), {tag: [tag] for tag in TAGS})
    np.testing.assert_allclose(vectors_of(answerer), expected, atol=1e-6)
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    told = answerer.with_words(["red", "a lantern"], text=made / "clip.safetensors").probabilities(pixels)["words"]
    np.testing.assert_allclose(told[:, 0], answerer.probabilities(pixels)["light"][:, 2], atol=1e-6)
    assert np.abs(told[:, 0] - told[:, 1]).max() > 1e-4


@pytest.mark.parametrize("fixed", [True, False])
def test_queries_begin_as_the_vectors_of_a_file_whatever_its_order(made: Path, fixed: bool) -> None:
    given = np.random.default_rng(2).normal(size=(4, 8)).astype(np.float32)
    np.save("vectors.npy", given)
    Path("list.txt").write_text("red\nnight\ngreen\nblue\n")
    found = vectors_of(queries(made, f"file {fixed}", kind="file", path="vectors.npy", tags="list.txt", fixed=fixed))
    assert (np.abs(found - given[[3, 2, 0]]).max() < 1e-7) == fixed
    assert np.corrcoef(found.ravel(), given[[3, 2, 0]].ravel())[0, 1] > 0.8  # they learn, from there
    Path("list.txt").write_text("red\nnight\ngreen\nblau\n")
    with pytest.raises(TagListError, match=r"lacks 1 of 3 tags of the data, such as \['blue'\]"):
        queries(made, "lacking", kind="file", path="vectors.npy", tags="list.txt")


def test_words_give_tags_by_thresholds_of_val(made: Path) -> None:
    write_text_folder(made / "text")
    asked = recipe("frozen").model_dump()
    asked["settings"] = {"kind": "words", "encoder": "told", "texts": ["names"], "examples": 4}
    asked["encoder"] |= {"library": "sentences", "name": "tf_efficientnet_lite0", "weights": LITE0, "top": 5}
    asked["encoder"]["text"] = {"folder": str(made / "text"), "width": WIDTH}
    plain = Recipe.model_validate(asked)
    told = plain.model_copy(
        update={"heads": {name: plain.settings.fit_head(head) for name, head in plain.heads.items()}}
    )
    views = open_views(made / "data/views/small")
    backbone = build_backbone(told.encoder, {"final"}, SIZE)
    embed(backbone, views, Embed(batch=32, max_gb=1), made / "data/features/told")
    train_strategy(told, Inputs.below(made / "data", told), Path("told"), Path("told repeats"))
    card = open_answerer(Path("told")).card.heads["light"]
    assert (card.head.kind, card.outputs) == ("cosine", len(TAGS))
    assert card.thresholds is not None
    table = open_answerer(Path("told")).predict_views(views, ("val",), 32)
    truth, said = (read_tags(table[f"light.{part}"], TAGS) for part in ("label", "answer"))
    assert from_tags(*count_tags(truth, said == 1))["macro_f1"] > 0.5


def test_the_comparison_measures_what_the_evaluation_did_and_writes_its_page(made: Path, tmp_path: Path) -> None:
    recipes = {name: recipe(name) for name in STRATEGIES}
    results = read_results(made / "reports", recipes, made / "data/classes.json", paired)
    for metric in ("map", "micro_f1", "macro_f1"):
        found = results.answers["test"]["light"].measure(metric)
        told = [results.metrics[name]["test"]["light"][metric] for name in results.strategies]
        assert [own[0] for own in found.runs] == pytest.approx(told, abs=1e-6)
        assert [len(own) for own in found.runs] == [1, 2, 1, 1]
        assert found.refusal is None
    settings = Compare(metric="map", margin=0.2, confidence=0.95, cost="train_seconds")
    decision = compare(results, settings)
    assert "mAP on light" in decision.sentence
    write_decision(decision, tmp_path)
    page = (tmp_path / "compare.html").read_text()
    assert all(word in page for word in ("micro F1", "average precision", *TAGS))


def test_a_picture_gets_the_tags_above_their_thresholds(answerer: Answerer) -> None:
    picture = np.full((SIZE, SIZE, 3), (180, 70, 180), np.uint8)
    got = answerer.predict(picture, top=2, language="de")
    assert not isinstance(got, list)
    said = got.tags["light"]
    card = answerer.card.heads["light"]
    shares = dict(zip(card.classes, answerer.probabilities(picture[None])["light"][0], strict=True))
    limits = dict(zip(card.classes, card.thresholds or [], strict=True))
    assert (
        {choice.label for choice in said.tags} == {tag for tag in TAGS if shares[tag] > limits[tag]} == {"red", "blue"}
    )
    assert [choice.probability for choice in said.top] == sorted(shares.values(), reverse=True)[:2]
    assert {choice.label: choice.name for choice in said.tags}["red"] == "rot"
    assert display.describe(got)["light"]["tags"][0]["label"] == said.tags[0].label
    assert display.line(got, "light").startswith(f"light {said.tags[0].name} ")
    cells = display.cells(got)
    assert list(cells) == list(display.columns(answerer.card, 2))
    assert cells["light.count"] == 2
    assert set(str(cells["light"]).split(" | ")) == {"red", "blue"}
    drawn = display.draw(picture, got, "light", [open_fonts(20, None, None)] * 2, steady=False)
    assert drawn.height > SIZE
    with pytest.raises(PredictError, match="language 'fr'"):
        answerer.predict(picture, language="fr")


def test_tables_of_pictures_and_of_views_say_the_same(answerer: Answerer, made: Path) -> None:
    views = open_views(made / "data/views/small")
    table = answerer.predict_views(views, ("test",), 32)
    rows = views.rows("test")
    files = answerer.predict_images([np.asarray(views.plain[row]) for row in rows], 7)
    assert files["light.answer"].tolist() == table["light.answer"].tolist()
    np.testing.assert_allclose(files["light.p.red"], table["light.p.red"], atol=1e-5)
    assert (read_tags(table["light.label"], TAGS) >= 0).all()
    bad = answerer.predict_images([b"no picture"], 7)
    assert bad["light.answer"].isna().all()


def test_the_server_answers_with_tags_as_json(answerer: Answerer, made: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE, 3), (180, 70, 70), np.uint8)).save(content, "PNG")
    given = pd.Series([base64.b64encode(content.getvalue()).decode(), "!"])
    said = answer(answerer, given, read_limits({}))
    assert list(said.columns) == list(answer_columns(answerer.card))
    assert list(json.loads(said["light.tags"][0])) == ["red"]
    assert set(json.loads(said["light.all"][0])) == set(TAGS)
    assert json.loads(said["light.names"][0]) == {"de": {"red": "rot"}}
    assert said["error"][1]


def test_the_tables_of_a_version(answerer: Answerer, made: Path) -> None:
    views = open_views(made / "data/views/small")
    (name, mistakes, pictures), (other, test, none) = registry.tables_of(
        views, answerer.card, 3, made / "reports/strategies/frozen"
    )
    assert (name, other, none) == ("test_mistakes", "test_predictions", None)
    assert list(mistakes.columns) == ["missed", "wrong", "loss", "path", "id"]
    assert pictures is not None
    assert len(pictures) == len(mistakes)
    assert len(test) == IMAGES // 4
