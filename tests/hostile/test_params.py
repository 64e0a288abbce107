"""params.yaml with every kind of error, read by a stage: all are told, the file is never half understood."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SECTION = "Params"
Raw = dict[str, Any]


def changed(**changes: Any) -> Callable[[Raw], str]:
    """The text of params.yaml after `section__key=value`."""

    def _make(raw: Raw) -> str:
        for place, value in changes.items():
            *sections, key = place.split("__")
            part = raw
            for section in sections:
                part = part[section]
            part[key] = value
        return yaml.safe_dump(raw, sort_keys=False)

    return _make


def dropped(raw: Raw) -> str:
    del raw["split"]
    return yaml.safe_dump(raw, sort_keys=False)


def doubled(raw: Raw) -> str:
    return yaml.safe_dump(raw, sort_keys=False) + "seed: 8\n"


def without_main(raw: Raw) -> str:
    head = raw["heads"]["y"] | {"main": False}
    return changed(heads={"y": head, "z": head})(raw)


def aliases(raw: Raw) -> str:
    """A billion laughs: nine lists, each of nine times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return yaml.safe_dump(raw, sort_keys=False) + "\n".join(lines) + "\n"


LITE = {"encoder": "lite0"}
QUERY = {"kind": "query", "label": "y", "hidden": 8, "layers": 1, "attention_heads": 2, "vectors": 4, "main": True}
RATIOS = {"train": 0.8, "val": 0.2, "test": 0.2}

MAKERS: dict[str, Callable[[Raw], str | bytes | None]] = {
    "no params.yaml": lambda raw: None,
    "an empty params.yaml": lambda raw: "",
    "a list": lambda raw: "- seed\n- data\n",
    "no YAML": lambda raw: "seed: [1, 2\n",
    "a tab instead of spaces": lambda raw: "data:\n\tseed: 1\n",
    "bytes that are not UTF-8": lambda raw: b"seed: 7 # caf\xe9\n",
    "a tag that makes Python objects": lambda raw: "seed: !!python/object/apply:os.system ['touch evil']\n",
    "one key twice": doubled,
    "a bomb of aliases": aliases,
    "100,000 brackets": lambda raw: "seed: " + "[" * 100_000,
    "an unknown key": changed(sed=7),
    "an unknown key in a section": changed(views__s128__sied=64),
    "an unknown key that is like no other": changed(train__launcher="elastic"),
    "restarts of one process": changed(train__restarts=2),
    "a place to meet for one machine": changed(train__rendezvous="gpu-1:29400"),
    "a place to meet that is none": changed(train__nodes=2, train__rendezvous="gpu-1"),
    "a missing section": dropped,
    "a wrong type": changed(seed="seven"),
    "adapters for no layer": changed(strategies__lora={"kind": "lora", "where": []}),
    "a yes where a number is needed": changed(views__s128__copies=True),
    "a fraction where a whole number is needed": changed(views__s128__copies=1.5),
    "a number out of range": changed(views__s128__side=4096),
    "a negative number": changed(data__max_bad=-1),
    "NaN": changed(compare__margin=float("nan")),
    "a word that is not in the list": changed(views__s128__resize="stretch"),
    "ratios that are not the whole": changed(split__ratios=RATIOS),
    "no main head": without_main,
    "a head of a label that does not exist": changed(heads__y__label="z"),
    "a metric that does not fit the task": changed(compare__metric="miou"),
    "a name that leads out of the folder": changed(strategies={"../../evil": None}),
    "an argument of the backbone that loads a file": changed(encoders__lite0__args={"checkpoint_path": "good.pth"}),
    "an argument of the backbone that changes what heads read": changed(encoders__lite0__args={"features_only": True}),
    "a class that YAML takes for a number": changed(data__labels__y__classes=["cat", 3]),
    "a class that YAML takes for true": changed(data__labels__y__classes=["cat", True]),
    "a yes that a transform is given": changed(views__s128__transforms=[{"HorizontalFlip": {"p": "yes"}}]),
    "a head of a kind that only a strategy makes": changed(heads__y__kind="knn"),
    "prototypes of pixels": changed(task__kind="segmentation", strategies__frozen={"kind": "prototypes", **LITE}),
    "prototypes of tags": changed(task__kind="tagging", strategies__frozen={"kind": "prototypes", **LITE}),
    "neighbours of tags": changed(task__kind="tagging", strategies__frozen={"kind": "knn", "k": [1], **LITE}),
    "the pretrained classifier, of tags": changed(
        task__kind="tagging", strategies__frozen={"kind": "pretrained", **LITE}
    ),
    "shots of tags": changed(task__kind="tagging", strategies__frozen__shots=4),
    "words of tags, of an encoder that knows none": changed(
        task__kind="tagging", strategies__frozen={"kind": "words", "texts": ["names"], **LITE}
    ),
    "queries by the names of tags, of an encoder that knows none": changed(
        task__kind="tagging", heads__y=QUERY | {"queries": {"kind": "text"}}
    ),
    "queries that begin as something, of classes": changed(
        heads__y=QUERY | {"queries": {"kind": "file", "path": "a.npy", "tags": "a.txt"}}
    ),
    "images counted by class, of pixels": changed(task__kind="segmentation", strategies__frozen__shots=4),
    "no image of a class to learn from": changed(strategies__frozen__shots=0),
    "neighbours of which none is asked": changed(strategies__frozen={"kind": "knn", "k": [], **LITE}),
    "taps of the pretrained classifier": changed(strategies__frozen={"kind": "pretrained", "taps": {"y": -1}, **LITE}),
    "several errors at once": changed(seed="seven", views__s128__side=0, split__ratios=RATIOS),
}


def test_params(row: Any, workplace: Any, check_refused: Any) -> None:
    content = MAKERS[row.name](workplace.params)
    path = Path("params.yaml")
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, said = workplace.stage("download", written=True)
    assert row.fate == "refused"
    check_refused(row, code, said)
    assert len(said) < 3000, "nobody reads a message that long"
    assert not workplace.left()


def test_every_row_has_its_params(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
