import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from meltpoint.evaluate.classification import judge, judge_head
from meltpoint.tables import label_column, probability_columns


def draw(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, images)
    probabilities = rng.dirichlet(np.ones(classes), images) + 0.5 * np.eye(classes)[true]
    return true, probabilities / probabilities.sum(1, keepdims=True), [f"c{index}" for index in range(classes)]


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    true, probabilities, names = draw(300, classes)
    judged, predicted, labels = judge_head(true, probabilities, names, 15), probabilities.argmax(1), range(classes)
    for_auc = probabilities[:, 1] if classes == 2 else probabilities
    hot = np.eye(classes)[true] if classes > 2 else true
    assert judged.scores["accuracy"] == pytest.approx(reference.accuracy_score(true, predicted))
    assert judged.scores["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(true, predicted))
    assert judged.scores["macro_f1"] == pytest.approx(reference.f1_score(true, predicted, average="macro"))
    assert judged.scores["roc_auc"] == pytest.approx(reference.roc_auc_score(true, for_auc, multi_class="ovr"))
    assert judged.scores["average_precision"] == pytest.approx(reference.average_precision_score(hot, for_auc))
    assert judged.scores["log_loss"] == pytest.approx(reference.log_loss(true, probabilities))
    each = reference.precision_recall_fscore_support(true, predicted, labels=labels)
    for column, expected in zip(["precision", "recall", "f1", "support"], each, strict=True):
        assert judged.by_class[column].to_numpy() == pytest.approx(expected)
    assert (judged.confusion == reference.confusion_matrix(true, predicted, labels=labels)).all()


def test_a_class_that_never_occurs_counts_and_is_said() -> None:
    true, probabilities, names = draw(60, 3)
    true[true == 2] = 0
    judged = judge_head(true, probabilities, names, 10)
    assert judged.absent == ["c2"]
    absent, found = judged.metrics["classes"]["c2"], judged.metrics
    assert absent["support"] == 0
    assert absent["recall"] is absent["roc_auc"] is absent["average_precision"] is None
    assert found["absent_classes"] == 1
    predicted = probabilities.argmax(1)
    macro = reference.f1_score(true, predicted, labels=range(3), average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro, abs=1e-6)
    assert found["roc_auc"] == pytest.approx(judged.by_class["roc_auc"].dropna().mean(), abs=1e-6)


def test_what_cannot_be_had_is_null_in_json() -> None:
    one = judge_head(np.zeros(4, dtype=np.int64), np.tile([0.8, 0.2], (4, 1)), ["a", "b"], 10)
    none = judge_head(np.empty(0, dtype=np.int64), np.empty((0, 2)), ["a", "b"], 10)
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
    return table


def test_val_and_test_are_apart_and_the_unlabelled_are_left_out() -> None:
    judgement = judge(predictions(), {"sick": ["no", "yes"]}, 10)
    val, test = (judgement.metrics[split]["sick"] for split in ("val", "test"))
    assert (val["images"], test["images"]) == (2, 2)
    assert (val["accuracy"], test["accuracy"]) == (0.5, 1.0)
    assert judgement.summary["val"]["sick"] == {"accuracy": 0.5, "f1": 0.0}
    assert judgement.sentence("sick") == "100.0% accuracy on sick, 2 test images (50.0% on val)"


def test_the_sentence_tells_what_test_lacks() -> None:
    table = predictions()
    table.loc[table["split"] == "test", label_column("sick")] = "no"
    assert judge(table, {"sick": ["no", "yes"]}, 10).sentence("sick").endswith("; test has no image of yes")
    table.loc[table["split"] == "test", label_column("sick")] = pd.NA
    assert "no test image has a label for sick" in judge(table, {"sick": ["no", "yes"]}, 10).sentence("sick")
