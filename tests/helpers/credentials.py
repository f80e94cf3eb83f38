"""Credentials that are planted, servers that ask for them, and what gathers all that is said and written."""

import base64
import io
import itertools
import logging
import os
import socket
import traceback
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import radosgw
from helpers.file_server import RangeHandler
from s2cmc.errors import CatalogueError

USER, PASSWORD = "planted-user", "planted-pass:w@rd"
SIGNATURE = "X-Amz-Signature=plantedsignature&X-Amz-Credential=plantedid"
TOKEN = "planted-bearer-token"  # noqa: S105, of a server that is made here
WRONG = {"key": "AKIAPLANTEDKEYID", "secret": "planted/wrong+secret"}
_NUMBERS = itertools.count()


def _spellings(secret: str) -> set[str]:
    return {secret, urllib.parse.quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}


PLANTED = {
    spelling.encode()
    for secret in (
        *(USER, PASSWORD, f"{USER}:{PASSWORD}", TOKEN, "plantedsignature", "plantedid"),
        *(*WRONG.values(), radosgw.KEY, radosgw.SECRET),
    )
    for spelling in _spellings(secret)
}


def holds(content: bytes) -> list[bytes]:
    """What of the planted is in it, with what stands around."""
    found = [content.find(secret) for secret in sorted(PLANTED)]
    return [content[max(0, at - 60) : at + 40] for at in found if at >= 0]


class Guarded(RangeHandler):
    """Answers whoever knows the password, the signature or the token."""

    def parse_request(self) -> bool:
        read = super().parse_request()
        if read and self._is_refused():
            self.send_error(401, "go away")
        return read and not self._is_refused()

    def _is_refused(self) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        allowed = self.headers.get("Authorization") in (basic, f"Bearer {TOKEN}")
        return not allowed and not self.path.endswith(SIGNATURE)


class Said:
    """Gathers what is said, and finds what was planted in it."""

    def __init__(self, folder: Path, log: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self._log = log
        self._texts: list[bytes] = []

    def add(self, *things: object) -> None:
        """Note what an object shows of itself, and to whom it is sent."""
        for thing in things:
            self._texts += [thing if isinstance(thing, bytes) else f"{thing}\n{thing!r}".encode("utf-8", "replace")]

    def failing(self, work: Callable[[], object], match: str) -> CatalogueError:
        """Note all that an error says, with its causes, in a traceback and to other processes."""
        with pytest.raises(CatalogueError, match=match) as caught:
            work()
        self.add("".join(traceback.format_exception(caught.value)))
        error: BaseException | None = caught.value
        told: list[BaseException] = []
        while error is not None:
            assert error not in told, "a chain of errors without an end"
            told.append(error)
            self.add(error, vars(error), error.args)
            error = error.__cause__ or error.__context__
        return caught.value

    def everything(self) -> bytes:
        """All that was noted, logged and written."""
        written = b""
        for path in sorted(self.folder.rglob("*")):
            written += str(path.relative_to(self.folder)).encode()
            if path.is_file():
                content = path.read_bytes()
                written += content + members(content)
        ours = "\n".join(
            logging.Formatter().format(record) for record in self._log.records if record.name.startswith("s2cmc")
        )
        return b"\n".join(self._texts) + written + ours.encode()


def members(content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return b""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


@pytest.fixture
def said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """Gathers; at the end nothing planted is in it."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "written").mkdir()
    said = Said(tmp_path / "written", caplog)
    yield said
    everything = said.everything()
    assert len(everything) > 1000
    assert holds(everything) == []
    # With their own loggers at DEBUG too, which s2cmc never sets, libraries tell neither passwords nor secret keys.
    libraries = "\n".join(record.getMessage() for record in caplog.records).encode()
    assert not any(secret.encode() in libraries for secret in (PASSWORD, radosgw.SECRET, WRONG["secret"]))


@pytest.fixture
def guarded(tiny_store, serve) -> Callable[[str, str], str]:
    """URL of what lies beside `tiny_store` on a server that asks for credentials, with these in it."""
    server = serve(tiny_store.parent, Guarded)

    def url(name: str, way: str) -> str:
        user = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@" if way == "password" else ""
        query = f"?{SIGNATURE}" if way == "signature" else ""
        return f"http://{user}{server.url.removeprefix('http://')}/{name}{query}"

    return url


@pytest.fixture
def owner(new_bucket, tiny_store, tmp_path, monkeypatch) -> Callable[[str], dict[str, Any]]:
    """Options with which the owner of a bucket opens it, whose credentials come by a way of their own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def options(bucket, way: str) -> dict[str, Any]:
        common = {"endpoint_url": bucket.endpoint, "timeout": 30 + next(_NUMBERS)}  # fsspec keeps what it has found
        if way == "options":
            return common | {"key": radosgw.KEY, "secret": radosgw.SECRET}
        if way == "environment":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", radosgw.KEY)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", radosgw.SECRET)
            return common | {"anonymous": False}
        profile = f"[lab]\naws_access_key_id = {radosgw.KEY}\naws_secret_access_key = {radosgw.SECRET}\n"
        (tmp_path / "profiles").write_text(profile)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "profiles"))
        return common | {"profile": "lab"}

    return options


@pytest.fixture
def silent():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
