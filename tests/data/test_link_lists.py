from pathlib import Path

import pytest

from meltpoint.data.link_lists import Link, LinksError, read_links


def write(folder: Path, **lists: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in lists.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
    return folder


def test_links_of_all_lists(tmp_path: Path) -> None:
    lists = write(
        tmp_path / "lists",
        Tree="Tree/1.jpg\thttp://One.example/a.jpg\r\n\r\nTree/2.jpg\thttps://two.example:8/b?x=1 2\n",
        Sitting="\ufeffSitting pose 1 (normal)/7.jpg   http://one.example/c.jpg\n8.jpg\thttp://one.example/d.jpg\n",
    )
    links, flaws = read_links(lists)
    assert links == [
        Link("Sitting pose 1 (normal)", "Sitting pose 1 (normal)/7.jpg", "http://one.example/c.jpg", "one.example"),
        Link("Sitting", "8.jpg", "http://one.example/d.jpg", "one.example"),
        Link("Tree", "Tree/1.jpg", "http://One.example/a.jpg", "one.example"),
        Link("Tree", "Tree/2.jpg", "https://two.example:8/b?x=1 2", "two.example"),
    ]
    assert flaws == []


@pytest.mark.parametrize(
    ("line", "path", "reason"),
    [
        ("../../etc/x.jpg\thttp://h/a", "../../etc/x.jpg", "leaves its folder"),
        ("/etc/x.jpg\thttp://h/a", "/etc/x.jpg", "is absolute"),
        ("C:\\x.jpg\thttp://h/a", "C:\\x.jpg", "drive letter"),
        ("A/x.jpg\tftp://h/a", "A/x.jpg", "no http"),
        ("A/x.jpg\tfile:///etc/passwd", "A/x.jpg", "no http"),
        ("A/x.jpg\thttp://[::1/a", "A/x.jpg", "no http"),
        ("A/x.jpg", "A/x.jpg", "no address"),
        ("A/1.jpg\thttp://h/other", "A/1.jpg", "another link"),
    ],
)
def test_a_line_that_is_no_link_says_why(tmp_path: Path, line: str, path: str, reason: str) -> None:
    links, flaws = read_links(write(tmp_path, A=f"A/1.jpg\thttp://h/1\nA/1.jpg\thttp://h/1\n{line}\n"))
    assert [link.path for link in links] == ["A/1.jpg"]
    assert [flaw.path for flaw in flaws] == [path]
    assert reason in flaws[0].flaw


@pytest.mark.parametrize(("place", "match"), [("list", "Did you mean 'lists'"), ("lists/B.txt", "None of the 1 lines")])
def test_nothing_to_read_is_told(tmp_path: Path, place: str, match: str) -> None:
    write(tmp_path / "lists", B="only words\n")
    with pytest.raises(LinksError, match=match):
        read_links(tmp_path / place)
