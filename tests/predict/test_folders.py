from collections import Counter
from pathlib import Path

from meltpoint.predict.folders import picture_suffixes, say_ignored, walk


def test_pictures_come_in_one_order_and_others_are_counted(album: Path) -> None:
    ignored: Counter[str] = Counter()
    found = [str(path.relative_to(album)) for path in walk(album, ignored)]
    assert found == ["2.PNG", "a/1.png", "a/broken.jpg", "a/sub/3.png", "b/1.png"]
    assert ignored == {".txt": 1, "no suffix": 1, "hidden": 1}


def test_links_to_folders_are_not_followed_and_links_to_files_are(album: Path) -> None:
    (album / "loop").symlink_to(album)
    (album / "z.png").symlink_to(album / "2.PNG")
    found = [path.name for path in walk(album, Counter())]
    assert found.count("2.PNG") == 1
    assert "z.png" in found


def test_suffixes_are_those_of_formats_that_can_be_read() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= picture_suffixes()
    assert not {".eps", ".pdf", ".psd", ".txt"} & picture_suffixes()


def test_what_was_passed_by_is_told_in_few_words() -> None:
    assert say_ignored(Counter()) == ""
    assert say_ignored(Counter({".txt": 1})) == "1 other file (1 .txt)"
    many = Counter({f".{letter}": 2 for letter in "abcdefg"})
    assert say_ignored(many) == "14 other files (2 .a, 2 .b, 2 .c, 2 .d, 2 .e and 2 more kinds)"
