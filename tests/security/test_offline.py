"""Nothing phones anywhere: without a URL no socket is connected, and with one only that host is asked.

Python's audit events (https://docs.python.org/3/library/audit_events.html) see what Python connects; `strace` sees
what compiled code does too, such as obstore's clients.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote

import pytest
from helpers.file_server import RangeHandler
from helpers.requirements import without

pytestmark = pytest.mark.slow

_AUDITED = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        raise RuntimeError(f"{event}{arguments}")

sys.addaudithook(refuse)
"""
_EVERYTHING = """
import sys
from pathlib import Path
import s2cmc
from s2cmc.conversion import convert, describe, export, forecast, publish, verify
from s2cmc.synthetic import make_release

here = Path(sys.argv[1])
release = make_release(here / "release", scenes=3, size=16)
forecast(str(release))
convert(str(release), str(here / "store.zarr"))
assert verify(str(here / "store.zarr"), str(release)) == []
ds = s2cmc.open_catalogue(here / "store.zarr", cache_dir=here / "cache")
ds.clouds.select("thin or not thin").clouds.class_fractions().compute()
ds.clouds.band_statistics().compute()
ds.clouds.evaluate(ds.mask, by="dataset", resamples=10)
ds.clouds.footprints()
ds.clouds.scene(0).load()
next(iter(ds.clouds.patches(8, batch=2)))
for format in ("cog", "npz", "png", "zarr"):
    export(str(here / "store.zarr"), here / format, format=format)
describe(str(here / "store.zarr"))
publish(str(here / "store.zarr"), str(here / "published"))
"""
_READING = """
import sys, json
import s2cmc
for url, options in json.loads(sys.argv[1]):
    ds = s2cmc.open_catalogue(url, **options)
    ds.clouds.class_fractions().compute()
    ds.reflectance.isel(scene=0, band=3).compute()
"""
_CLOUD = re.compile(r"(?i)aws_|azure_|google_|.*_proxy$")


@pytest.fixture
def environment(tmp_path):
    """No configuration of this machine; nothing that keeps a client from asking an instance for credentials."""
    kept = {name: value for name, value in os.environ.items() if not _CLOUD.match(name)}
    return kept | {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}


@pytest.fixture
def reached(tmp_path, environment):
    """Run Python code with arguments; gives the addresses that it, or any of its threads, connected or sent to."""
    if not shutil.which("strace"):
        without("strace not found; apt-get install strace")

    def run(code: str, *arguments: object) -> set[str]:
        trace = tmp_path / "trace"
        strace = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=connect,sendto,sendmsg,sendmmsg",
            "-o",
            str(trace),
        ]
        subprocess.run(
            [*strace, sys.executable, "-c", code, *map(str, arguments)],
            check=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
        )
        text = trace.read_text()
        internet = re.findall(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)', text)
        others = re.findall(r"AF_INET6.*|AF_UNIX.*nscd.*", text)
        return {f"{host}:{port}" for port, host in internet} | set(others)

    return run


def test_a_connection_would_be_seen(tmp_path, environment, reached):
    code = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    command = [sys.executable, "-c", _AUDITED + code]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "RuntimeError: socket.getaddrinfo" in ended.stderr
    quiet = f"try:\n    {code}\nexcept OSError:\n    pass"
    assert reached(quiet.replace("import socket; ", "import socket\n    ")) == {"127.0.0.1:9"}


def test_without_a_url_nothing_is_connected(tmp_path, reached):
    """Python would raise, and what is compiled would be seen."""
    assert reached(_AUDITED + _EVERYTHING, tmp_path) == set()
    assert (tmp_path / "store-metadata" / "collection.json").exists()


class _WithTags(RangeHandler):
    """A server that gives each object a tag and a date, without which obstore takes no answer for one of gs://."""

    def end_headers(self) -> None:
        self.send_header("ETag", '"tag"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2018 00:00:00 GMT")
        super().end_headers()


def test_only_the_host_of_the_store_is_asked(store, serve, reached):
    """So no instance is asked for credentials, as clients do at 169.254.169.254, where none are needed."""
    server = serve(store.parent.parent, _WithTags)
    path = f"{store.parent.name}/{store.name}"  # as bucket and prefix: whoever is anonymous may read all of it
    bucket = {"endpoint_url": server.url}
    places = [
        (f"{server.url}/{path}", {}),
        (f"{server.url}/{path}", {"backend": "fsspec"}),
        (f"s3://{path}", bucket),
        (f"s3://{path}", bucket | {"backend": "fsspec"}),
        (f"s3://{path}", bucket | {"key": "AKIAPLANTED", "secret": "planted"}),
        (f"gs://{path}", bucket),
    ]
    assert reached(_READING, json.dumps(places)) == {server.url.removeprefix("http://")}
    opened = [name for _, name, _ in server.log if unquote(name) == f"/{path}/zarr.json"]
    assert len(opened) >= len(places)
