from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.listing import PathError, SourceError, locate, nearest, plain_path
from meltpoint.data.read_source import read_source
from meltpoint.params.sources import FolderSource


@given(st.text(alphabet=st.sampled_from("ab./\\:C\0 é"), max_size=12) | st.text(max_size=20))
def test_a_plain_path_stays_inside_or_is_refused(name: str) -> None:
    try:
        plain = plain_path(name)
    except PathError:
        return
    path = PurePosixPath(plain)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert "\\" not in plain
    assert plain_path(plain) == plain


@pytest.mark.parametrize(("name", "plain"), [("a/b.png", "a/b.png"), (".\\a//b.png", "a/b.png"), ("./x..y", "x..y")])
def test_plain_paths(name: str, plain: str) -> None:
    assert plain_path(name) == plain


@pytest.mark.parametrize(
    ("name", "flaw"),
    [
        ("", "empty"),
        ("./", "empty"),
        ("/etc/passwd", "absolute"),
        ("\\\\host\\share", "absolute"),
        ("a/../../b", "leaves its folder"),
        ("..", "leaves its folder"),
        ("C:/b", "drive"),
        ("a/d:x", "drive"),
        ("a\0b", "NUL"),
        ("a\udcff", "UTF-8"),
        ("x" * 256, "too long"),
        ("x/" * 1100, "too long"),
    ],
)
def test_refused_paths_say_why(name: str, flaw: str) -> None:
    with pytest.raises(PathError, match=flaw):
        plain_path(name)


def test_locate_looks_here_then_in_the_repository(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, real = workplace / "copy", workplace / "real"
    (real / "photos").mkdir(parents=True)
    copy.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(real))
    assert locate("photos") == real / "photos"
    (copy / "photos").mkdir()
    assert locate("photos") == copy / "photos"


def test_a_missing_place_names_the_nearest(workplace: Path) -> None:
    (workplace / "photos").mkdir()
    with pytest.raises(SourceError, match=r"no 'fotos'.*Did you mean 'photos'"):
        locate("fotos")


def test_nearest_is_silent_when_nothing_is_near() -> None:
    assert nearest("xyz", ["probability"]) == ""
    assert "'Wafer'" in nearest("wafre", ["Wafer", "probability"])


def test_read_source_finds_the_module_of_the_kind(workplace: Path) -> None:
    (workplace / "photos/cat").mkdir(parents=True)
    (workplace / "photos/cat/a.png").touch()
    listing = read_source(FolderSource(kind="folder", path="photos"), workplace / "scratch")
    assert list(listing.files["path"]) == ["cat/a.png"]
