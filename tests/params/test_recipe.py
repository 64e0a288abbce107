"""What one training depends on: in the recipe, in dvc.yaml and in the key of its checkpoint the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from meltpoint.params.model import GridTap, MapTap
from meltpoint.params.read import Params, ParamsError, parse_params
from meltpoint.params.recipe import Recipe

ROOT = Path(__file__).parents[2]
# Of each field of a recipe, where params.yaml has it, as dvc.yaml writes that.
FIELDS = {
    "seed": "seed", "task": "task", "heads": "heads", "metric": "compare.metric",
    "max_megapixels": "data.max_megapixels", "encoder": "encoders.${item.encoder}", "settings": "strategies.${key}",
    "machine": "train",
}  # fmt: skip


def rows(preset: str = "elpv") -> dict[str, Any]:
    """A preset with a second size, a second encoder and a third strategy."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "presets" / f"{preset}.yaml").read_text())
    [view], [encoder] = raw["views"], raw["encoders"]
    raw["views"]["large"] = {**raw["views"][view], "side": 224}
    raw["encoders"]["other"] = {**raw["encoders"][encoder], "views": "large", "name": "mobilenetv2_100"}
    raw["strategies"]["third"] = {**raw["strategies"]["frozen"], "encoder": "other"}
    return raw


def read(raw: dict[str, Any]) -> Params:
    return parse_params(raw, "params.yaml")


def test_dvc_tracks_what_a_recipe_holds() -> None:
    """The views are behind the features: data/features/<encoder> says what they were made of."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    train = stages["train"]["do"]
    assert set(Recipe.model_fields) == {"strategy", "views", *FIELDS}
    assert sorted(train["params"]) == sorted(FIELDS.values())
    assert "data/features/${item.encoder}" in train["deps"]
    assert "data/views/${item.views}" in stages["embed"]["do"]["deps"]
    assert "views.${key}" in stages["augment"]["do"]["params"]


def test_a_recipe_follows_the_rows_that_it_names() -> None:
    params = read(rows())
    recipe = params.recipe("third")
    assert (recipe.strategy, recipe.encoder.name, recipe.views.side) == ("third", "mobilenetv2_100", 224)
    assert params.recipe("frozen").views.side == 128
    assert recipe.main_head == "defective"
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_kinds_that_look_at_cached_features_share_one_pass_of_their_encoder() -> None:
    """`embed` makes what all rows of an encoder read; rows without a tap of their own read the same."""
    raw = rows()
    more: dict[str, dict[str, Any]] = {
        "pretrained": {"kind": "pretrained"},
        "prototypes": {"kind": "prototypes"},
        "few": {"kind": "prototypes", "shots": 2},
        "knn": {"kind": "knn", "k": [5]},
    }
    raw["strategies"] |= {name: {"encoder": "lite0", **own} for name, own in more.items()}
    params = read(raw)
    assert params.taps["lite0"] == read(rows()).taps["lite0"] == ["final"]
    assert {params.recipe(name).settings.encoder for name in more} == {"lite0"}


def test_a_strategy_that_makes_heads_of_its_own_keeps_what_they_say_and_where_they_read() -> None:
    raw = rows()
    wish = {"metric": "recall", "at_least": 0.9}
    raw["heads"]["defective"] |= {"kind": "mlp", "hidden": 8, "tap": -2, "threshold": wish}
    raw["heads"]["wafer"] |= {"kind": "conv", "tap": -1}
    raw["strategies"] |= {"few": {"kind": "knn", "encoder": "lite0", "k": [5], "taps": {"severity": -3}}}
    heads = read(raw).recipe("few").heads
    assert [(head.kind, head.reads) for head in heads.values()] == [("knn", -2), ("knn", -3), ("knn", "final")]
    assert (heads["defective"].main, heads["defective"].weight) == (True, 2.0)
    assert heads["defective"].threshold is not None
    assert heads["defective"].threshold.at_least == 0.9


def test_a_recipe_knows_nothing_of_other_rows() -> None:
    raw = rows()
    before = read(raw).recipe("third")
    raw["views"]["s128"]["copies"] = 1
    raw["encoders"]["lite0"]["mean"] = [0.1] * 3
    raw["strategies"]["finetune"]["lr"] = 0.5
    raw["evaluate"]["worst"] = 1
    raw["split"]["seed"] = 99
    assert read(raw).recipe("third") == before


def test_a_strategy_taps_its_encoder_elsewhere() -> None:
    raw = rows()
    raw["heads"]["wafer"] |= {"kind": "conv", "tap": -1}
    raw["strategies"]["third"]["taps"] = {"severity": {"at": -2, "pool": ["class"]}, "wafer": -2}
    params = read(raw)
    assert params.recipe("third").readings == {"final", params.recipe("third").heads["severity"].reads, MapTap(at=-2)}
    assert params.readings("lite0") == {"final", MapTap(at=-1)}
    assert params.taps == {
        "lite0": [{"at": -1}, "final"] if str({"at": -1}) < "final" else ["final", {"at": -1}],
        "other": sorted(["final", {"at": -2, "pool": ["class"]}, {"at": -2}], key=str),
    }


def test_so_does_one_of_pixels() -> None:
    raw = yaml.safe_load((ROOT / "presets" / "camvid.yaml").read_text())
    raw["strategies"]["frozen"]["taps"] = {"scene": [3, 4]}
    params = read(raw)
    assert params.recipe("frozen").readings == {GridTap(at=(3, 4))}
    assert params.readings("lite0") == {GridTap(at=(1, 2, 3, 4)), GridTap(at=(3, 4))}


@pytest.mark.parametrize(
    ("section", "row", "change", "message"),
    [
        ("strategies", "third", {"encoder": "othr"}, r"third\.encoder: 'othr' is not in encoders \['lite0', 'other'\]"),
        ("encoders", "other", {"views": "lage"}, r"encoders\.other\.views: 'lage' is not in views \['s128', 'large'\]"),
        ("encoders", "other", {"views": "s128"}, r"views\.large: no encoder uses it"),
        ("strategies", "third", {"encoder": "lite0"}, r"encoders\.other: no strategy uses it"),
        ("strategies", "third", {"taps": {"wefer": -1}}, r"strategies\.third\.taps\.wefer: 'wefer' is not in heads"),
        (
            "strategies",
            "third",
            {"taps": {"wafer": [1, 2]}},
            r"taps\.wafer: \(1, 2\) is no tap of a head of kind linear",
        ),
        ("encoders", "other", {"args": {"num_classes": 3}}, r"encoders\.other\.args\.num_classes: that is for heads"),
    ],
)
def test_rows_that_do_not_fit_are_told(section: str, row: str, change: dict[str, Any], message: str) -> None:
    raw = rows()
    raw[section][row] |= change
    with pytest.raises(ParamsError, match=message):
        read(raw)


def test_all_wrong_rows_are_told_at_once() -> None:
    raw = rows()
    raw["strategies"]["third"] |= {"encoder": "othr", "taps": {"wefer": -1}}
    raw["encoders"]["other"]["views"] = "lage"
    with pytest.raises(ParamsError, match="has 5 errors"):
        read(raw)


@pytest.mark.parametrize(("section", "key"), [("strategies", "encoder"), ("encoders", "views")])
def test_a_row_that_names_none_is_told_which_there_are(section: str, key: str) -> None:
    raw = rows()
    row = next(iter(raw[section]))
    del raw[section][row][key]
    named = {"encoder": "'lite0', 'other'", "views": "'s128', 'large'"}[key]
    with pytest.raises(ParamsError, match=rf"{section}\.{row}\S*\.{key}: missing\. Name a row: \[{named}\]"):
        read(raw)


def test_masks_are_compared_in_one_geometry() -> None:
    raw = rows("camvid")
    with pytest.raises(ParamsError, match=r"views: masks are compared pixel by pixel.* s256 256 px .* large 224 px"):
        read(raw)
    raw["views"]["large"] |= {"side": 256, "copies": 1}
    with pytest.raises(ParamsError, match=r"views: \['large'\] have `draft`, and masks are as large as their images"):
        read({**raw, "views": {**raw["views"], "large": {**raw["views"]["large"], "draft": True}}})
    assert read(raw).recipe("third").views.copies == 1
