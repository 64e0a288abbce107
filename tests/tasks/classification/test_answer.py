"""Answers follow thresholds and the tree, carry names in the language asked for, and know when they are unsure."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meltpoint.model.card import Card
from meltpoint.predict.records import Answer, HeadAnswer, PredictError, Question, check_question
from meltpoint.tasks.classification.answer import read_answers
from meltpoint.trees import Tree, build_tree

if TYPE_CHECKING:
    from saved_models import Kit

ONE = {  # alone, "family" would say one leg and "pose" mountain
    "overall": [[0.1, 0.9]],
    "family": [[0.1, 0.5, 0.4]],
    "pose": [[0.05, 0.3, 0.1, 0.55]],
    "indoors": [[0.8, 0.2]],
}


def tree_of(card: Card) -> Tree:
    assert card.tree is not None
    return build_tree(card.tree.levels, card.tree.parents, card.classes)


def ask(card: Card, raw: dict[str, Any], top: int = 5, language: str | None = None) -> list[dict[str, HeadAnswer]]:
    tree = tree_of(card) if card.tree else None
    return read_answers(card, tree, {head: np.array(rows, np.float32) for head, rows in raw.items()}, top, language)


def labels(said: HeadAnswer) -> list[str]:
    return [choice.label for choice in said.top]


def change(card: Card, head: str, **changes: Any) -> Card:
    return card.model_copy(update={"heads": {**card.heads, head: card.heads[head].model_copy(update=changes)}})


def test_levels_are_decided_together(kit: "Kit") -> None:
    said = ask(kit.tree_card(), ONE)[0]
    assert {head: own.label for head, own in said.items()} == {
        "overall": "stand", "family": "two legs", "pose": "mountain", "indoors": "no",
    }  # fmt: skip
    paths = np.array([0.1 * 0.1 * 0.05, 0.9 * 0.5 * 0.3, 0.9 * 0.5 * 0.1, 0.9 * 0.4 * 0.55])
    shares = paths / paths.sum()
    assert said["pose"].probability == pytest.approx(shares[3])
    assert said["family"].probability == pytest.approx(shares[3])
    assert said["overall"].probability == pytest.approx(shares[1:].sum())
    assert said["indoors"].probability == pytest.approx(0.8)
    assert [choice.probability for choice in said["pose"].top] == pytest.approx(sorted(shares, reverse=True))


def test_a_path_leads_from_the_root_to_the_answer(kit: "Kit") -> None:
    said = ask(kit.tree_card(), ONE, language="zh")[0]
    assert [choice.name for choice in said["pose"].path] == ["站立", "two legs", "mountain"]
    assert [choice.label for choice in said["family"].path] == ["stand", "two legs"]
    assert [choice.label for choice in said["overall"].path] == ["stand"]
    assert said["indoors"].path == ()


def test_names_are_in_the_language_asked_for(kit: "Kit") -> None:
    raw = ONE | {"pose": [[0.0, 0.9, 0.1, 0.0]]}
    chinese, english, plain = (ask(kit.tree_card(), raw, language=language)[0] for language in ("zh", "en", None))
    assert (chinese["pose"].name, chinese["overall"].name) == ("樹式", "站立")
    assert (english["pose"].name, english["overall"].name) == ("Tree Pose", "stand")
    assert (plain["pose"].name, plain["pose"].label) == ("tree", "tree")
    assert [choice.name for choice in chinese["pose"].top] == ["樹式", "舞王式", "mountain", "攤屍式"]


def test_an_unknown_language_is_told_with_those_there_are(kit: "Kit") -> None:
    with pytest.raises(PredictError, match="'fr'. It has them in: en, zh"):
        check_question(kit.tree_card(), Question(5, "fr", window=False), masks=False)


def test_a_threshold_decides_and_the_likeliest_stay_in_order(kit: "Kit") -> None:
    card = change(kit.plain_card(), "sick", threshold=0.7)
    said = [row["sick"] for row in ask(card, {"sick": [[0.4, 0.6], [0.2, 0.8]], "kind": [[1, 0, 0]] * 2})]
    assert [own.label for own in said] == ["no", "yes"]
    assert said[0].probability == pytest.approx(0.4)
    assert labels(said[0]) == ["yes", "no"]


def test_unknown_is_what_the_head_itself_is_not_sure_of(kit: "Kit") -> None:
    card = change(kit.tree_card(), "pose", unknown_below=0.5)
    raw = {head: rows * 2 for head, rows in ONE.items()} | {"pose": [[0.05, 0.3, 0.1, 0.55], [0.1, 0.3, 0.1, 0.45]]}
    said = ask(card, raw)
    assert [row["pose"].unknown for row in said] == [False, True]
    assert [row["pose"].label for row in said] == ["mountain", "mountain"], "the best guess is told all the same"
    assert not any(row["family"].unknown for row in said)


@pytest.mark.parametrize("top", [1, 2, 9])
def test_as_many_choices_as_asked_for(kit: "Kit", top: int) -> None:
    said = ask(kit.tree_card(), ONE, top)[0]
    assert [len(own.top) for own in said.values()] == [min(top, size) for size in (2, 3, 4, 2)]


def test_a_chat_bot_gets_a_target_alternatives_and_the_overall_gesture(kit: "Kit") -> None:
    heads = ask(kit.tree_card(), ONE, 3, "en")[0]
    answer = Answer("a.jpg", None, heads, ("overall", "family", "pose"))
    assert answer.target is heads["pose"]
    assert answer.overall is heads["overall"]
    assert [choice.name for choice in answer.alternatives] == ["Tree Pose", "Dancer Pose"]
    nothing = Answer("a.jpg", "truncated", {}, ("overall", "family", "pose"))
    assert (nothing.target, nothing.alternatives, nothing.overall) == (None, (), None)


def test_without_a_tree_there_is_no_target(kit: "Kit") -> None:
    answer = Answer(None, None, ask(kit.plain_card(), {"sick": [[0.4, 0.6]], "kind": [[1, 0, 0]]})[0], ())
    with pytest.raises(PredictError, match=r"Its heads are \['sick', 'kind'\]"):
        _ = answer.target


def test_no_rows_give_no_answers(kit: "Kit") -> None:
    card = kit.tree_card()
    assert ask(card, {head: np.empty((0, len(names))) for head, names in card.classes.items()}) == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_whatever_heads_say_answers_are_one_path_and_shares_add_up(kit: "Kit", seed: int, top: int) -> None:
    card = kit.tree_card()
    rng = np.random.default_rng(seed)
    raw = {head: rng.dirichlet(np.full(len(names), 0.3), 7) for head, names in card.classes.items()}
    assert card.tree is not None
    for said in ask(card, raw, top):
        assert card.tree.parents["pose"][said["pose"].label] == said["family"].label
        assert card.tree.parents["family"][said["family"].label] == said["overall"].label
        assert labels(said["pose"])[0] == said["pose"].label
        falling = [said[level].probability for level in card.tree.levels]
        assert falling == sorted(falling, reverse=True)
        for own in said.values():
            shares = [choice.probability for choice in own.top]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1 + 1e-6
