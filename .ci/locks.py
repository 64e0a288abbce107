"""Whether the locks install with the oldest pip that a supported Python bundles, on any later day.

An index is made in which every locked package has its locked release and a newer one, both with the requirements of
the installed release and nothing else in them. `pip install --dry-run --require-hashes` resolves the locks against it,
in an empty environment of each supported Python that this machine has, with the oldest pip that this Python bundles.
The oldest Python does it with the real index, too, so that the hashes and the files belong together: the lock of who
tests the pipeline, which holds all that who runs it installs (`tests/test_locks.py`), and that of what writes LiteRT.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", DEV := "requirements-dev.lock")
LITERT = "requirements-litert.lock"  # what it pins is not installed here, so that nothing newer can be made of it
PIPS = {(3, 11): "22.3", (3, 12): "23.2.1", (3, 13): "24.2", (3, 14): "25.2"}  # that x.y.0 bundles
KEPT = ("Requires-Dist", "Requires-Python", "Provides-Extra")  # of METADATA; all that a resolver reads


@dataclass(frozen=True)
class Pin:
    """A line of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name, as the index spells it."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The release.

        Raises:
            ValueError: the line does not pin one.
        """
        found = list(self.requirement.specifier)
        if len(found) != 1 or found[0].operator != "==" or found[0].version.endswith(".*"):
            raise ValueError(f"{self.requirement} is not pinned with ==. Write the locks anew: make lock")
        return found[0].version


@dataclass(frozen=True)
class Try:
    """A lock that a pip is asked to install; `index` is a folder, or None for the real one."""

    what: str
    python: Path
    lock: Path
    index: Path | None


def read_lock(text: str) -> list[Pin]:
    """The pins of a lock."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M)).splitlines()
    parts = [re.split(r"\s--hash=", line) for line in lines if line.strip()]
    return [Pin(Requirement(words[0]), tuple(word.strip() for word in words[1:])) for words in parts]


def next_release(version: str) -> str:
    """The release that could come out tomorrow: 7.17.4 for 7.17.3."""
    numbers = re.match(r"(?:\d+!)?\d+(?:\.\d+)*", version)
    if numbers is None:
        raise ValueError(f"{version!r} does not begin with numbers, as a release has to.")
    head, dot, last = numbers[0].rpartition(".")
    return f"{head}{dot}{int(last) + 1}"


def write_wheel(folder: Path, name: str, version: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """Write a wheel into `folder` that holds its metadata and nothing else; its sha256."""
    stem = f"{name.replace('-', '_')}-{version}"
    head = [("Metadata-Version", "2.1"), ("Name", name), ("Version", version), *fields]
    files = {
        "METADATA": "".join(f"{field}: {value}\n" for field, value in head),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: locks\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{stem}.dist-info/{file},,\n" for file in (*files, "RECORD"))
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, "RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{file}"), text)  # of 1980: equal files, equal hashes
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_fields(pin: Pin) -> list[tuple[str, str]]:
    """What a locked release requires, as far as it is installed here; nothing for those of other Pythons and systems.

    Raises:
        LookupError: another release is installed than the lock says.
    """
    try:
        found = distribution(pin.name)
    except PackageNotFoundError:
        found = None
    if found is not None and found.version == pin.version:
        return [(field, value) for field in KEPT for value in found.metadata.get_all(field, [])]
    if pin.requirement.marker is None or pin.requirement.marker.evaluate():
        raise LookupError(f"{pin.requirement} is locked, and installed is {found and found.version}. Run: make types")
    return []


def write_index(folder: Path, pins: Sequence[Pin], read: Callable[[Pin], list[tuple[str, str]]] = read_fields) -> str:
    """Make an index of the locked and a newer release of each pin in `folder`; the lock with its hashes."""
    lines = []
    for pin in pins:
        (place := folder / pin.name).mkdir(parents=True, exist_ok=True)
        digest = write_wheel(place, pin.name, pin.version, read(pin))
        write_wheel(place, pin.name, next_release(pin.version), read(pin))
        links = "".join(f'<a href="{wheel.name}">{wheel.name}</a>\n' for wheel in sorted(place.glob("*.whl")))
        (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        lines.append(f"{pin.requirement} --hash=sha256:{digest}\n")
    return "".join(lines)


def find_pythons() -> dict[tuple[int, int], Path]:
    """An interpreter of each supported release, as far as this machine has them."""
    homes = [Path(sys.executable).resolve().parent, *map(Path, os.get_exec_path())]
    homes += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin"))
    found = {}
    for minor in PIPS:
        candidates = [home / f"python{minor[0]}.{minor[1]}" for home in homes]
        if working := next(filter(_runs, candidates), None):
            found[minor] = working
    return found


def _runs(python: Path) -> bool:
    """Whether this is an interpreter, and no placeholder that tells how to get one."""
    return (
        python.exists()
        and not subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode
    )


def fetch_pip(version: str, folder: Path) -> Path:
    """The wheel of a release of pip: from a Python of this machine that bundles it, or from the index."""
    name = f"pip-{version}-py3-none-any.whl"
    bundled = [python.resolve().parents[1] / "lib" / python.name / "ensurepip/_bundled" / name
               for python in find_pythons().values()]  # fmt: skip
    if (found := next(filter(Path.exists, bundled), None)) is None:
        words = ("-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), f"pip=={version}")
        subprocess.run([sys.executable, *words], check=True)
        found = folder / name
    return found


def make_environment(python: Path, pip: Path, folder: Path) -> Path:
    """An environment of `python` that holds pip alone; its interpreter."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    inside = folder / "bin" / "python"
    words = ("-m", "pip", "--isolated", "install", "--quiet", "--no-index", "--no-deps", str(pip))
    subprocess.run([inside, *words], env={**os.environ, "PYTHONPATH": str(pip)}, check=True)
    return inside


def dry_run(python: Path, lock: Path, index: Path | None) -> subprocess.CompletedProcess[str]:
    """Ask the pip of `python` what it would install for `lock`; from the folder `index`, or as pip is configured."""
    words = ["-m", "pip", "install", "--dry-run", "--require-hashes", "--disable-pip-version-check", "-r", str(lock)]
    words += [] if index is None else ["--isolated", "--no-cache-dir", "--index-url", index.as_uri()]
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([python, *words], env=plain, capture_output=True, text=True, check=False)


def plan(work: Path) -> Iterator[Try]:
    """What to try, with the files for it written into `work`; the longest first."""
    pythons, index = find_pythons(), work / "index"
    for name in LOCKS:
        (work / name).write_text(write_index(index, read_lock((ROOT / name).read_text(encoding="utf-8"))))
    for minor, python in pythons.items():
        inside = make_environment(python, fetch_pip(PIPS[minor], work), work / f"3.{minor[1]}")
        whose = f"Python 3.{minor[1]}, pip {PIPS[minor]}"
        oldest = minor == min(pythons)
        for name in (LITERT, DEV) if oldest else ():
            yield Try(f"{name}, {whose}, real index", inside, ROOT / name, None)
        for name in LOCKS if oldest else (DEV,):
            yield Try(f"{name}, {whose}, newer releases of all", inside, work / name, index)


def tell(attempt: Try) -> bool:
    """Try, and print how it went; whether it went well."""
    start = time.perf_counter()
    done = dry_run(attempt.python, attempt.lock, attempt.index)
    word = "FAILS" if done.returncode else "installs"
    lines = [f"{word}: {attempt.what}, {time.perf_counter() - start:.0f} s"]
    print("\n".join([*lines, done.stderr[-3000:]] if done.returncode else lines), flush=True)
    return not done.returncode


def main() -> int:
    """Exit code 1 if a lock does not install somewhere."""
    with tempfile.TemporaryDirectory(prefix="meltpoint-locks-") as name, ThreadPoolExecutor(2) as pool:
        well = list(pool.map(tell, plan(Path(name))))
    for minor in sorted(PIPS.keys() - find_pythons().keys()):
        print(f"not tried: Python 3.{minor[1]}, which this machine has not")
    return 0 if well and all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
