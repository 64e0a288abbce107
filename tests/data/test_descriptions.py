"""Sentences of classes, from a table."""

from pathlib import Path

import pytest

from meltpoint.data.class_names import NamesError
from meltpoint.data.descriptions import read_descriptions
from meltpoint.params.data import DescriptionTable

TABLE = "class,first,second\ncat,it purrs,\ndog,it barks,a wet nose\ncat,it sleeps,it purrs\ncow,it moos,\n"


def read(folder: Path, text: str, **changes: object) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    (folder / "words.csv").write_text(text, encoding="utf-8")
    facts = {"table": str(folder / "words.csv"), "key": "class", "columns": ["first", "second"], **changes}
    return read_descriptions({"pet": DescriptionTable.model_validate(facts)}, {"pet": ["cat", "dog"]})


def test_rows_and_columns_are_sentences_each_once(tmp_path: Path) -> None:
    found, notes = read(tmp_path, TABLE)
    assert found == {"pet": {"cat": ["it purrs", "it sleeps"], "dog": ["it barks", "a wet nose"]}}
    assert any("describes 1 that are no class of 'pet'" in note for note in notes)


def test_a_class_without_a_sentence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NamesError, match="1 of 2 classes have no description"):
        read(tmp_path, "class,first,second\ncat,it purrs,\ndog,,\n")
