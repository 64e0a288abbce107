"""Archives that nobody vouches for, brought in by the stage `download`: nothing lands outside, nothing is left."""

import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECTION = "Archives"
OTHERS = ("another checksum than `data.source.sha256`", "a download that is cut, of another file than was meant")
CUT = ("a download that is cut", "a download that is cut, of another file than was meant")


def pictures(workplace: Any) -> dict[str, bytes]:
    return {str(path.relative_to(workplace.photos)): path.read_bytes() for path in workplace.photos.rglob("*.png")}


def as_zip(files: dict[str, bytes], *others: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for info in others:
            archive.writestr(info, content)
    return packed.getvalue()


def as_tar(files: dict[str, bytes], *others: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return packed.getvalue()


def special(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("cat/special.png")
    info.type, info.linkname = kind, target
    return info


def zip_link(target: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("cat/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def link_then_file(files: dict[str, bytes]) -> bytes:
    """A link out of the folder, and a file that would be written through it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("cat/out")
        link.type, link.linkname = tarfile.SYMTYPE, "../../.."
        archive.addfile(link)
        info = tarfile.TarInfo("cat/out/evil.png")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    return packed.getvalue()


def encrypted(files: dict[str, bytes]) -> bytes:
    data = bytearray(as_zip(files))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def lying(files: dict[str, bytes]) -> bytes:
    data = bytearray(as_zip(files))
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")  # unpacked size as the directory declares it
    return bytes(data)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def twice(files: dict[str, bytes]) -> bytes:
    first = next(iter(files))
    return as_tar(files, *[tarfile.TarInfo(f"./{first}")])


MAKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a zip with `../` in a name": lambda files: as_zip({**files, "cat/../../evil.png": b"x"}),
    "a tar with `../` in a name": lambda files: as_tar({**files, "../evil.png": b"x"}),
    "an absolute name": lambda files: as_tar({**files, "/tmp/evil.png": b"x"}),
    "backslashes that climb": lambda files: as_zip({**files, "cat\\..\\..\\evil.png": b"x"}),
    "a drive letter": lambda files: as_zip({**files, "C:/evil.png": b"x"}),
    "a symbolic link in a tar": lambda files: as_tar(files, special(tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link in a tar": lambda files: as_tar(files, special(tarfile.LNKTYPE, "cat/1.png")),
    "a symbolic link in a zip": lambda files: as_zip(files, zip_link(""), content=b"/etc/passwd"),
    "a link, and a file written through it": link_then_file,
    "a device": lambda files: as_tar(files, special(tarfile.CHRTYPE, "")),
    "a named pipe": lambda files: as_tar(files, special(tarfile.FIFOTYPE, "")),
    "a bomb by number of members": lambda files: as_tar({f"cat/{number}.png": b"" for number in range(101)}),
    "a bomb by ratio": lambda files: as_zip({**files, "cat/zeros.png": bytes(20_000_000)}),
    "a bomb by total size": lambda files: as_tar({**files, "cat/large.png": bytes(60_000_000)}, mode="w"),
    "archives in an archive": lambda files: as_zip({**files, "cat/inner.zip": as_zip({"cat/deep.png": b"x"})}),
    "one name twice": twice,
    "an encrypted member": encrypted,
    "a member larger than it says": lying,
    "an archive that ends too early": lambda files: as_tar(files)[:-400],
    "a flipped bit in an archive": lambda files: flipped(as_zip(files)),
    "no archive": lambda files: b"<html>Not found</html>",
    "an archive without images": lambda files: as_zip({}),
    "another checksum than `data.source.sha256`": as_zip,
    **dict.fromkeys(CUT, as_zip),
}


def use_archive(workplace: Any, location: str, sha256: str) -> None:
    workplace.params["data"]["source"] = {
        "kind": "archive", "location": location, "sha256": sha256, "max_members": 100, "max_gigabytes": 0.05,
        "inside": {"kind": "folder", "path": "."},
    }  # fmt: skip


def around(workplace: Any) -> set[Path]:
    """All that lies beside the working folder."""
    return set(workplace.folder.parent.iterdir())


class _Cutting(BaseHTTPRequestHandler):
    """Sends half of the archive and hangs up; the second time it goes on from there."""

    content = b""

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        whole = len(self.content)
        end = whole if start else whole // 2
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(whole - start))
        self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        self.wfile.write(self.content[start:end])

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def serving(content: bytes) -> Iterator[str]:
    handler = type("Handler", (_Cutting,), {"content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/photos.zip"
        server.shutdown()
        thread.join()


@contextmanager
def located(row: Any, content: bytes) -> Iterator[str]:
    """Where the archive is: beside params.yaml, or on a server that hangs up."""
    if row.name not in CUT:
        yield "archive"
        return
    with serving(content) as address:
        yield address


def test_archives(row: Any, workplace: Any, check_refused: Any) -> None:
    content = MAKERS[row.name](pictures(workplace))
    (workplace.folder / "archive").write_bytes(content)
    before = around(workplace)
    with located(row, content) as location:
        meant = b"another" if row.name in OTHERS else content
        use_archive(workplace, location, hashlib.sha256(meant).hexdigest())
        code, said = workplace.stage("download")
    assert around(workplace) == before
    assert not Path("/tmp/evil.png").exists()
    if row.fate == "read":
        assert code == 0, said
        assert all(quote in said for quote in row.quotes)
        assert len(workplace.samples()) == 6
        return
    check_refused(row, code, said)
    assert not {path for path in workplace.left() if not path.endswith(".lock")}
    if row.fate == "skipped":
        workplace.params["data"]["max_bad"] = 1
        assert workplace.stage("download")[0] == 0
        assert len(workplace.samples()) == 6
    else:
        assert row.fate == "refused"


def test_every_row_has_its_archive(every_row: Any) -> None:
    assert {row.name for row in every_row if row.section == SECTION} == set(MAKERS)
