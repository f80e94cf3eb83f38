"""An HTTP proxy in front of a server: latency, a shared link, faults, and a log of all that was asked.

>>> with Proxy("http://127.0.0.1:7480", rtt=0.03, rate=100e6) as proxy:
...     proxy.faults = [Fault("503", r"/c/", times=2)]
...     read(proxy.url)
...     depth(proxy.log)
"""

import http.client
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from helpers.request_log import Request

ERRORS = {"404": "NoSuchKey", "403": "AccessDenied", "500": "InternalError", "503": "SlowDown"}
KINDS = (*ERRORS, "reset", "truncate", "stall", "hang", "corrupt", "noranges")

_PIECE = 65536
_PIECES_PER_SECOND = 50  # at least, on a slow link, so that it is never silent for long
_SLACK = 0.01  # seconds by which the link may catch up on what sleeping overshot
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-connection",
}


@dataclass
class Fault:
    """What goes wrong: with which requests, and with how many of them; always, unless `times` is given.

    The first `skip` of the requests that it names pass.

    404, 403, 500, 503 are answers with an error of S3. `reset` cuts the connection instead of an answer, `truncate`
    half way. `stall` goes silent half way, `hang` at once. `corrupt` changes the byte in the middle. `noranges`
    answers with the whole object.
    """

    kind: str
    path_regex: str = "."
    method: str | None = None
    times: int | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}")


class Proxy:
    """A proxy in threads of this process.

    Parameters
    ----------
    upstream : str
        Such as ``http://127.0.0.1:7480``.
    rtt : float
        Seconds before each answer, and once more on each new connection.
    rate : float
        Bytes per second of a link that all connections share, in both directions together; 0 is no limit.
    """

    def __init__(self, upstream: str, rtt: float = 0.0, rate: float = 0.0) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.rtt = rtt
        self.rate = rate
        self.log: list[Request] = []
        self.faults: list[Fault] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._link_free = 0.0
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, proxy=self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut all connections, whatever they wait for, and free the port."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut()

    def take_fault(self, method: str, path: str) -> str | None:
        """Kind of the first fault that this request has, which is then used up once."""
        with self._lock:
            for fault in self.faults:
                if fault.times == 0 or fault.method not in (None, method) or not re.search(fault.path_regex, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault.kind
        return None

    @property
    def piece(self) -> int:
        """Bytes that are sent at once."""
        return max(1, min(_PIECE, int(self.rate / _PIECES_PER_SECOND))) if self.rate else _PIECE

    def transfer(self, nbytes: int) -> None:
        """Wait until the link has moved this many bytes."""
        if not self.rate:
            return
        with self._lock:
            self._link_free = max(time.monotonic() - _SLACK, self._link_free) + nbytes / self.rate
            wait = self._link_free - time.monotonic()
        if wait > 0.001:
            self.stopping.wait(wait)


class _Server(ThreadingHTTPServer):
    """Knows its open connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: socket.socket, client_address: object) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no news."""

    def cut(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):  # it has gone already
                connection.shutdown(socket.SHUT_RDWR)
        given_up = time.monotonic() + 5
        while self._open and time.monotonic() < given_up:
            time.sleep(0.005)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *args: object, proxy: Proxy) -> None:
        self.proxy = proxy
        self.is_new = True
        self.upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
        super().__init__(*args)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        proxy = self.proxy
        self.started = time.monotonic()
        body = self._request_body()
        proxy.transfer(len(body))
        proxy.stopping.wait(proxy.rtt * (2 if self.is_new else 1))
        self.is_new = False
        kind = proxy.take_fault(self.command, self.path)
        if kind in ERRORS:
            xml = f"<Error><Code>{ERRORS[kind]}</Code><Message>injected</Message></Error>"
            self._answer(int(kind), [("Content-Type", "application/xml")], iter([xml.encode()]), len(xml))
        elif kind == "hang":
            self._wait_for_the_end()
            self._note(0, 0)
            self._reset()
        elif kind == "reset":
            self._note(0, 0)
            self._reset()
        else:
            self._forward(body, kind)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _request_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(pieces)

    def _forward(self, body: bytes, kind: str | None) -> None:
        dropped = {"range", "accept-ranges"} if kind == "noranges" else set()
        try:
            answer = self._ask(body, dropped)
            headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP | dropped]
            length = answer.length
            pieces: Iterator[bytes] = iter(partial(answer.read, self.proxy.piece), b"")
            if length is None:  # it ends with the connection, or comes in chunks
                whole = answer.read()
                pieces, length = iter([whole] if whole else []), len(whole)
        except (OSError, http.client.HTTPException) as error:
            self.upstream.close()
            text = f"the server behind the proxy: {error!r}".encode()
            self._answer(502, [], iter([text]), len(text))
            return
        self._answer(answer.status, headers, pieces, length, kind)

    def _ask(self, body: bytes, dropped: set[str]) -> http.client.HTTPResponse:
        """The server's answer, its body not yet read. A connection that it closed since the last one is opened anew."""
        was_open = self.upstream.sock is not None
        try:
            self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP | dropped | {"content-length"}:
                    self.upstream.putheader(name, value)
            if body or "Content-Length" in self.headers:
                self.upstream.putheader("Content-Length", str(len(body)))
            self.upstream.endheaders(body or None)
            return self.upstream.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            self.upstream.close()
            if not was_open:
                raise
            return self._ask(body, dropped)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], pieces: Iterator[bytes], length: int, kind: str | None = None
    ) -> None:
        """Send an answer, the last piece of it after the log has it."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        has_body = self.command != "HEAD" and status not in (204, 304) and status >= 200
        if has_body:
            self.send_header("Content-Length", str(length))
        if not has_body or not length:
            for _ in pieces:  # so that the connection can be used again
                pass
            self._note(status, 0)
            self.end_headers()
            return
        self.end_headers()
        sent = 0
        for piece in _bent(pieces, length, kind):
            self.proxy.transfer(len(piece))
            sent += len(piece)
            if sent == length:
                self._note(status, sent)
            self.wfile.write(piece)
        if sent < length:  # as it was to be, or because the server behind failed
            if kind == "stall":
                self._wait_for_the_end()
            self.proxy.stopping.wait(0.02)  # what is on its way arrives first
            self._note(status, sent)
            self._reset()

    def _note(self, status: int, nbytes: int) -> None:
        asked = self.headers.get("Range")
        self.proxy.log.append(Request(self.command, self.path, asked, status, nbytes, self.started, time.monotonic()))

    def _wait_for_the_end(self) -> None:
        """Until the proxy closes or the client goes away."""
        while not self.proxy.stopping.wait(0.02):
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _reset(self) -> None:
        """End the connection by a RST."""
        self.close_connection = True
        self.upstream.close()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())


def _bent(pieces: Iterator[bytes], length: int, kind: str | None) -> Iterator[bytes]:
    """A body of this length as a fault leaves it."""
    start, middle = 0, length // 2
    for piece in pieces:
        at = middle - start
        start += len(piece)
        if at < 0 or at >= len(piece):
            yield piece
        elif kind in ("truncate", "stall"):
            yield piece[:at]
            return
        elif kind == "corrupt":
            yield piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
        else:
            yield piece
