"""What comes back over a bad network is what the server has, or an error that says why not."""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s2cmc.conversion.records.client import Client, NoRangesError
from s2cmc.errors import MissingReleaseError, ReleaseError

CONTENT = bytes(range(256)) * 4096  # 1 MB
LIMITLESS = ("--limit", 1_000_000)


@pytest.fixture
def folder(tmp_path):
    """Files of a record: of no byte, of few, of some."""
    (tmp_path / "files").mkdir()
    for name, content in (("content.bin", CONTENT), ("small.txt", b"small"), ("empty.txt", b"")):
        (tmp_path / "files" / name).write_bytes(content)
    return tmp_path / "files"


def file_url(server, name="content.bin"):
    return f"{server.url}/files/{name}?download=1"


def read(client, url, *part):
    return b"".join(client.stream(url, *part))


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Start a web server that answers by a function: ``answering(answer)`` gives its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def part_of(request: BaseHTTPRequestHandler) -> tuple[int, int]:
    """Of `CONTENT`, what a request asks for: its first byte, and one more than its last."""
    first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1 if last else len(CONTENT)


def partial(first: int, stop: int, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer of a server that honours ranges."""
    return 206, {"Content-Range": f"bytes {first}-{stop - 1}/{len(CONTENT)}", **headers}, CONTENT[first:stop]


@pytest.mark.parametrize("part", [(), (0,), (0, 10), (1000, 1001), (1_000_000,), (5, 1_048_576)])
def test_a_part_takes_one_request_though_ranges_are_not_announced(part, folder, serve_record):
    server = serve_record(folder, *LIMITLESS)
    client = Client(server.host)
    assert read(client, file_url(server), *part) == CONTENT[slice(*part) if len(part) == 2 else slice(*part, None)]
    assert client.honours_ranges(file_url(server))
    assert server.counted()["requests"] == 1
    assert server.counted()["heads"] == 0


def test_pieces_are_of_middle_size(folder, serve_record):
    server = serve_record(folder, *LIMITLESS)
    pieces = list(Client(server.host).stream(file_url(server)))
    assert all(len(piece) <= 1 << 18 for piece in pieces)
    assert len(pieces) <= 8


def test_without_ranges_the_whole_is_read_and_a_part_is_an_error(folder, serve_record):
    server = serve_record(folder, *LIMITLESS, "--no-ranges")
    client, url = Client(server.host), file_url(server)
    for part in ((10,), (0, 10), (10, 20)):
        with pytest.raises(NoRangesError, match=r"content\.bin cannot be read in parts"):
            read(client, url, *part)
    assert read(client, url) == CONTENT
    assert read(client, url, 0, len(CONTENT)) == CONTENT
    assert not client.honours_ranges(url)


@pytest.mark.parametrize("name", ["content.bin", "empty.txt"])
def test_whether_ranges_are_honoured_is_tried_with_one_byte(name, folder, serve_record):
    server = serve_record(folder, *LIMITLESS)
    client = Client(server.host)
    assert client.honours_ranges(file_url(server, name)) is (name == "content.bin")
    assert server.counted()["bytes"] <= 1


@pytest.mark.parametrize("ranges", [(), ("--no-ranges",)], ids=["ranges", "no ranges"])
def test_a_response_that_is_cut_goes_on_where_it_ended(ranges, folder, serve_record):
    server = serve_record(folder, *LIMITLESS, "--cut", 100_000, *ranges)
    client = Client(server.host)
    for _ in range(6):
        assert read(client, file_url(server)) == CONTENT
    counted = server.counted()
    assert counted["cut"] > 0
    if not ranges:
        assert counted["bytes"] == 6 * len(CONTENT)


@pytest.mark.slow
def test_failures_and_stalls_are_tried_again(folder, serve_record):
    server = serve_record(folder, *LIMITLESS, "--window", 1, "--fail", 0.3, "--stall", 0.3)
    client = Client(server.host, read_timeout=0.5)
    parts = [(first, first + 50_000) for first in range(0, 1_000_000, 50_000)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: read(client, file_url(server), *part), parts))
    assert found == [CONTENT[slice(*part)] for part in parts]
    assert server.counted()["failed"] > 0


@pytest.mark.slow
def test_requests_keep_within_the_limit_of_the_server(folder, serve_record, caplog):
    caplog.set_level(logging.INFO)
    server = serve_record(folder, "--limit", 12, "--window", 3)
    client = Client(server.host)
    parts = [(first, first + 1000) for first in range(0, 40_000, 1000)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda part: read(client, file_url(server), *part), parts))
    assert found == [CONTENT[slice(*part)] for part in parts]
    counted = server.counted()
    assert (counted["requests"], counted["refused"]) == (40, 0)
    assert counted["most_in_window"] <= 12
    assert "allows 12 requests at a time, and all are used" in caplog.text


@pytest.mark.slow
def test_a_window_that_others_have_used_up_is_waited_for(folder, serve_record, caplog):
    caplog.set_level(logging.INFO)
    server = serve_record(folder, "--limit", 4, "--window", 2)
    other = Client(server.host)
    for _ in range(4):
        read(other, file_url(server, "small.txt"))
    assert read(Client(server.host, give_up=0.5), file_url(server, "small.txt")) == b"small"
    assert server.counted()["refused"] == 1
    assert "answered 429 and asked for it" in caplog.text


def test_a_wait_that_the_server_asks_for_is_not_counted_as_silence(answering, caplog):
    caplog.set_level(logging.INFO)
    answers = iter([(503, {"Retry-After": "2"}, b"busy"), partial(0, 10)])
    assert read(Client("", give_up=0.5), answering(lambda _: next(answers)), 0, 10) == CONTENT[:10]
    assert "waiting 2 s: 127.0.0.1" in caplog.text


def test_nothing_for_some_time_is_an_error(answering):
    url = answering(lambda _: (502, {}, b"<html>try <b>again</b></html>"))
    with pytest.raises(ReleaseError, match=r"the server answered 502 \(try again\); nothing has arrived for 1 s"):
        read(Client("", give_up=1), url)


def test_a_server_that_does_not_answer_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/content.bin"
        with pytest.raises(ReleaseError, match=r"Read timed out.*; nothing has arrived for 0\.5 s"):
            read(Client(url, give_up=0.5, read_timeout=0.2), url)
    with pytest.raises(ReleaseError, match=r"Connection refused.*; nothing has arrived for 0\.5 s"):
        read(Client(url, give_up=0.5, read_timeout=0.2), url)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ETag": '"2"'}, 'its ETag was "1", and is "2"'),
        ({"Content-Range": "bytes 10-19/77"}, "its size was 1048576, and is 77"),
    ],
)
def test_a_file_that_changes_under_way_is_an_error(change, message, answering):
    answers = iter([partial(0, 10, ETag='"1"'), partial(10, 20, **{"ETag": '"1"', **change})])
    client, url = Client(""), answering(lambda _: next(answers))
    assert read(client, url, 0, 10) == CONTENT[:10]
    with pytest.raises(ReleaseError, match=f"has changed under way: {message}"):
        read(client, url, 10, 20)


def test_a_file_that_changes_within_a_response_that_is_cut_is_an_error(folder, serve_record):
    server = serve_record(folder, *LIMITLESS)
    client, url = Client(server.host), file_url(server)
    assert read(client, url, 0, 10) == CONTENT[:10]
    server.change("content.bin")
    with pytest.raises(ReleaseError, match="has changed under way: its ETag was"):
        read(client, url, 10)


def test_a_server_may_send_less_than_was_asked_for(answering):
    def answer(request):
        first, stop = part_of(request)
        return partial(first, min(stop, first + 300_000))

    assert read(Client(""), answering(answer)) == CONTENT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (partial(5, 10), r"asked for bytes 0 to 9, the server sent 'bytes 5-9/1048576'"),
        (partial(0, 50), r"asked for bytes 0 to 9, the server sent 'bytes 0-49/1048576'"),
        ((206, {}, b"0123456789"), r"asked for bytes 0 to 9, the server sent ''"),
        ((206, partial(0, 10)[1], CONTENT[:50]), "the server sent more than the 10 bytes asked for"),
        ((206, partial(0, 10)[1] | {"Content-Encoding": "gzip"}, b"0123456789"), "the server compresses it"),
        ((416, {"Content-Range": "bytes */5"}, b""), "it ends before byte 0"),
        ((404, {}, b"not here"), r"is missing: the server answered 404 \(not here\)"),
        ((418, {}, b""), r"cannot be read: the server answered 418$"),
        ((302, {"Location": "/"}, b""), "redirects more than 5 times"),
    ],
)
def test_other_answers_are_errors_at_once(answer, message, answering):
    with pytest.raises(ReleaseError, match=message):
        read(Client("", give_up=600), answering(lambda _: answer), 0, 10)


def test_what_is_missing_is_a_file_that_is_not_found(answering):
    with pytest.raises(MissingReleaseError, match="check the address of the record"):
        read(Client(""), answering(lambda _: (404, {}, b"")))


def test_a_listing_that_is_not_json_is_an_error(answering):
    with pytest.raises(ReleaseError, match="is not JSON, and no listing of a record"):
        Client("").json(answering(lambda _: (200, {}, b"<html>")))


def test_the_client_names_itself_and_asks_for_files_as_they_are(answering):
    asked = []

    def answer(request):
        asked.append(dict(request.headers))
        return 200, {}, json.dumps({}).encode()

    Client("").json(answering(answer))
    assert asked[0]["User-Agent"].startswith("s2cmc/")
    assert "(+https://" in asked[0]["User-Agent"]
    assert asked[0]["Accept-Encoding"] == "identity"


def test_a_token_goes_to_its_host_and_not_where_that_redirects_to(answering):
    asked = []

    def answer(request):
        asked.append(request.headers.get("Authorization"))
        return partial(0, 10)

    other = answering(answer)

    def redirect(request):
        asked.append(request.headers.get("Authorization"))
        return 302, {"Location": f"{other}/content.bin"}, b""

    host = answering(redirect)
    assert read(Client(host, token="planted-bearer-token"), f"{host}/content.bin", 0, 10) == CONTENT[:10]  # noqa: S106
    assert asked == ["Bearer planted-bearer-token", None]


def test_a_refusal_says_what_the_server_said_and_not_the_token(answering):
    host = answering(lambda request: (403, {}, f"no access with {request.headers.get('Authorization')}".encode()))
    with pytest.raises(ReleaseError, match=r"the server answered 403 \(no access with None\).*it needs ZENODO_TOKEN"):
        read(Client(host), host)
    with pytest.raises(ReleaseError, match=r"\(no access with Bearer \*\*\*\).*the token in ZENODO_TOKEN may not"):
        read(Client(host, token="planted-bearer-token"), host)  # noqa: S106


def test_a_read_can_be_stopped(answering):
    client = Client("", give_up=600)
    url = answering(lambda _: (502, {}, b""))
    threading.Timer(0.3, client.stop).start()
    with pytest.raises(ReleaseError, match="was stopped"):
        read(client, url)


def test_a_proxy_of_the_environment_is_used(answering, monkeypatch):
    for name in [name for name in os.environ if name.lower() in ("no_proxy", "http_proxy")]:
        monkeypatch.delenv(name)
    asked = []

    def answer(request):
        asked.append(request.path)
        return partial(0, 10)

    monkeypatch.setenv("http_proxy", answering(answer))
    assert read(Client("http://example.org"), "http://example.org/content.bin", 0, 10) == CONTENT[:10]
    assert asked == ["http://example.org/content.bin"]
