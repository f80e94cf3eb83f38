"""Fixtures: a real S3 server that all processes of a test run share, and fresh buckets in it."""

import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session
from filelock import FileLock

from helpers import radosgw
from s2cmc.storage.access import Access

_STARTED_WITHIN = 90.0  # seconds


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Endpoint of a Ceph object gateway, which ends with the test run."""
    if missing := [name for name in radosgw.BINARIES if not shutil.which(name)]:
        pytest.skip(
            f"{', '.join(missing)} not found; apt-get install radosgw ceph-mon ceph-osd brings all that is needed"
        )
    shared, run = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared, run = shared.parent, os.getppid()
    known = shared / "gateway"
    with FileLock(shared / "gateway.lock"):
        if not known.exists():
            known.write_text((start_gateway(run, shared / "gateway.log") / "endpoint").read_text())
    return known.read_text()


def start_gateway(run: int, log: Path) -> Path:
    """Start a gateway that ends with the process `run`; its folder, which goes then. The log stays."""
    folder = Path(tempfile.mkdtemp(prefix="rgw", dir="/tmp"))  # a short path, whatever TMPDIR says
    command = [sys.executable, radosgw.__file__, str(folder), str(run)]
    output = [
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    process = os.posix_spawn(sys.executable, command, os.environ, file_actions=output, setsid=True)
    given_up = time.monotonic() + _STARTED_WITHIN
    while not (folder / "endpoint").exists():
        ended = os.waitpid(process, os.WNOHANG)[0]
        if ended or time.monotonic() > given_up:
            pytest.fail(f"the gateway did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    return folder


@dataclass(frozen=True)
class FreshBucket:
    """A bucket of its own: where it is, how it is reached, and the usual client to look behind what is tested."""

    name: str
    endpoint: str
    access: Access
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def options(self) -> dict[str, str]:
        """Arguments of open_catalogue that give its owner's rights."""
        return {"endpoint_url": self.endpoint, "key": radosgw.KEY, "secret": radosgw.SECRET}

    def flags(self, option: str = "-o") -> list[str]:
        """The same for the command."""
        return [word for name, value in self.options.items() for word in (option, f"{name}={value}")]

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        with self.client.get_object(Bucket=self.name, Key=key)["Body"] as body:
            return body.read()

    def head(self, key: str) -> dict[str, Any]:
        return self.client.head_object(Bucket=self.name, Key=key)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def listed(self, below: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=below)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def contents(self, below: str = "") -> dict[str, bytes]:
        """All objects below a prefix, by what follows it."""
        return {key.removeprefix(below): content for key, content in _side_by_side(self._item, self.listed(below))}

    def _item(self, key: str) -> tuple[str, bytes]:
        return key, self.get(key)

    def upload(self, folder: Path, prefix: str) -> str:
        """Copy a folder as it is; the URL of the copy."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        _side_by_side(lambda f: self.put(f"{prefix}/{f.relative_to(folder).as_posix()}", f.read_bytes()), files)
        return f"{self.url}/{prefix}"

    def allow_all(self, *actions: str) -> None:
        """Let everyone do this, such as GetObject; and nothing else."""
        arn = f"arn:aws:s3:::{self.name}"
        statement = {"Effect": "Allow", "Principal": "*", "Resource": [arn, f"{arn}/*"]}
        policy = {"Version": "2012-10-17", "Statement": [statement | {"Action": [f"s3:{name}" for name in actions]}]}
        self.client.put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))


def _side_by_side[A, B](work: Callable[[A], B], items: list[A]) -> list[B]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, items))


@pytest.fixture(scope="session")
def s3_client(gateway: str) -> Iterator[Any]:
    """Botocore's client of the gateway."""
    client = Session().create_client(
        "s3",
        endpoint_url=gateway,
        region_name="us-east-1",
        aws_access_key_id=radosgw.KEY,
        aws_secret_access_key=radosgw.SECRET,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def new_bucket(gateway: str, s3_client: Any) -> Callable[[], FreshBucket]:
    """Makes buckets, for fixtures that live longer than a test."""
    return partial(_new_bucket, gateway, s3_client)


def _new_bucket(gateway: str, client: Any) -> FreshBucket:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    access = Access(endpoint_url=gateway, key=radosgw.KEY, secret=radosgw.SECRET)
    return FreshBucket(name, gateway, access, client)


@pytest.fixture
def bucket(new_bucket: Callable[[], FreshBucket]) -> FreshBucket:
    """An empty bucket."""
    return new_bucket()
