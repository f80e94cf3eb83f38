"""Members of folders and zips: read one by one, by their range of bytes, and never believed without their checksum."""

import http.server
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2cmc.conversion.source.containers import Member, folder_members, zip_members
from s2cmc.errors import ReleaseError

NOISE = np.random.default_rng(0).bytes(5_000)
FILES = {"a.npy": b"first " * 100, "b.npy": NOISE, "empty.npy": b""}
CENTRAL = b"PK\x01\x02"  # begins an entry of the directory of a zip
LOCAL = b"PK\x03\x04"  # begins a member


def make_zip(path: Path, *, method: int = zipfile.ZIP_DEFLATED, top: str = "masks/", seekable: bool = True) -> Path:
    """A zip of FILES as published: one top folder, named as the zip is."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

        def tell(self) -> int:
            if not seekable:
                raise io.UnsupportedOperation("tell")
            return super().tell()

    buffer = Stream()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        if top:
            archive.writestr(top, b"")
        for name, content in FILES.items():
            archive.writestr(top + name, content)
    path.write_bytes(buffer.getvalue())
    return path


def patch(path: Path, marker: bytes, offset: int, value: bytes) -> None:
    """Overwrite bytes in the header of the member b.npy."""
    content = bytearray(path.read_bytes())
    name = content.index(b"masks/b.npy") if marker == LOCAL else content.rindex(b"masks/b.npy")
    start = content.rindex(marker, 0, name) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def members(path: Path) -> dict[str, Member]:
    return {member.name.removeprefix("masks/"): member for member in zip_members(LocalFileSystem(), str(path))}


def contents(found: dict[str, Member]) -> dict[str, bytes]:
    return {name: member.read() for name, member in found.items()}


@pytest.fixture
def no_zip_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read even the small zips of these tests member by member."""
    monkeypatch.setattr("s2cmc.conversion.source.containers._SMALL", 0)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return make_zip(tmp_path / "masks.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("seekable", [True, False], ids=["sizes in front", "data descriptors"])
@pytest.mark.parametrize("top", ["masks/", ""], ids=["top folder", "no top folder"])
def test_every_member_of_a_zip_is_read(tmp_path: Path, method: int, seekable: bool, top: str) -> None:
    path = make_zip(tmp_path / "masks.zip", method=method, top=top, seekable=seekable)
    assert contents(members(path)) == FILES


def test_members_may_stand_in_any_order_with_gaps_and_extra_fields(tmp_path: Path) -> None:
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("masks/b.npy", "w", force_zip64=True) as member:
            member.write(NOISE)
        archive.writestr("masks/gone.npy", NOISE)
        archive.writestr("masks/a.npy", FILES["a.npy"])
        archive.writestr("masks/empty.npy", b"")
        archive.filelist = [info for info in archive.filelist if info.filename != "masks/gone.npy"][::-1]
    assert contents(members(path)) == FILES


def test_a_zip_behind_other_bytes_is_read(masks: Path) -> None:
    masks.write_bytes(b"#!/bin/sh\nexec unzip $0\n" + masks.read_bytes())
    assert contents(members(masks)) == FILES


def test_a_zip_with_a_comment_is_read(masks: Path) -> None:
    with zipfile.ZipFile(masks, "a") as archive:
        archive.comment = b"Sentinel-2 Cloud Mask Catalogue"
    assert contents(members(masks)) == FILES


def test_a_member_says_where_it_is_and_what_it_holds(masks: Path) -> None:
    member = members(masks)["a.npy"]
    assert member.path == f"{masks}!masks/a.npy"
    assert member.identity == f"600:{zipfile.ZipFile(masks).getinfo('masks/a.npy').CRC:08x}"


def test_files_of_a_folder_are_members(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "masks" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "masks" / "deep" / name).write_bytes(content)
    found = {member.name: member for member in folder_members(LocalFileSystem(), f"{tmp_path}/masks/")}
    assert contents(found) == {f"deep/{name}": content for name, content in FILES.items()}
    assert found["deep/a.npy"].path == f"{tmp_path}/masks/deep/a.npy"


def test_a_file_that_went_away_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"1")
    (member,) = folder_members(LocalFileSystem(), str(tmp_path))
    (tmp_path / "a.npy").unlink()
    with pytest.raises(ReleaseError, match=r"a\.npy cannot be read: .*No such file"):
        member.read()


@pytest.mark.parametrize(
    ("marker", "offset", "value", "message"),
    [
        (CENTRAL, 16, b"\0\0\0\0", "is damaged: its content does not have the size and CRC-32 of the directory"),
        (CENTRAL, 24, b"\1\0\0\0", "is damaged: its content does not have the size"),  # claims 1 byte
        (CENTRAL, 24, b"\0\0\0\x0c", "is damaged: its content does not have the size"),  # claims 192 MiB
        (CENTRAL, 24, b"\xff\xff\xff\x7f", r"has 2147483647 bytes, which is more than the \d+ that are taken"),
        (CENTRAL, 20, b"\7\0\0\0", "is damaged"),  # 7 bytes deflated
        (CENTRAL, 8, b"\1\0", "is encrypted; releases are read without a password"),
        (LOCAL, 0, b"PK\x05\x06", "is damaged: no local header where the directory says"),
        (LOCAL, 26, b"\xff\xff", "is damaged"),  # a name of 65535 bytes
        (CENTRAL, 10, b"\x63\0", r"is compressed by method 99; expected stored \(0\) or deflate \(8\)"),
    ],
)
def test_a_damaged_member_is_an_error_and_the_others_are_read(
    masks: Path, marker: bytes, offset: int, value: bytes, message: str
) -> None:
    patch(masks, marker, offset, value)
    found = members(masks)
    with pytest.raises(ReleaseError, match=rf"masks\.zip!masks/b\.npy {message}"):
        found.pop("b.npy").read()
    assert contents(found) == {"a.npy": FILES["a.npy"], "empty.npy": b""}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_method_than_stored_and_deflate_is_an_error(tmp_path: Path, method: int) -> None:
    found = members(make_zip(tmp_path / "masks.zip", method=method))
    with pytest.raises(ReleaseError, match=rf"is compressed by method {method}; expected stored"):
        found["a.npy"].read()


@pytest.mark.parametrize("size", [0, 10, 3_000, -1])
def test_a_zip_cut_short_is_an_error(masks: Path, size: int) -> None:
    masks.write_bytes(masks.read_bytes()[:size])
    with pytest.raises(ReleaseError, match=r"masks\.zip is not a readable zip"):
        members(masks)


@pytest.mark.usefixtures("no_zip_is_small")
def test_a_zip_cut_short_after_its_listing_is_an_error(masks: Path) -> None:
    found = members(masks)
    masks.write_bytes(masks.read_bytes()[:3_000])
    with pytest.raises(ReleaseError, match=r"b\.npy: asked for \d+ bytes, got \d+; the file is cut short"):
        found["b.npy"].read()


def test_what_is_no_zip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "masks.zip").write_bytes(NOISE)
    with pytest.raises(ReleaseError, match=r"masks\.zip is not a readable zip: File is not a zip file"):
        members(tmp_path / "masks.zip")


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_byte_never_gives_other_content(masks: Path, data: st.DataObject) -> None:
    whole = make_zip(masks).read_bytes()
    start = whole.index(CENTRAL)
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(start, len(whole) - 1))
    masks.write_bytes(
        whole[:position] + bytes([whole[position] ^ data.draw(st.integers(1, 255))]) + whole[position + 1 :]
    )
    try:
        found = members(masks)
    except ReleaseError:
        return
    for member in found.values():
        try:
            assert member.read() in FILES.values()
        except ReleaseError:
            continue


SCENES = {f"scene{i:02d}.npy": np.random.default_rng(i).bytes(100_000) for i in range(40)}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a zip of 40 members of 100 kB that do not compress."""
    folder = tmp_path_factory.mktemp("remote")
    with zipfile.ZipFile(folder / "subscenes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SCENES.items():
            archive.writestr(f"subscenes/{name}", content)
    return folder


@pytest.mark.usefixtures("no_zip_is_small")
def test_a_remote_zip_is_read_by_ranges_only(large: Path, serve: Callable[[Path], object]) -> None:
    server = serve(large)
    filesystem = fsspec.filesystem("http", skip_instance_cache=True)

    found = zip_members(filesystem, f"{server.url}/subscenes.zip")
    assert found[17].name == "subscenes/scene17.npy"
    listing = sum(nbytes for *_, nbytes in server.log)
    assert listing < 10_000  # the directory of 4 MB

    member = found[17]
    assert member.read() == SCENES["scene17.npy"]
    assert 100_000 < sum(nbytes for *_, nbytes in server.log) - listing < 101_000


def test_a_small_remote_zip_is_fetched_in_one_request(large: Path, serve: Callable[[Path], object]) -> None:
    server = serve(large)
    found = zip_members(fsspec.filesystem("http", skip_instance_cache=True), f"{server.url}/subscenes.zip")
    assert {member.name.removeprefix("subscenes/"): member.read() for member in found} == SCENES
    assert [nbytes for method, _, nbytes in server.log if method == "GET"] == [(large / "subscenes.zip").stat().st_size]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Ignores ranges, as a plain web server may, and fails where it is told to; 0 is a connection that breaks."""

    status = 200

    def do_GET(self) -> None:
        if self.status == 200:
            super().do_GET()
        elif self.status:
            self.send_error(self.status)
        else:
            self.send_response(206)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def plain_server(large: Path) -> Iterator[Callable[[int], str]]:
    """Start a server over `large` that answers with a status; gives the URL of the zip."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(status: int = 200) -> str:
        handler = partial(type("Handler", (_Handler,), {"status": status}), directory=str(large))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/subscenes.zip"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("no_zip_is_small")
def test_a_server_without_ranges_is_an_error(plain_server: Callable[[], str]) -> None:
    with pytest.raises(ReleaseError, match=r"subscenes\.zip is not a readable zip: .*range"):
        zip_members(fsspec.filesystem("http", skip_instance_cache=True), plain_server())


def test_a_server_that_forgets_ranges_later_is_an_error(large: Path, plain_server: Callable[[], str]) -> None:
    (member, *_) = zip_members(LocalFileSystem(), f"{large}/subscenes.zip")
    remote = type(member)(
        fsspec.filesystem("http", skip_instance_cache=True), plain_server(), member.info, member.end, "a"
    )
    with pytest.raises(
        ReleaseError, match=r"asked for 100\d+ bytes, got 40\d+; .* server does not honour range requests"
    ):
        remote.read()


@pytest.mark.parametrize("status", [403, 404, 503, 0])
def test_a_server_that_refuses_or_breaks_off_is_an_error(
    large: Path, plain_server: Callable[[int], str], status: int
) -> None:
    url = plain_server(status)
    filesystem = fsspec.filesystem("http", skip_instance_cache=True)
    with pytest.raises(ReleaseError, match=r"subscenes\.zip is not a readable zip"):
        zip_members(filesystem, url)
    (member, *_) = zip_members(LocalFileSystem(), f"{large}/subscenes.zip")
    with pytest.raises(ReleaseError, match=r"subscenes\.zip!subscenes/scene00\.npy cannot be read"):
        type(member)(filesystem, url, member.info, member.end, "a").read()
