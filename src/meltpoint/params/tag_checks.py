"""What the task tagging takes: labels of tags, and heads whose wishes are those of tags."""

from collections.abc import Iterator, Mapping

from meltpoint.params.data import Data, EqualsLabel, TagsLabel
from meltpoint.params.heads import Head
from meltpoint.params.model import Task

OF_CLASSES = ("target", "where", "threshold", "unknown")  # wishes of heads that choose one class
OF_TAGS = ("loss", "tag_thresholds", "queries")


def check_tags(task: Task, heads: Mapping[str, Head], data: Data) -> Iterator[str]:
    """Labels of tags under heads of tags, in the task tagging and in no other."""
    tags = [name for name, label in data.labels.items() if isinstance(label, TagsLabel)]
    for name, label in data.labels.items():
        if isinstance(label, EqualsLabel) and label.label in tags:
            yield f"data.labels.{name}.label: {label.label!r} is of kind tags, of which nothing is made; take a column"
    if task.kind != "tagging":
        if tags:
            yield f"data.labels: {tags} are of kind tags; set task.kind to tagging"
        for name, head in heads.items():
            for wish in OF_TAGS:
                if getattr(head, wish, None) is not None:
                    yield f"heads.{name}.{wish}: it is for tags, and task.kind is {task.kind}; set it to null"
        return
    if task.tree is not None:
        yield "task.tree: tags form none; leave it out"
    for name, head in heads.items():
        if head.label in data.labels and head.label not in tags:
            kind = data.labels[head.label].kind
            yield f"heads.{name}.label: tagging takes labels of kind tags, and {head.label!r} is of kind {kind}"
        for wish in OF_CLASSES:
            if getattr(head, wish) is not None:
                yield f"heads.{name}.{wish}: it is for one class of several, and task.kind is tagging; set it to null"
        wished = head.tag_thresholds
        if wished is not None and wished.at_least in (0, 1):
            yield f"heads.{name}.tag_thresholds.at_least: {wished.at_least:g} is nothing or too much; take 0.9"
