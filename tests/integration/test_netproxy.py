"""The proxy itself: what passes through it is unchanged, what it delays or breaks is what was asked for."""

import http.client
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import http_proxy
from helpers.http_proxy import Fault, Proxy
from helpers.request_log import Request, depth

pytestmark = pytest.mark.slow

CONTENT = np.random.default_rng(0).integers(0, 256, 100_001, np.uint8).tobytes()
MIDDLE = len(CONTENT) // 2


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


@pytest.fixture
def proxy(folder, serve):
    with Proxy(serve(folder).url) as proxy:
        yield proxy


class Client:
    """One connection that is kept."""

    def __init__(self, url: str, timeout: float = 5) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)

    def ask(self, path="/a", method="GET", body=None, **headers) -> tuple[int, dict[str, str], bytes]:
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *raised) -> None:
        self.connection.close()


def ask_once(url: str, path: str = "/a") -> bytes:
    with Client(url) as client:
        return client.ask(path)[2]


@pytest.fixture
def client(proxy):
    with Client(proxy.url) as client:
        yield client


def test_answers_pass_unchanged_over_one_connection_and_the_log_has_them(proxy, client):
    before = time.monotonic()
    assert client.ask()[::2] == (200, CONTENT)
    status, headers, part = client.ask(Range="bytes=10-19")
    assert (status, headers["Content-Range"], part) == (206, "bytes 10-19/100001", CONTENT[10:20])
    status, headers, nothing = client.ask(method="HEAD")
    assert (status, headers["Content-Length"], nothing) == (200, "100001", b"")
    assert client.ask("/empty")[::2] == (200, b"")
    assert client.ask("/none?x=1")[0] == 404
    assert client.connection.sock is not None
    assert [r[:5] for r in proxy.log[:4]] == [
        ("GET", "/a", None, 200, 100001),
        ("GET", "/a", "bytes=10-19", 206, 10),
        ("HEAD", "/a", None, 200, 0),
        ("GET", "/empty", None, 200, 0),
    ]
    assert proxy.log[4].path == "/none?x=1"
    times = [moment for r in proxy.log for moment in (r.started, r.ended)]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.monotonic()


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers what came: method, Host, a signed header; the body. Without a body where there must be none."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path in ("/204", "/304"):
            self.send_response(int(self.path[1:]))
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Came", f"{self.command} {self.headers['Host']} {self.headers['Authorization']}")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) if body else b"")
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = do_PUT  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def echo():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with Proxy(f"http://127.0.0.1:{server.server_port}") as proxy, Client(proxy.url) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", CONTENT), ("POST", b"x"), ("DELETE", None), ("PUT", [b"in ", b"chunks"])]
)
def test_uploads_arrive_whole_and_with_the_headers_they_were_signed_with(method, body, echo):
    status, headers, came = echo.ask("/", method, body, Host="bucket.example:81", Authorization="v4")
    assert (status, headers["X-Came"]) == (200, f"{method} bucket.example:81 v4")
    assert came == (b"".join(body) if isinstance(body, list) else body or b"")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_leave_the_connection_usable(status, echo):
    for _ in range(2):
        assert echo.ask(f"/{status}")[::2] == (status, b"")
    assert echo.ask("/", "PUT", b"y")[2] == b"y"


def test_large_bodies_pass_side_by_side(folder, serve):
    content = np.random.default_rng(1).bytes(20_000_000)
    (folder / "large").write_bytes(content)
    with Proxy(serve(folder).url) as proxy, ThreadPoolExecutor(4) as pool:
        assert all(got == content for got in pool.map(lambda _: ask_once(proxy.url, "/large"), range(4)))


def test_each_request_takes_a_round_trip_and_a_connection_one_more(folder, serve):
    with Proxy(serve(folder).url, rtt=0.05) as proxy, Client(proxy.url) as client:
        took = []
        for _ in range(3):
            started = time.monotonic()
            client.ask("/empty")
            took.append(time.monotonic() - started)
    late = np.subtract(took, [0.1, 0.05, 0.05])
    assert (late >= 0).all()
    assert np.median(late) < 0.03
    assert [r.ended - r.started >= 0.05 for r in proxy.log] == [True] * 3


def test_connections_share_the_rate_of_the_link(folder, serve):
    with Proxy(serve(folder).url, rate=1e6) as proxy, ThreadPoolExecutor(3) as pool:
        started = time.monotonic()
        list(pool.map(lambda _: ask_once(proxy.url), range(3)))
        assert 0.27 < time.monotonic() - started < 0.6


def test_depth_counts_requests_one_after_the_other(folder, serve):
    with Proxy(serve(folder).url, rtt=0.05) as proxy, ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            list(pool.map(lambda _: ask_once(proxy.url, "/empty"), range(8)))
        assert len(proxy.log) == 24
        assert depth(proxy.log) == 3
    assert depth([]) == 0


def test_depth_finds_the_longest_chain():
    spans = [(0, 9), (0, 1), (2, 3), (2, 8), (4, 5), (9.5, 10)]
    assert depth(Request("GET", "/", None, 200, 0, *span) for span in spans) == 4


@pytest.mark.parametrize(("kind", "code"), http_proxy.ERRORS.items())
def test_errors_are_those_of_s3(kind, code, proxy, client):
    proxy.faults = [Fault(kind, times=1)]
    status, _, body = client.ask()
    assert status == int(kind)
    assert f"<Code>{code}</Code>".encode() in body
    assert client.ask(method="HEAD")[::2] == (200, b"")
    assert [r.status for r in proxy.log] == [int(kind), 200]


def test_a_reset_comes_before_the_answer(proxy, client):
    proxy.faults = [Fault("reset")]
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        client.ask()
    assert proxy.log[0][3:5] == (0, 0)


def test_a_truncated_answer_ends_half_way_in_a_reset(proxy, client):
    proxy.faults = [Fault("truncate")]
    client.connection.request("GET", "/a")
    answer = client.connection.getresponse()
    assert answer.length == len(CONTENT)
    assert answer.read(MIDDLE) == CONTENT[:MIDDLE]
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        answer.read(1)
    assert proxy.log[0][3:5] == (200, MIDDLE)


def test_a_stalled_answer_is_silent_half_way(proxy):
    proxy.faults = [Fault("stall")]
    with Client(proxy.url, timeout=0.3) as client:
        client.connection.request("GET", "/a")
        answer = client.connection.getresponse()
        assert answer.read(MIDDLE) == CONTENT[:MIDDLE]
        with pytest.raises(TimeoutError, match="timed out"):
            answer.read(1)


def test_a_hanging_request_ends_when_the_proxy_closes_or_the_client_goes(proxy):
    proxy.faults = [Fault("hang")]
    with Client(proxy.url, timeout=0.2) as client, pytest.raises(TimeoutError, match="timed out"):
        client.ask()
    with Client(proxy.url) as client:
        client.connection.request("GET", "/a")
        time.sleep(0.1)
        assert len(proxy.log) == 1
        started = time.monotonic()
        proxy.close()
        assert time.monotonic() - started < 0.5
        with pytest.raises(ConnectionError, match=r"closed connection|reset by peer"):
            client.connection.getresponse()


def test_one_byte_in_the_middle_is_corrupt(proxy, client):
    proxy.faults = [Fault("corrupt")]
    for headers, expected in (({}, CONTENT), ({"Range": "bytes=7-7"}, CONTENT[7:8])):
        _, _, got = client.ask(**headers)
        assert len(got) == len(expected)
        differing = [i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b]
        assert differing == [len(expected) // 2]


def test_without_ranges_the_whole_object_is_the_answer(proxy, client):
    proxy.faults = [Fault("noranges")]
    status, headers, got = client.ask(Range="bytes=10-19")
    assert (status, got) == (200, CONTENT)
    assert "Accept-Ranges" not in headers
    assert proxy.log[0].range == "bytes=10-19"


def test_a_fault_hits_the_requests_it_names_as_often_as_it_says(proxy, client):
    proxy.faults = [Fault("503", r"/a$", method="GET", times=2), Fault("404", r"\?late")]
    got = [client.ask(path, method)[0] for path, method in [("/a", "HEAD"), ("/empty", "GET"), *[("/a", "GET")] * 3]]
    assert got == [200, 200, 503, 503, 200]
    assert [client.ask("/a?late")[0] for _ in range(3)] == [404] * 3
    proxy.faults = [Fault("403", skip=1, times=1)]
    assert [client.ask("/empty")[0] for _ in range(3)] == [200, 403, 200]
    with pytest.raises(ValueError, match="kind is 'flood'; expected one of 404"):
        Fault("flood")
