"""Both locks install with an old pip on any later day: each way of asking for a package is pinned, and is a hash."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
LITERT = "requirements-litert.lock"  # of an environment of its own, which no test needs
OLD = ((3, 11), "23.2.1")  # a pip that takes a package and the same with extras for two things
Identity = tuple[str, frozenset[str]]


def load(name: str) -> ModuleType:
    """A script of .ci."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


locks, extras = load("locks"), load("extras")


def pins_of(name: str) -> list[locks.Pin]:
    return locks.read_lock((ROOT / name).read_text(encoding="utf-8"))


def identity(requirement: Requirement) -> Identity:
    return canonicalize_name(requirement.name), frozenset(map(canonicalize_name, requirement.extras))


def holds(requirement: Requirement, wanted: frozenset[str] = frozenset()) -> bool:
    """Whether a requirement counts here, for a package that is asked for with the extras `wanted`."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in ("", *wanted))


def demands(pins: list[locks.Pin]) -> Iterator[tuple[str, Requirement]]:
    """What the installed packages among `pins` ask for, and who asks."""
    for pin in pins:
        try:
            words = requires(pin.name) or []
        except PackageNotFoundError:
            continue  # of another system
        for asked in map(Requirement, words):
            if holds(asked, identity(pin.requirement)[1]):
                yield pin.name, asked


def unpinned(text: str) -> set[str]:
    """The ways in which a package is asked for that a lock does not pin."""
    pins = [pin for pin in locks.read_lock(text) if holds(pin.requirement)]
    known = {identity(pin.requirement) for pin in pins}
    return {f"{asked} for {who}" for who, asked in demands(pins) if identity(asked) not in known}


@pytest.mark.parametrize("name", [*LOCKS, LITERT])
def test_every_line_is_one_release_with_hashes(name: str) -> None:
    pins = pins_of(name)
    assert len(pins) > (80 if name == LITERT else 150)
    assert [str(pin.requirement) for pin in pins if not pin.version or not pin.hashes] == []
    assert [pin.name for pin in pins for word in pin.hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", word)] == []


@pytest.mark.parametrize("line", ["attrs>=26", "attrs", "attrs==26.*", "attrs==26,!=25"])
def test_a_line_that_pins_nothing_is_found(line: str) -> None:
    with pytest.raises(ValueError, match="is not pinned"):
        locks.read_lock(f"{line} --hash=sha256:00\n")[0].version  # noqa: B018


@pytest.mark.parametrize("name", LOCKS)
def test_every_way_of_asking_is_pinned(name: str) -> None:
    assert unpinned((ROOT / name).read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("gone", ["coverage[toml]", "fsspec", "fsspec[http]", "urllib3", "scipy"])
def test_a_way_that_is_not_pinned_is_found(gone: str) -> None:
    text = (ROOT / LOCKS[1]).read_text(encoding="utf-8")
    less = re.sub(rf"^{re.escape(gone)}==.*\n(?:[ \t].*\n)*", "", text, flags=re.M)
    assert less != text
    assert any(word.startswith(gone) for word in unpinned(less))


@pytest.mark.parametrize("name", LOCKS)
def test_what_the_project_asks_for_is_pinned(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *optional["install"]]
    wanted += [word for extra in optional.keys() - {"signing"} for word in optional[extra]] if name == LOCKS[1] else []
    known = {identity(pin.requirement): pin.version for pin in pins_of(name) if holds(pin.requirement)}
    asked = [Requirement(word) for word in wanted]
    assert [one.name for one in asked if not one.specifier.contains(known.get(identity(one), "none"))] == []


def test_what_writes_litert_runs_the_torch_that_runs_here() -> None:
    pins = {pin.name: pin.version for pin in pins_of(LITERT)}
    assert pins["torch"] == next(pin.version for pin in pins_of(LOCKS[0]) if pin.name == "torch")
    asked = (ROOT / "requirements-litert.in").read_text().splitlines()
    wanted = [Requirement(line.partition("#")[0]) for line in asked if line.partition("#")[0].strip()]
    assert [one.name for one in wanted if not one.specifier.contains(pins[canonicalize_name(one.name)])] == []


def test_whoever_tests_runs_the_same() -> None:
    # But for when: orjson, which only CPython needs to run, an extra asks for everywhere.
    run, dev = ({(identity(pin.requirement), pin.version): pin.hashes for pin in pins_of(name)} for name in LOCKS)
    assert run.items() < dev.items()
    assert {pin.name for pin in pins_of(LOCKS[0])}.isdisjoint({"pytest", "mypy", "ruff", "hypothesis", "selenium"})


def test_make_builds_with_the_locked_setuptools() -> None:
    recipe = re.search(r"sed -n '(.*setuptools.*)' \$\(1\)", (ROOT / "Makefile").read_text())
    assert recipe
    done = subprocess.run(["sed", "-n", recipe[1], ROOT / LOCKS[0]], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"setuptools=={pin.version}" for pin in pins_of(LOCKS[0]) if pin.name == "setuptools"
    ]


def test_extras_are_spelt_out() -> None:
    text = "a==1 \\\n    --hash=sha256:0\n    # via b\n"
    text += "fsspec[http, tqdm]==2 ; x == 'y' \\\n    --hash=sha256:1\n    # via c\n"
    told = extras.spelt_out(text)
    names = re.findall(r"^\S+.*==.*", told, flags=re.M)
    assert [name.removesuffix(" \\") for name in names] == [
        "a==1", "fsspec==2 ; x == 'y'", "fsspec[http]==2 ; x == 'y'", "fsspec[tqdm]==2 ; x == 'y'",
        "fsspec[http, tqdm]==2 ; x == 'y'",
    ]  # fmt: skip
    assert told.count("--hash=sha256:1") == 4
    assert told.count("# via c") == 1


def test_extras_are_spelt_out_once() -> None:
    text = (ROOT / LOCKS[1]).read_text(encoding="utf-8")
    assert len({str(pin.requirement) for pin in pins_of(LOCKS[1])}) == len(pins_of(LOCKS[1]))
    single = "coverage[toml]==7 \\\n    --hash=sha256:1\n"
    assert extras.spelt_out(single) == "coverage==7 \\\n    --hash=sha256:1\n" + single
    assert "coverage==" in text


@pytest.mark.parametrize(
    ("version", "later"),
    [("7.17.3", "7.17.4"), ("1.0.0.post1", "1.0.1"), ("2026.9.0", "2026.9.1"), ("5", "6"), ("1!2.0rc1", "1!2.1")],
)
def test_the_next_release(version: str, later: str) -> None:
    assert locks.next_release(version) == later


@pytest.fixture(scope="module")
def old_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment whose pip is old."""
    folder = tmp_path_factory.mktemp("old")
    python = locks.find_pythons().get(OLD[0])
    if python is None:
        pytest.skip(f"pip {OLD[1]} needs Python 3.11, and there is none here")
    try:
        wheel = locks.fetch_pip(OLD[1], folder)
    except subprocess.CalledProcessError:
        pytest.skip(f"pip {OLD[1]} is bundled by no Python here, and cannot be fetched")
    return locks.make_environment(python, wheel, folder / "environment")


ASKED = {"covers": ["measure[toml]>=1.0"], "zeal": ["measure>=1.0"], "able": ["measure"], "measure": []}
FIELDS = {"measure": [("Provides-Extra", "toml"), ("Provides-Extra", "xml")]}


@pytest.mark.parametrize(
    ("names", "works"),
    [
        (["measure", "covers"], False),  # as uv writes it without --no-strip-extras
        (["able", "measure[toml, xml]", "covers"], False),  # as uv writes it with that
        (["able", "covers", "measure", "measure[toml]"], True),
        (["able", "covers", "measure", "measure[toml]", "measure[xml]", "measure[toml, xml]", "zeal"], True),
    ],
)
def test_an_old_pip_while_newer_releases_are_out(old_pip: Path, tmp_path: Path, names: list[str], works: bool) -> None:
    def read(pin: locks.Pin) -> list[tuple[str, str]]:
        return [*(("Requires-Dist", word) for word in ASKED[pin.name]), *FIELDS.get(pin.name, [])]

    pins = [locks.Pin(Requirement(f"{name}==1.0"), ()) for name in names]
    lock = tmp_path / "some.lock"
    lock.write_text(locks.write_index(tmp_path / "index", pins, read))
    assert len(list((tmp_path / "index" / "measure").glob("*.whl"))) == 2
    done = locks.dry_run(old_pip, lock, tmp_path / "index")
    assert (done.returncode == 0) == works, done.stderr
    assert ("must have their versions pinned with ==" in done.stderr) != works


def test_every_file_of_the_locks_is_tried_with_the_real_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locks = load("locks")
    monkeypatch.setattr(locks, "find_pythons", lambda: dict.fromkeys(locks.PIPS, Path("python")))
    monkeypatch.setattr(locks, "write_index", lambda *_: "")
    monkeypatch.setattr(locks, "fetch_pip", lambda *_: Path("pip"))
    monkeypatch.setattr(locks, "make_environment", lambda python, *_: python)
    tries = list(locks.plan(tmp_path))
    assert {one.lock for one in tries if one.index is None} == {ROOT / LOCKS[1], ROOT / LITERT}, "the first is a part"
    assert {one.lock.name for one in tries if one.index is not None} == set(LOCKS)
