"""nginx as a process of its own over a folder, to see what a catalogue asks of a real web server."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")  # which is not on everyone's PATH

SERVING = """
types { application/json json; }
default_type application/octet-stream;
gzip on;
gzip_types application/json;
add_header Access-Control-Allow-Origin * always;
add_header Access-Control-Allow-Methods "GET, HEAD, OPTIONS" always;
add_header Access-Control-Allow-Headers Range always;
add_header Access-Control-Expose-Headers "Content-Range, Content-Length, ETag" always;
if ($request_method = OPTIONS) { return 204; }
"""
"""Lines of nginx that serve a store well, in a browser too; docs/how-to/publish.md shows the same."""

WITHOUT_RANGES = "max_ranges 0;"

EVERYTHING_COMPRESSED = """
default_type application/octet-stream;
gzip on;
gzip_types *;
gzip_min_length 1;
"""

_CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid {own}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    log_format asked "$request_method\\t$uri\\t$status\\t$body_bytes_sent\\t$http_range\\t$sent_http_content_encoding";
    access_log {own}/access.log asked;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        {serving}
    }}
}}
"""


class Asked(NamedTuple):
    """A request, and how it was answered."""

    method: str
    path: str
    status: int
    sent: int
    range: str
    encoding: str


class Nginx:
    """nginx over `folder`, with `serving` in its block ``server``. What it writes of its own is in `own`."""

    def __init__(self, folder: Path, own: Path, serving: str = "") -> None:
        own.mkdir()
        self._log = own / "access.log"
        self._seen = 0
        with socket.create_server(("127.0.0.1", 0)) as listening:
            # nginx takes the socket over, so that the port is its own and the first request waits until it is ready.
            port = listening.getsockname()[1]
            # Started by root it would read files as a user who may not look into temporary folders.
            user = "user root;" if os.geteuid() == 0 else ""
            configuration = _CONFIGURATION.format(user=user, own=own, port=port, folder=folder, serving=serving)
            (own / "nginx.conf").write_text(configuration)
            self._process = subprocess.Popen(
                [NGINX, "-p", own, "-e", own / "error.log", "-c", own / "nginx.conf"],
                env={**os.environ, "NGINX": f"{listening.fileno()};"},
                pass_fds=[listening.fileno()],
            )
        self.url = f"http://127.0.0.1:{port}"

    def asked(self) -> list[Asked]:
        """What was asked for since the last call, or the start."""
        # Answers are written down after they were sent, in turn: once this one stands there, so do all before it.
        mark = f"/asked-{time.monotonic_ns()}"
        assert ask(f"{self.url}{mark}")[0] == 404
        while mark not in (content := self._log.read_text()):
            time.sleep(0.002)
        lines = content.splitlines()[self._seen :]
        self._seen += len(lines)
        found = [line.split("\t") for line in lines if mark not in line]
        return [Asked(method, path, int(status), int(sent), *rest) for method, path, status, sent, *rest in found]

    def close(self) -> None:
        """Stop it, and wait until it has."""
        self._process.terminate()
        self._process.wait(timeout=10)


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer."""
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310, a server of our own
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers)
