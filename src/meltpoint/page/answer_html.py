"""An answer as HTML: names with their bars, the path through a tree, tags; masks are drawn. All quotes are escaped."""

from collections.abc import Sequence
from html import escape

from meltpoint.predict.records import Answer, Choice, HeadAnswer, TagsAnswer
from meltpoint.terminal import plain


def say_problem(text: str) -> str:
    """A sentence that says what cannot be done."""
    return f'<div class="problem" role="alert">{escape(plain(text))}</div>'


def say_hint(text: str) -> str:
    """A sentence that says what can be done here."""
    return f'<div class="hint">{escape(text)}</div>'


def show_answer(answer: Answer, featured: str) -> str:
    """What each head says; the levels of a tree as one path, the head `featured` largest."""
    if answer.error is not None:
        return say_problem(f"This picture cannot be used: {answer.error}.")
    parts = []
    if answer.levels:
        parts.append(_show_leaf(answer))
    rest = [head for head in answer.heads if head not in answer.levels]
    for head in sorted(rest, key=lambda head: head != featured):
        parts.append(_show_head(head if len(answer.heads) > 1 else "", answer.heads[head]))
    parts += [_show_tags(head if len(answer.tags) > 1 else "", said) for head, said in answer.tags.items()]
    return f'<div class="answer">{"".join(parts)}</div>'


def _show_leaf(answer: Answer) -> str:
    """The answer of a tree: its path from the root on, then the leaf with its alternatives."""
    target = answer.target
    assert target is not None
    steps = "".join(f"<li>{_name(step)} <i>{_share(step)}</i></li>" for step in target.path[:-1])
    return f'<section>{_headline(target)}<ol class="path">{steps}</ol>{_bars(target.top, {target.label})}</section>'


def _show_head(title: str, said: HeadAnswer) -> str:
    heading = f"<h4>{escape(plain(title))}</h4>" if title else ""
    return f"<section>{heading}{_headline(said)}{_bars(said.top, {said.label})}</section>"


def _show_tags(title: str, said: TagsAnswer) -> str:
    heading = f"<h4>{escape(plain(title))}</h4>" if title else ""
    chips = "".join(f"<li>{_name(tag)}</li>" for tag in said.tags) or '<li class="none">no tag is likely enough</li>'
    given = {tag.label for tag in said.tags}
    return f'<section>{heading}<ul class="tags">{chips}</ul>{_bars(said.top, given)}</section>'


def _headline(said: HeadAnswer) -> str:
    doubt = '<span class="doubt">not sure</span>' if said.unknown else ""
    return f'<p class="name">{_name(Choice(said.label, said.name, said.probability))} {doubt}</p>'


def _bars(choices: Sequence[Choice], given: set[str]) -> str:
    rows = [
        f'<div class="bar {"" if one.label in given else "less"}"><span>{_name(one)}</span>'
        f'<span class="track"><b style="width:{one.probability:.1%}"></b></span><i>{_share(one)}</i></div>'
        for one in choices
    ]
    return f'<div class="bars">{"".join(rows)}</div>'


def _name(choice: Choice) -> str:
    """Its name, and its label where that is another."""
    own = "" if choice.name == choice.label else f" <small>{escape(plain(choice.label))}</small>"
    return f"{escape(plain(choice.name))}{own}"


def _share(choice: Choice) -> str:
    return f"{choice.probability:.1%}"
