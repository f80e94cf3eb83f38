"""The S3 server of the tests leaves nothing behind."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.s3_fixtures import start_gateway

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_whom_it_was_started_for(gateway, tmp_path, how):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as run:
        folder = start_gateway(run.pid, tmp_path / "log")
        assert (folder / "endpoint").read_text() != gateway
        assert len(_processes_of(folder)) == 1 + 3  # who minds them, and the servers
        run.send_signal(how)
    given_up = time.monotonic() + 20
    while folder.exists() or _processes_of(folder):
        assert time.monotonic() < given_up
        time.sleep(0.05)


def _processes_of(folder: Path) -> list[bytes]:
    """Command lines in which a folder stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(path.read_bytes())
    return [command for command in found if bytes(folder) in command]
