"""A real S3 server on loopback: DVC's cache goes there and comes back, and sources read their shards from it."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from dvc.cli import main as dvc
from moto.server import ThreadedMotoServer
from PIL import Image

from meltpoint import parts
from meltpoint.data.download import Dataset, download_dataset
from meltpoint.data.fingerprint import fingerprint_sources
from meltpoint.data.listing import SourceError
from meltpoint.data.shard_files import find_files
from meltpoint.images.decode import inspect
from meltpoint.images.mask_files import normalise
from meltpoint.params.data import Data
from meltpoint.parts import write_parts
from meltpoint.shards import open_shards

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries that talk to the bucket
STAGE = """\
stages:
  augment:
    cmd: cp -r made views
    deps: [made]
    outs: [views]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its address."""
    running = ThreadedMotoServer("127.0.0.1", 0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, `house`; the environment says where it is and who may use it, as a user's shell does."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    s3fs.S3FileSystem.clear_instance_cache()
    made = boto3.resource("s3").create_bucket(Bucket="house")
    yield made
    made.objects.all().delete()
    made.delete()
    s3fs.S3FileSystem.clear_instance_cache()


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_clone_pulls_what_was_pushed(
    bucket: Any, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, clone = tmp_path / "house", tmp_path / "clone"
    (house / "made").mkdir(parents=True)
    monkeypatch.chdir(house)
    monkeypatch.setattr(parts, "PART_BYTES", 2_000)
    values = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    with write_parts(house / "made/plain.npy", values.shape, "|u1") as writer:
        writer.write(values.tobytes())
    (house / "dvc.yaml").write_text(STAGE)
    (house / ".gitignore").write_text("/made\n")
    git("init", "-q")
    for words in (
        ["init", "-q"],
        ["config", "core.analytics", "false"],
        ["repro", "-q"],
        ["remote", "add", "-q", "-d", "bucket", "s3://house/cache"],
        ["remote", "modify", "-q", "bucket", "endpointurl", server],
        ["push", "-q"],
    ):
        assert dvc(words) == 0, words
    git("add", ".")
    git("commit", "-qm", "all")
    assert len(list(bucket.objects.filter(Prefix="cache/files/md5/"))) == 3 + 1  # the parts, and the list of them
    git("clone", "-q", str(house), str(clone))
    monkeypatch.chdir(clone)
    assert not (clone / "views").exists()
    assert dvc(["pull", "-q"]) == 0
    assert contents(clone / "views") == contents(house / "views")
    assert len(contents(clone / "views")) == 3


def picture(number: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def tar(numbers: range) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for number in numbers:
            for suffix, own in (("jpg", picture(number)), ("cls", b"%d" % (number % 2))):
                member = tarfile.TarInfo(f"{number:03}.{suffix}")
                member.size = len(own)
                made.addfile(member, io.BytesIO(own))
    return content.getvalue()


def parquet(numbers: range) -> bytes:
    content = io.BytesIO()
    rows = [{"image": {"bytes": picture(one), "path": f"{one}.jpg"}, "label": str(one % 2)} for one in numbers]
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()


def data(source: dict[str, Any], column: str) -> Data:
    labels = {"y": {"kind": "names", "column": column}}
    given = {"source": source, "labels": labels, "max_bad": 0, "max_megapixels": 1}
    return Data.model_validate(given)


def download(given: Data) -> Dataset:
    return download_dataset(given, Path("data/raw"), Path("reports/data.json"), inspect, normalise)


def test_sources_read_their_shards_from_the_bucket(bucket: Any) -> None:
    for split, numbers in (("train", range(6)), ("test", range(6, 8))):
        bucket.put_object(Key=f"pets/{split}-000.tar", Body=tar(numbers))
        bucket.put_object(Key=f"pets/data/{split}-0.parquet", Body=parquet(numbers))
    names = {"train": "train-*.tar", "test": "test-{000..000}.tar"}
    tars = data({"kind": "webdataset", "path": "s3://house/pets", "shards": names}, "cls")
    files = {"train": "data/train-*.parquet", "test": "data/test-0.parquet"}
    tables = data({"kind": "parquet", "path": "s3://house/pets", "files": files, "picture": "image"}, "label")
    for given in (tars, tables):
        found = download(given)
        held = open_shards(Path("data/raw"))
        assert [held.read(path) for path in found.samples.sort_values(["split", "path"])["path"]] == [
            picture(number) for number in (6, 7, 0, 1, 2, 3, 4, 5)
        ]
        assert found.samples["split"].value_counts().to_dict() == {"train": 6, "test": 2}
        assert found.samples["y"].value_counts().to_dict() == {"0": 4, "1": 4}
    before = fingerprint_sources(tars, {}, {}).parts["source"]["sha256"]
    assert fingerprint_sources(tars, {}, {}).parts["source"]["sha256"] == before
    bucket.put_object(Key="pets/train-000.tar", Body=tar(range(5)))
    assert fingerprint_sources(tars, {}, {}).parts["source"]["sha256"] != before


def test_a_shard_is_the_same_however_it_is_asked_for(bucket: Any) -> None:
    bucket.put_object(Key="pets/train-000.tar", Body=tar(range(2)))
    (listed,) = find_files("s3://house/pets/*.tar")
    s3fs.S3FileSystem.clear_instance_cache()  # as in another process
    (asked,) = find_files("s3://house/pets/train-000.tar")
    assert asked.state == listed.state
    bucket.put_object(Key="pets/train-000.tar", Body=tar(range(3)))
    s3fs.S3FileSystem.clear_instance_cache()
    assert find_files("s3://house/pets/train-000.tar")[0].state != asked.state


def test_a_bucket_that_is_not_there_says_so(bucket: Any) -> None:
    missing = data({"kind": "webdataset", "path": "s3://nowhere/pets", "shards": {"all": "*.tar"}}, "cls")
    with pytest.raises(SourceError, match="s3://nowhere/pets"):
        download(missing)
