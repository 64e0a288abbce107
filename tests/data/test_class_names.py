import sys
from pathlib import Path

import pytest

from meltpoint.data.class_names import NamesError, read_names
from meltpoint.data.listing import SourceError
from meltpoint.errors import UserError
from meltpoint.params.data import NameTable

CLASSES = {"animal": ["cat", "dog"], "colour": ["black", "white"]}
TEXT = "id;key;english;chinese\n1;cat;Cat;猫\n2;dog;Dog;狗\n3;cow;Cow;牛\n"

pytestmark = pytest.mark.usefixtures("workplace")


def table(**changes: object) -> NameTable:
    given = {"package": None, "table": "names.csv", "separator": None, "header": None, "key": "key"}
    return NameTable.model_validate({**given, "languages": {"en": "english", "zh": "chinese"}, **changes})


@pytest.fixture(autouse=True)
def file(workplace: Path) -> Path:
    path = workplace / "names.csv"
    path.write_text(TEXT, encoding="utf-8-sig")
    return path


def test_names_in_every_language() -> None:
    names = {"en": {"cat": "Cat", "dog": "Dog"}, "zh": {"cat": "猫", "dog": "狗"}}
    assert read_names({"animal": table()}, CLASSES) == ({"animal": names}, [])
    assert read_names({}, CLASSES) == ({}, [])


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_any_usual_encoding(file: Path, encoding: str) -> None:
    file.write_text(TEXT, encoding=encoding)
    names, notes = read_names({"animal": table()}, CLASSES)
    assert names["animal"]["zh"] == {"cat": "猫", "dog": "狗"}
    assert encoding in notes[0]


def test_a_class_without_a_name_is_noted_and_keeps_its_own(file: Path) -> None:
    file.write_text("key,english,chinese\ncat,Cat,\n", encoding="utf-8")
    names, notes = read_names({"animal": table()}, CLASSES)
    assert names == {"animal": {"en": {"cat": "Cat"}, "zh": {}}}
    assert [note.partition(", which")[0] for note in notes] == [
        "no name in 'en' for 1 of 2 classes of 'animal'",
        "no name in 'zh' for 2 of 2 classes of 'animal'",
    ]


def test_rows_may_say_the_same_again_and_not_another_thing(file: Path) -> None:
    file.write_text("key,english,chinese\ncat,Cat,猫\ncat,Cat,猫\n", encoding="utf-8")
    assert read_names({"animal": table()}, CLASSES)[0]["animal"]["en"] == {"cat": "Cat"}
    file.write_text("key,english,chinese\ncat,Cat,猫\ncat,Tom,猫\n", encoding="utf-8")
    with pytest.raises(NamesError, match=r"'cat' has several names in 'en': \['Cat', 'Tom'\]"):
        read_names({"animal": table()}, CLASSES)


@pytest.mark.parametrize(
    ("label", "changes", "match"),
    [
        ("animals", {}, "data.names has 'animals'.*Did you mean 'animal'"),
        ("animal", {"key": "kee"}, r"data.names.animal.key is 'kee'.*Did you mean 'key'"),
        ("animal", {"languages": {"en": "englisch"}}, r"animal.languages.en is 'englisch'.*Did you mean 'english'"),
        ("animal", {"table": "name.csv"}, r"Did you mean 'names.csv'.*under data.names.animal.table"),
        ("animal", {"package": "tim"}, r"data.names.animal.package is 'tim'.*Did you mean 'timm'"),
        ("animal", {"package": "timm", "table": "data/none.txt"}, r"data.names.animal.table is 'data/none.txt'"),
        ("colour", {}, r"'key' of names.csv holds none of the classes \['black', 'white'\].*data.names.colour.key"),
    ],
)
def test_what_does_not_fit_is_told(label: str, changes: dict[str, object], match: str) -> None:
    with pytest.raises((NamesError, SourceError), match=match) as caught:
        read_names({label: table(**changes)}, CLASSES)
    assert isinstance(caught.value, UserError)


def test_names_of_synsets_from_a_package_that_is_not_imported() -> None:
    loaded = "timm" in sys.modules
    place = {"package": "timm", "table": "data/_info/imagenet_synset_to_lemma.txt", "separator": "\t"}
    lemmas = table(**place, header=["wnid", "lemma"], key="wnid", languages={"en": "lemma"})
    names, _ = read_names({"object": lemmas}, {"object": ["n01440764", "n02099601"]})
    assert names["object"]["en"] == {
        "n01440764": "tench, Tinca tinca",
        "n02099601": "golden retriever",
    }
    assert ("timm" in sys.modules) == loaded
