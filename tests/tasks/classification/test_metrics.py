import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from meltpoint.evaluate.judgement import HeadJudgement, describe_calibration
from meltpoint.model.card import HeadCard, TreeCard
from meltpoint.params.heads import Coverage, Threshold
from meltpoint.tables import answer_column, label_column, probability_columns
from meltpoint.tasks.classification.metrics import judge_head, judge_heads, score_likely, score_threshold, score_unknown

Make = Callable[..., HeadCard]


def draw(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, images)
    probabilities = rng.dirichlet(np.ones(classes), images) + 0.5 * np.eye(classes)[true]
    return true, probabilities / probabilities.sum(1, keepdims=True), [f"c{index}" for index in range(classes)]


def judge_drawn(true: np.ndarray, probabilities: np.ndarray, card: HeadCard, bins: int = 10) -> HeadJudgement:
    """The most probable class is the answer."""
    said = probabilities.argmax(1) if len(true) else np.empty(0, dtype=np.int64)
    return judge_head(true, said, probabilities, probabilities, card, bins)


@pytest.mark.parametrize("classes", [2, 5, 7])
def test_scores_are_those_of_scikit_learn(classes: int, card: Make) -> None:
    true, probabilities, names = draw(300, classes)
    judged, predicted = judge_drawn(true, probabilities, card(names, target="ordinal")), probabilities.argmax(1)
    labels = range(classes)
    for_auc = probabilities[:, 1] if classes == 2 else probabilities
    hot = np.eye(classes)[true] if classes > 2 else true
    assert judged.scores["accuracy"] == pytest.approx(reference.accuracy_score(true, predicted))
    assert judged.scores["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(true, predicted))
    assert judged.scores["macro_f1"] == pytest.approx(reference.f1_score(true, predicted, average="macro"))
    assert judged.scores["roc_auc"] == pytest.approx(reference.roc_auc_score(true, for_auc, multi_class="ovr"))
    assert judged.scores["average_precision"] == pytest.approx(reference.average_precision_score(hot, for_auc))
    assert judged.scores["log_loss"] == pytest.approx(reference.log_loss(true, probabilities))
    kappa = reference.cohen_kappa_score(true, predicted, weights="quadratic")
    assert judged.scores["quadratic_kappa"] == pytest.approx(kappa)
    assert judged.scores["mean_absolute_error"] == pytest.approx(reference.mean_absolute_error(true, predicted))
    likely = reference.top_k_accuracy_score(true, probabilities, k=5) if classes > 5 else None
    assert judged.scores.get("top_5_accuracy") == (likely if likely is None else pytest.approx(likely))
    each = reference.precision_recall_fscore_support(true, predicted, labels=labels)
    for column, expected in zip(["precision", "recall", "f1", "support"], each, strict=True):
        assert judged.by_class[column].to_numpy() == pytest.approx(expected)
    assert (judged.confusion == reference.confusion_matrix(true, predicted, labels=labels)).all()


def test_a_class_that_never_occurs_is_said_and_is_no_mistake(card: Make) -> None:
    true, probabilities, names = draw(60, 3)
    true[true == 2] = 0
    judged = judge_drawn(true, probabilities, card(names))
    assert judged.absent == ["c2"]
    absent, found = judged.metrics["classes"]["c2"], judged.metrics
    assert absent["support"] == 0
    assert absent["recall"] is absent["roc_auc"] is absent["average_precision"] is None
    assert found["absent_classes"] == 1
    predicted = probabilities.argmax(1)
    macro = reference.f1_score(true, predicted, labels=range(2), average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro, abs=1e-6)
    assert found["roc_auc"] == pytest.approx(judged.by_class["roc_auc"].dropna().mean(), abs=1e-6)


def test_what_cannot_be_had_is_null_in_json(card: Make) -> None:
    own = card(["a", "b"], target="ordinal", threshold=0.9, below=0.9)
    one = judge_drawn(np.zeros(4, dtype=np.int64), np.tile([0.8, 0.2], (4, 1)), own)
    none = judge_drawn(np.empty(0, dtype=np.int64), np.empty((0, 2)), own)
    assert one.scores["precision"] is one.scores["recall"] is one.scores["answered_accuracy"] is None
    assert one.scores["coverage"] == 0
    assert one.scores["roc_auc"] is None
    assert one.scores["accuracy"] == 1
    assert set(none.scores.values()) == {None}
    assert none.images == 0
    for judged in (one, none):
        json.dumps(judged.metrics, allow_nan=False)


def predictions() -> pd.DataFrame:
    columns = probability_columns("sick", ["no", "yes"])
    table = pd.DataFrame(
        {"id": [1, 2, 3, 4, 5], "path": list("abcde"), "split": ["val", "val", "test", "test", "test"]}
    )
    table[label_column("sick")] = pd.array(["no", "yes", "yes", pd.NA, "no"], dtype="string")
    table[columns] = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.5, 0.5], [0.6, 0.4]]
    table[answer_column("sick")] = pd.array(["no", "no", "yes", "no", "no"], dtype="string")
    return table


def test_val_and_test_are_apart_and_the_unlabelled_are_left_out(card: Make) -> None:
    judgement = judge_heads(predictions(), {"sick": card(["no", "yes"])}, None, 10)
    val, test = (judgement.metrics[split]["sick"] for split in ("val", "test"))
    assert (val["images"], test["images"]) == (2, 2)
    assert (val["accuracy"], test["accuracy"]) == (0.5, 1.0)
    assert judgement.summary["val"]["sick"] == {"accuracy": 0.5, "f1": 0.0}
    assert judgement.sentence("sick") == "100.0% accuracy on sick, 2 test images (50.0% on val)"


def test_the_sentence_tells_what_test_lacks(card: Make) -> None:
    table, heads = predictions(), {"sick": card(["no", "yes"])}
    table.loc[table["split"] == "test", label_column("sick")] = "no"
    assert judge_heads(table, heads, None, 10).sentence("sick").endswith("; test has no image of yes")
    table.loc[table["split"] == "test", label_column("sick")] = pd.NA
    assert "no test image has a label for sick" in judge_heads(table, heads, None, 10).sentence("sick")


def test_the_sentence_stays_short(card: Make) -> None:
    table = predictions()
    names = ["no", "yes", *(f"kind {number}" for number in range(40))]
    table[probability_columns("sick", names[2:])] = 0.0
    assert judge_heads(table, {"sick": card(names)}, None, 10).sentence("sick").endswith("kind 4 and 35 more classes")


def test_what_is_answered_counts_and_not_what_is_most_probable(card: Make) -> None:
    """By a threshold of 0.15 all but the first are sick."""
    table = predictions()
    table[answer_column("sick")] = pd.array(["no", "yes", "yes", "yes", "yes"], dtype="string")
    own = card(["no", "yes"], threshold=0.15, wished=Threshold(metric="recall", at_least=0.9), below=0.5, right=0.8)
    judgement = judge_heads(table, {"sick": own}, None, 10)
    val, test = (judgement.metrics[split]["sick"] for split in ("val", "test"))
    assert (val["accuracy"], test["accuracy"]) == (1.0, 0.5)
    assert (test["precision"], test["recall"], test["roc_auc"]) == (0.5, 1.0, 1.0)
    assert test["threshold"] == {"at": 0.15, "metric": "recall", "at_least": 0.9}
    assert (val["coverage"], val["answered_accuracy"]) == (0.5, 1.0), "the second is sick with a confidence of 0.2"
    assert (test["coverage"], test["answered_accuracy"]) == (0.5, 1.0), "one of two is above 0.5, and it is right"
    assert test["unknown"] == {"below": 0.5, "right": 0.8}
    confidence = judgement.splits["val"]["sick"].reliability["confidence"]
    assert confidence.tolist() == pytest.approx([0.2, 0.9])


def test_confidence_in_a_tree_is_that_of_the_path(card: Make) -> None:
    """Two leaves under one parent share what the parent has; the third is alone under the other."""
    heads = {"kind": card(["a", "b"]), "leaf": card(["a1", "a2", "b1"])}
    tree = TreeCard(levels=["kind", "leaf"], parents={"leaf": {"a1": "a", "a2": "a", "b1": "b"}})
    table = pd.DataFrame({"id": [1, 2], "path": ["x", "y"], "split": ["val", "test"]})
    for head, label, chances in (("kind", "a", [0.8, 0.2]), ("leaf", "a1", [0.3, 0.3, 0.4])):
        table[label_column(head)] = table[answer_column(head)] = pd.array([label] * 2, dtype="string")
        table[probability_columns(head, heads[head].classes)] = [chances] * 2
    judgement = judge_heads(table, heads, tree, 10)
    weights = np.array([0.8 * 0.3, 0.8 * 0.3, 0.2 * 0.4])
    weights /= weights.sum()
    test = judgement.splits["test"]
    assert test["leaf"].reliability["confidence"].tolist() == pytest.approx([weights[0]])
    assert test["kind"].reliability["confidence"].tolist() == pytest.approx([weights[:2].sum()])
    assert judgement.hierarchy["test"]["consistency"] == 0, "alone, the leaf would be b1 under a"
    assert judge_heads(table, heads, None, 10).hierarchy == {}


def test_the_likely_classes_of_a_tree_are_those_of_its_paths(card: Make) -> None:
    """Alone, five leaves of the other kind are likelier than the true one."""
    leaves = ["a1", *(f"b{number}" for number in range(5))]
    heads = {"kind": card(["a", "b"]), "leaf": card(leaves)}
    tree = TreeCard(levels=["kind", "leaf"], parents={"leaf": {leaf: leaf[0] for leaf in leaves}})
    table = pd.DataFrame({"id": [1, 2], "path": ["x", "y"], "split": ["val", "test"]})
    for head, label, chances in (("kind", "a", [0.9, 0.1]), ("leaf", "a1", [0.1, *[0.18] * 5])):
        table[label_column(head)] = table[answer_column(head)] = pd.array([label] * 2, dtype="string")
        table[probability_columns(head, heads[head].classes)] = [chances] * 2
    grown, alone = (judge_heads(table, heads, given, 10).metrics["test"]["leaf"] for given in (tree, None))
    assert (grown["top_5_accuracy"], alone["top_5_accuracy"]) == (1.0, 0.0)


TRUE = np.arange(10, dtype=np.int64)


def test_a_head_that_tells_nothing_apart_has_no_class_among_its_five() -> None:
    assert score_likely(TRUE, np.full((10, 10), 0.1)) == {"top_5_accuracy": 0.0}


@pytest.mark.parametrize(
    ("better", "equal", "found"), [(4, 0, 1.0), (5, 0, 0.0), (3, 1, 1.0), (4, 1, 0.0), (0, 5, 0.0)]
)
def test_classes_as_probable_as_the_true_one_stand_before_it(better: int, equal: int, found: float) -> None:
    """Of ten classes, so many are more probable than the true one, and so many as probable."""
    row = np.array([0.2] + [0.3] * better + [0.2] * equal + [0.1] * (9 - better - equal))
    assert score_likely(np.zeros(1, np.int64), row[None]) == {"top_5_accuracy": found}


def test_a_saturated_head_counts_no_ties_at_zero() -> None:
    """All of the mass on one wrong class, as float32 says it: the other nine are equally improbable."""
    assert score_likely(TRUE, np.roll(np.eye(10), 1, axis=1)) == {"top_5_accuracy": 0.0}


SAID = np.array([0, 0, 1, 2])
SHOWN = np.array([[0.6, 0.3, 0.1], [0.45, 0.44, 0.11], [0.1, 0.85, 0.05], [0.3, 0.3, 0.4]])


def wished(card: Make, unknown: float | Coverage | None, below: float | None) -> HeadCard:
    own = card(["a", "b", "c"], below=below)
    return own.model_copy(update={"head": own.head.model_copy(update={"unknown": unknown})})


def test_of_a_coverage_what_is_not_alone_in_its_set_is_unknown(card: Make) -> None:
    """From 0.42 on: alone, beside another, alone, nobody."""
    own = wished(card, Coverage(coverage=0.9), 0.42)
    assert own.find_unknown(SHOWN, SAID).tolist() == [False, True, False, True]
    assert wished(card, 0.9, 0.42).find_unknown(SHOWN, SAID).tolist() == [False, False, False, True]
    assert own.find_unknown(SHOWN, np.array([1, 1, 0, 2])).all(), "the answer itself has to be in the set"
    scores = score_unknown(np.array([0, 1, 0, 2]), SAID, SHOWN, own)
    assert scores == {"coverage": 0.5, "answered_accuracy": 0.5, "set_coverage": 0.5}
    assert describe_calibration(own)["unknown"] == {"below": 0.42, "right": None, "coverage": 0.9}


def test_a_wish_that_val_could_not_show_is_in_the_report(card: Make) -> None:
    own = wished(card, Coverage(coverage=0.9), None)
    assert not own.find_unknown(SHOWN, SAID).any()
    scores = score_unknown(SAID, SAID, SHOWN, own)
    assert scores == {"coverage": 1.0, "answered_accuracy": 1.0, "set_coverage": None}
    learnt = describe_calibration(own)
    assert (learnt["unknown"], learnt["not_shown"]) == (None, ["a coverage of 0.9, so no answer is unknown"])
    assert describe_calibration(wished(card, 0.8, None))["not_shown"] == [
        "0.8 of answers right, so no answer is unknown"
    ]
    two = card(["no", "yes"], wished=Threshold(metric="recall", at_least=0.95))
    assert describe_calibration(two)["not_shown"] == [
        "a recall of at least 0.95, so the more probable class is the answer"
    ]
    assert score_threshold(np.array([[3, 1], [2, 2]]), two) == {"precision": 2 / 3, "recall": 0.5}
