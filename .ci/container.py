"""Runs the steps of a Dockerfile without Docker: in a bare Debian, by chroot, as root; then asks the server inside.

`python .ci/container.py CONTEXT PICTURE [--dockerfile FILE] [--root FOLDER] [--mount PATH ...] [--arg NAME=VALUE ...]`

The base image is stood in for by `debootstrap` and a Python in /usr/local; every other line is done as it is written.
What CMD starts runs as USER says, with nothing in its environment but ENV, on a root that is mounted read-only, with
an empty /tmp. It needs root, debootstrap, and a network. `--root` keeps the bare system for the next time. `--mount`:
paths of this machine that RUN may read, as package caches and certificates.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

DEBIAN, MIRROR = "bookworm", "http://deb.debian.org/debian"  # what python:3.11-slim is made of, too
PATIENCE = 180  # seconds for a server to be there
PORT = 5001


@dataclass
class Image:
    """What the lines so far have made: a root, and what a process in it gets."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    args: dict[str, str] = field(default_factory=dict)
    place: str = "/"
    user: str = "0"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def main() -> None:
    """Build, run, ask."""
    asked = argparse.ArgumentParser()
    asked.add_argument("context", type=Path)
    asked.add_argument("picture", type=Path)
    asked.add_argument("--dockerfile", type=Path)
    asked.add_argument("--root", type=Path)
    asked.add_argument("--mount", action="append", default=[])
    asked.add_argument("--arg", action="append", default=[])
    given = asked.parse_args()
    if os.geteuid() or shutil.which("debootstrap") is None:
        raise SystemExit("This makes a bare Debian, for which it needs root and debootstrap: apt install debootstrap")
    with tempfile.TemporaryDirectory() as temporary:
        base, work = given.root or Path(temporary) / "base", Path(temporary) / "root"
        if not (base / "usr/local/venv").exists():
            make_base(base, given.mount)
        shutil.copytree(base, work, symlinks=True, ignore=ignore_devices)
        image = Image(work, args=dict(pair.split("=", 1) for pair in given.arg))
        before = size_of(work)
        for line in lines_of(given.dockerfile or given.context / "Dockerfile"):
            print(f"> {line}", flush=True)
            perform(image, line, given.context, given.mount)
        print(f"added to the base image: {(size_of(work) - before) / 1e6:.0f} MB", flush=True)
        ask(image, given.picture)


def make_base(base: Path, mounts: Sequence[str]) -> None:
    """A bare Debian with a Python that has pip."""
    words = ["--variant=minbase", "--include=ca-certificates,python3-venv", DEBIAN, str(base), MIRROR]
    subprocess.run(["debootstrap", *words], check=True, stdout=sys.stderr)  # noqa: S607
    run(Image(base), ["python3", "-m", "venv", "/usr/local/venv"], mounts)


def lines_of(dockerfile: Path) -> list[str]:
    """The instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", dockerfile.read_text(encoding="utf-8"))
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def perform(image: Image, line: str, context: Path, mounts: Sequence[str]) -> None:
    """Do what an instruction says."""
    word, _, rest = line.partition(" ")
    match word:
        case "FROM":
            asked = ["chroot", str(image.root), "/usr/local/venv/bin/python", "--version"]
            version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            wanted = re.fullmatch(r"python:(\d+\.\d+)-slim", rest)
            assert wanted is not None, f"{rest} is no base image that is known here"
            assert version.startswith(f"Python {wanted[1]}."), f"{rest} is not {version}"
        case "ARG":
            name, _, value = rest.partition("=")
            image.args.setdefault(name, value)
        case "ENV":
            image.env |= dict(pair.split("=", 1) for pair in rest.split())
        case "WORKDIR":
            image.place = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "COPY":
            *sources, target = rest.split()
            for source in sources:
                into = image.root / image.place.lstrip("/") / target
                into = into / Path(source).name if target.endswith(("/", ".")) else into
                if (context / source).is_dir():
                    shutil.copytree(context / source, into)
                else:
                    into.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(context / source, into)
        case "RUN":
            run(image, ["sh", "-c", rest], mounts)
        case "USER":
            image.user = rest
        case "HEALTHCHECK":
            image.health = json.loads(rest[rest.index("CMD ") + 4 :])
        case "CMD":
            image.command = json.loads(rest)
        case "EXPOSE":
            assert rest == str(PORT)
        case _:
            raise SystemExit(f"The instruction {word} is not known here.")


def run(image: Image, command: Sequence[str], mounts: Sequence[str]) -> None:
    """A command of the build, with the network, /proc, and what may be read of this machine."""
    shown = [*mounts, "/etc/resolv.conf"]
    script = [f"mount -t proc proc {image.root}/proc", f"mount --bind /dev {image.root}/dev"]
    for path in shown:
        target = f"{image.root}{path}"
        script.append(f"mkdir -p {target if Path(path).is_dir() else Path(target).parent}")
        script.append(f"test -e {target} || touch {target}")
        script.append(f"mount --bind {path} {target}")
    network = ("PIP_", "SSL_", "http", "HTTP", "no_", "NO_")
    pip = {name: value for name, value in os.environ.items() if name.startswith(network)}
    inner = ["chroot", str(image.root), "/usr/bin/env", "-i", "-C", image.place]
    inner += [f"{name}={value}" for name, value in {**pip, **image.args, **image.env}.items()]
    script.append('exec "$@"')
    subprocess.run(["unshare", "-m", "sh", "-ec", "\n".join(script), "sh", *inner, *command], check=True)  # noqa: S607


def ask(image: Image, picture: Path) -> None:
    """Start what CMD says, on a read-only root and without rights; ask for its health, and about a picture."""
    root = image.root
    mounts = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount -t tmpfs tmpfs {root / 'tmp'}",
              f"mount --bind /dev {root}/dev", f"mount -o remount,bind,ro {root}", 'exec "$@"']  # fmt: skip
    chroot = ["chroot", f"--userspec={image.user}:{image.user}", str(image.root), "/usr/bin/env", "-i"]
    chroot += ["-C", image.place, *(f"{name}={value}" for name, value in image.env.items())]
    started = ["unshare", "-m", "sh", "-ec", "\n".join(mounts), "sh", *chroot, *image.command]
    server = subprocess.Popen(started, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while subprocess.run([*chroot, *image.health], stderr=subprocess.DEVNULL, check=False).returncode:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server is not healthy"
            time.sleep(1)
        print("healthy", flush=True)
        body = json.dumps({"instances": [base64.b64encode(picture.read_bytes()).decode()]}).encode()
        address, headers = f"http://127.0.0.1:{PORT}/invocations", {"Content-Type": "application/json"}
        request = urllib.request.Request(address, body, headers)
        while True:
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                print(answer.read().decode(), flush=True)
                break
            assert time.monotonic() < deadline, "the model is not ready"
            time.sleep(1)
        about = Path(f"/proc/{server.pid}/status").read_text()
        print("user and groups of the server:", *re.findall(r"^(?:Uid|Gid):\s*(\d+)", about, flags=re.M), flush=True)
        inside = Path(f"/proc/{server.pid}/mountinfo").read_text()
        own = rf" (?:{re.escape(str(image.root))}|/) ro,"  # the server sees its root as /
        assert re.search(own, inside), "its root is not read-only"
        print("its root is read-only", flush=True)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(40)


def size_of(root: Path) -> int:
    """The bytes of all files."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def ignore_devices(folder: str, names: list[str]) -> list[str]:
    """What is no file, folder or link, and is made anew."""
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_dir() or path.is_file())]


if __name__ == "__main__":
    main()
