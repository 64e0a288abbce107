"""What one section of params.yaml says of another: each error is a line, and all are reported together."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from meltpoint.params.data import Data, EqualsLabel, Label, MaskLabel, TagsLabel, ViewRow
from meltpoint.params.heads import Coverage, Head
from meltpoint.params.judging import METRICS_OF, Metric
from meltpoint.params.model import Encoder, Task, Tree
from meltpoint.params.recipe import retap
from meltpoint.params.strategies import Strategy
from meltpoint.params.tag_checks import check_tags

OVERLOOKED = ("size", "nfiles")  # DVC leaves keys of these names out where it looks for an earlier run of a stage

# Arguments of timm.create_model, or of what it calls, that would decide what another section says: and that section.
# A test holds the list against timm's signatures.
BYPASSING = {
    **dict.fromkeys(
        (
            "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "pretrained_filter_fn",
            "pretrained_model_args", "pretrained_custom_load", "checkpoint_path", "weights",
        ),
        "`weights` of the encoder",
    ),
    "cache_dir": "the environment variable HF_HOME",
    **dict.fromkeys(("model_name", "model_cls", "model_cfg", "variant", "kwargs_filter"), "`name` of the encoder"),
    **dict.fromkeys(("mean", "std"), "`mean` and `std` of the encoder"),
    "num_classes": "heads",
    **dict.fromkeys(("features_only", "feature_cfg", "feature_cls", "out_indices", "global_pool"), "the taps of heads"),
    **dict.fromkeys(("img_size", "input_size"), "`side` of its views"),
    "in_chans": "Meltpoint itself, which reads images in three channels",
    **dict.fromkeys(("device", "dtype"), "train.precision and the hardware"),
    **dict.fromkeys(("scriptable", "exportable", "no_jit"), "Meltpoint itself, which takes layers as they are trained"),
}  # fmt: skip

SWITCHES = ("yes", "no", "on", "off")  # YAML 1.1 read true and false of them

Classes = dict[str, list[str] | None]  # by label; None: only the data know them


def check_keys(values: Any, where: str) -> Iterator[str]:
    """No key by which DVC would take an edited file for the one before, and bring back what that made."""
    if not isinstance(values, Mapping):
        return
    for key, value in values.items():
        here = f"{where}.{key}" if where else str(key)
        if key in OVERLOOKED:
            yield f"{here}: DVC keeps the words {' and '.join(OVERLOOKED)} for itself; choose another name"
        yield from check_keys(value, here)


def check_rows(
    views: Mapping[str, ViewRow], encoders: Mapping[str, Encoder], strategies: Mapping[str, Strategy]
) -> Iterator[str]:
    """Rows that are named exist, and each is named by another: what nothing uses would still take time."""
    for name, encoder in encoders.items():
        if encoder.views not in views:
            yield f"encoders.{name}.views: {encoder.views!r} is not in views {list(views)}"
    for name, strategy in strategies.items():
        if strategy.encoder not in encoders:
            yield f"strategies.{name}.encoder: {strategy.encoder!r} is not in encoders {list(encoders)}"
    seen, used = {row.views for row in encoders.values()}, {row.encoder for row in strategies.values()}
    for name in views:
        if name not in seen:
            yield f"views.{name}: no encoder uses it {list(encoders)}; name it in one, or remove the row"
    for name in encoders:
        if name not in used:
            yield f"encoders.{name}: no strategy uses it {list(strategies)}; name it in one, or remove the row"


def check_encoders(encoders: Mapping[str, Encoder]) -> Iterator[str]:
    """Arguments of timm's that are no yes or no as text, and none that decides what other keys say."""
    for name, encoder in encoders.items():
        if encoder.library != "open_clip":
            yield from check_arguments(encoder.args, f"encoders.{name}.args")
        yield from check_switches(encoder.args, f"encoders.{name}.args")


def check_arguments(args: Iterable[str], place: str) -> Iterator[str]:
    """No argument by which an encoder would become something else than its other keys, its views and the heads say."""
    for name in args:
        if name in BYPASSING:
            yield f"{place}.{name}: that is for {BYPASSING[name]} to decide; leave it out of args"


def check_taps(strategies: Mapping[str, Strategy], heads: Mapping[str, Head]) -> Iterator[str]:
    """Heads that exist, with taps that their kind may have; whether an encoder has them is known once it is made."""
    for name, strategy in strategies.items():
        for key, tap in strategy.taps.items():
            where = f"strategies.{name}.taps.{key}"
            if key not in heads:
                yield f"{where}: {key!r} is not in heads {list(heads)}"
                continue
            try:
                retap(heads[key], tap)
            except ValidationError:
                yield f"{where}: {tap!r} is no tap of a head of kind {heads[key].kind}; write it as in heads.{key}"


def check_own_heads(strategies: Mapping[str, Strategy], heads: Mapping[str, Head], tree: Tree | None) -> Iterator[str]:
    """Heads that exist, by which strategies can be compared: each has the main head, and the whole tree."""
    main = [name for name, head in heads.items() if head.main or len(heads) == 1]
    for name, strategy in strategies.items():
        own, where = strategy.heads, f"strategies.{name}.heads"
        if own is None:
            continue
        if unknown := [key for key in own if key not in heads]:
            yield f"{where}: {unknown} are not in heads {list(heads)}"
        if missing := [key for key in dict.fromkeys([*main, *(tree.levels if tree else [])]) if key not in own]:
            yield f"{where}: {missing} are missing; every strategy has the main head, and all levels of a tree"
        if left := [key for key in strategy.taps if key not in own]:
            yield f"strategies.{name}.taps: {left} are heads that it does not have by {where}; remove them"


def check_kinds(strategies: Mapping[str, Strategy], heads: Mapping[str, Head], task: Task) -> Iterator[str]:
    """Strategies that can do the task, and no head that only a strategy makes."""
    for name, head in heads.items():
        if head.made_by is not None:
            yield (
                f"heads.{name}.kind: heads of kind {head.kind} are made by strategies of kind {head.made_by}; write"
                " linear here, and a row with that kind under strategies"
            )
    for name, strategy in strategies.items():
        if strategy.tasks and task.kind not in strategy.tasks:
            yield (
                f"strategies.{name}.kind: {strategy.kind} does task.kind {' or '.join(strategy.tasks)}, and here is"
                f" {task.kind}; frozen and finetune do every task"
            )
        elif strategy.labelled is not None and task.kind != "classification":
            yield (
                f"strategies.{name}.shots: images of a class are counted for task.kind classification alone, and here"
                f" is {task.kind}; leave shots out"
            )


def check_switches(values: Any, where: str) -> Iterator[str]:
    """No yes or no where any value is taken, as by other libraries: it would be text there, and text counts as true."""
    match values:
        case Mapping():
            for key, value in values.items():
                yield from check_switches(value, f"{where}.{key}")
        case list():
            for number, value in enumerate(values):
                yield from check_switches(value, f"{where}.{number}")
        case str() if values.lower() in SWITCHES:
            yield f"{where}: {values!r} is text in YAML 1.2, as DVC reads params.yaml; write true or false"


def known_classes(labels: Mapping[str, Label]) -> Classes:
    """The class names of each label, as far as params say them."""
    classes = {
        name: label.columns or label.classes if isinstance(label, TagsLabel) else label.classes
        for name, label in labels.items()
    }
    return {name: None if own is None else list(own) for name, own in classes.items()}


def check_labels(data: Data) -> Iterator[str]:
    """Labels made of labels that exist, of classes that these have, and none of itself; names of labels that exist."""
    classes = known_classes(data.labels)
    for name, label in data.labels.items():
        if isinstance(label, EqualsLabel):
            yield from _check_rows(f"data.labels.{name}", label.label, label.is_in, classes)
            origin, seen = name, set[str]()  # the label that it is made of, through any number of others
            while origin not in seen and isinstance(made := data.labels.get(origin), EqualsLabel):
                seen.add(origin)
                origin = made.label
            if origin == name:
                yield f"data.labels.{name}.label: {label.label!r} is made of {name!r} itself, in a circle"
    for table, named in (("names", data.names), ("descriptions", data.descriptions)):
        for name in named:
            if name not in classes:
                yield f"data.{table}: {name!r} is not in data.labels {list(classes)}"


def check_heads(heads: Mapping[str, Head], labels: Mapping[str, Label], metric: Metric) -> Iterator[str]:
    """One main head, which has the metric; labels and classes that exist; thresholds where there are two classes."""
    classes = known_classes(labels)
    mains = [name for name, head in heads.items() if head.main or len(heads) == 1]
    if len(mains) != 1:
        yield f"heads: exactly one has `main: true`, and here {mains or 'none'} has"
    if metric == "quadratic_kappa" and any(heads[name].target != "ordinal" for name in mains):
        yield (
            "compare.metric: quadratic_kappa needs classes that are steps, and the main head's target is nominal; make"
            " it ordinal, or take another metric"
        )
    for name, head in heads.items():
        yield from _check_head(f"heads.{name}", head, classes)


def check_task(
    task: Task, heads: Mapping[str, Head], data: Data, metric: Metric, views: Mapping[str, ViewRow]
) -> Iterator[str]:
    """Heads, labels, metric and tree of one kind: of images, or of pixels, which have one label of masks.

    Pixels are counted in the views, so that only models of one geometry are judged on the same pixels.
    """
    dense = task.dense
    masks = [name for name, label in data.labels.items() if isinstance(label, MaskLabel)]
    wrong = [name for name, head in heads.items() if head.dense != dense]
    if wrong:
        allowed = "kinds that begin with dense_" if dense else "kinds that do not begin with dense_"
        yield f"heads: {wrong} do not fit task.kind {task.kind}, which takes {allowed}"
    if dense and (len(masks) != 1 or len(data.labels) != 1):
        yield f"data.labels: segmentation takes one label, of kind mask, and here are {list(data.labels)}"
    if not dense and masks:
        yield f"data.labels: {masks} are of kind mask; set task.kind to segmentation"
    if metric not in METRICS_OF[task.kind]:
        allowed = ", ".join(METRICS_OF[task.kind])
        yield f"compare.metric: {metric} does not fit task.kind {task.kind}, which takes {allowed}"
    yield from check_tags(task, heads, data)
    if dense and task.tree is not None:
        yield "task.tree: pixels have none; leave it out"
    if dense and len({row.geometry for row in views.values()}) > 1:
        rows = ", ".join(f"{name} {row.side} px {row.resize} {row.interpolation}" for name, row in views.items())
        yield f"views: masks are compared pixel by pixel, which needs one side, resize and interpolation: {rows}"
    drafted = [name for name, row in views.items() if row.draft]
    if dense and drafted:
        yield f"views: {drafted} have `draft`, and masks are as large as their images as a whole; leave it out"
    if dense and data.source.kind != "masks":
        yield f"data.source: segmentation needs the kind masks, and here is {data.source.kind}"


def check_tree(tree: Tree | None, heads: Mapping[str, Head]) -> Iterator[str]:
    """Levels that are heads, each once and without a threshold, with the parents of each but the first, or of none."""
    if tree is None:
        return
    for level in dict.fromkeys(tree.levels):
        if level not in heads:
            yield f"task.tree.levels: {level!r} is not in heads {list(heads)}"
        elif heads[level].threshold is not None:
            yield f"heads.{level}.threshold: the levels of a tree are decided together; set it to null"
        if tree.levels.count(level) > 1:
            yield f"task.tree.levels: {level!r} is there {tree.levels.count(level)} times; name it once"
    wanted = tree.levels[1:]
    if tree.parents is not None and set(tree.parents) != set(wanted):
        yield f"task.tree.parents: needs the levels {wanted}, and has {list(tree.parents)}; without it the data say"


def _check_head(where: str, head: Head, classes: Classes) -> Iterator[str]:
    if head.label not in classes:
        yield f"{where}.label: {head.label!r} is not in data.labels {list(classes)}"
        return
    own = classes[head.label]
    if head.where is not None:
        yield from _check_rows(f"{where}.where", head.where.label, head.where.is_in, classes)
    if isinstance(head.class_weights, dict):
        yield from _check_known(f"{where}.class_weights", head.class_weights, own)
    if head.target == "ordinal" and own is None:
        yield f"{where}.target: ordinal needs an order of classes; list them in data.labels.{head.label}.classes"
    if head.threshold is not None and head.target == "ordinal":
        yield f"{where}.threshold: it parts two classes, and target is ordinal; set it to null, or target to nominal"
    elif head.threshold is not None and own is not None and len(own) != 2:
        yield f"{where}.threshold: it parts two classes, and {head.label!r} has {own}; set it to null"
    wishes = {} if head.threshold is None else {"threshold.at_least": head.threshold.at_least}
    if isinstance(head.unknown, Coverage):
        wishes["unknown.coverage"] = head.unknown.coverage
    elif head.unknown is not None:
        wishes["unknown"] = head.unknown
    for name, share in wishes.items():  # of new images
        if share == 1:
            yield f"{where}.{name}: no number of images can promise 1 for new ones; take less, for example 0.95"
        elif share == 0:
            yield f"{where}.{name}: 0 asks for nothing; take more, or set {name.split('.')[0]} to null"


def _check_rows(where: str, label: str, is_in: Iterable[str], classes: Classes) -> Iterator[str]:
    if label not in classes:
        yield f"{where}.label: {label!r} is not in data.labels {list(classes)}"
    else:
        yield from _check_known(f"{where}.is_in", is_in, classes[label])


def _check_known(where: str, names: Iterable[str], known: list[str] | None) -> Iterator[str]:
    unknown = [name for name in names if known is not None and name not in known]
    if unknown:
        yield f"{where}: {unknown} are none of the classes {known}"
