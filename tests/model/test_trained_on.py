"""A model folder says on which images its model was trained, by hashes alone."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from meltpoint.model.trained_on import TrainedOnError, hash_group, read_trained_on, write_trained_on


def samples(count: int = 6) -> pd.DataFrame:
    splits = ["train", "val", "test"] * (count // 3)
    names = ["image:0.png", "Mrs Miller", "image:2.png", "group:image:1", "image:4.png", "image:5.png"]
    table = {
        "id": range(count),
        "sha256": [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(count)],
        "split": splits,
        "group": names * (count // 6),
    }
    return pd.DataFrame(table).astype({"sha256": "string", "split": "string", "group": "string"})


def test_train_and_val_come_back_without_test(tmp_path: Path) -> None:
    table = samples()
    write_trained_on(table, tmp_path)
    read = read_trained_on(tmp_path)
    assert read is not None
    wanted = table[table["split"] != "test"].set_index("sha256")
    assert read.set_index("sha256")["split"].to_dict() == wanted["split"].to_dict()
    groups = read.set_index("sha256")["group"]
    own = {table["sha256"][1]: hash_group("Mrs Miller"), table["sha256"][3]: hash_group("group:image:1")}
    assert groups.dropna().to_dict() == own


def test_names_of_groups_do_not_travel(tmp_path: Path) -> None:
    write_trained_on(samples(), tmp_path)
    written = (tmp_path / "trained_on.parquet").read_bytes()
    assert b"Miller" not in written
    assert b"0.png" not in written


def test_the_order_of_rows_means_nothing(tmp_path: Path) -> None:
    for place, table in (("one", samples()), ("two", samples().iloc[::-1])):
        write_trained_on(table, tmp_path / place)
    one, two = ((tmp_path / place / "trained_on.parquet").read_bytes() for place in ("one", "two"))
    assert one == two


def test_it_is_small(tmp_path: Path) -> None:
    write_trained_on(samples(6000), tmp_path)
    assert (tmp_path / "trained_on.parquet").stat().st_size < 50 * 4000


def test_an_older_folder_is_unknown(tmp_path: Path) -> None:
    assert read_trained_on(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"nothing", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trained_on.parquet").write_bytes(content)
    with pytest.raises(TrainedOnError, match=r"trained_on\.parquet cannot be read.*dvc checkout"):
        read_trained_on(tmp_path)


def test_other_columns_are_told(tmp_path: Path) -> None:
    samples()[["sha256"]].to_parquet(tmp_path / "trained_on.parquet")
    with pytest.raises(TrainedOnError, match=r"lacks the columns \['split', 'group'\]; it has \['sha256'\]"):
        read_trained_on(tmp_path)


def test_a_group_without_a_declared_name_has_no_hash() -> None:
    assert hash_group("image:0.png") is None
    assert hash_group(pd.NA) is None
    assert hash_group("image") != hash_group("group:image:0.png") is not None
