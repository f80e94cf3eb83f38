"""The server of a record on loopback, as a process of its own, and what it has counted."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import SHARED

SCRIPT = SHARED.parent / "tools" / "record_server.py"
RECORD = "4172871"


class RecordServer:
    """The server over a folder, with its own options: ``RecordServer(folder, "--limit", 12, "--window", 3)``."""

    def __init__(self, folder: Path, *options: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, SCRIPT, folder, "--port", port, "--record", RECORD, *options]
        self._process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        self.host = f"http://127.0.0.1:{port}"
        self.url = f"{self.host}/records/{RECORD}"
        self._wait()

    def counted(self) -> dict[str, int]:
        """What was asked since the start or `reset`: requests, heads, refused, failed, cut, bytes, most_in_window."""
        return json.loads(self._ask("GET", "/__ctl"))

    def reset(self) -> None:
        """Count from here on."""
        self._ask("POST", "/__ctl")

    def change(self, name: str) -> None:
        """Give a file another ETag and MD5, as if a new version had been put in its place."""
        self._ask("POST", f"/__ctl/changed/{name}")

    def close(self) -> None:
        """Stop it, and wait until it has."""
        self._process.kill()
        self._process.wait()

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.host + path, method=method)  # noqa: S310, a server of our own
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return bytes(answer.read())

    def _wait(self) -> None:
        """Wait until it listens: it hashes its files before."""
        until = time.monotonic() + 120
        while True:
            try:
                self.counted()
            except OSError:
                assert self._process.poll() is None, f"{SCRIPT} ended with {self._process.returncode}"
                assert time.monotonic() < until, f"{SCRIPT} does not answer"
                time.sleep(0.05)
            else:
                return


@pytest.fixture
def serve_record() -> Iterator[Callable[..., RecordServer]]:
    """Start servers of a record over folders: ``serve_record(folder, "--cut", 1000)`` gives a `RecordServer`."""
    if not SCRIPT.is_file():
        pytest.skip(f"the server of a record is not in {SCRIPT}")
    servers: list[RecordServer] = []

    def start(folder: Path, *options: Any) -> RecordServer:
        servers.append(RecordServer(folder, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
