"""Content read in pieces is that which was written, whatever the pieces, and damage shows at its end at the latest."""

import io
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.conversion.source import containers
from s2cmc.conversion.source.containers import (
    PIECE,
    Content,
    Member,
    ZipMember,
    folder_members,
    open_content,
    read_pieces,
    zip_members,
)
from s2cmc.errors import ReleaseError, SceneError
from s2cmc.files.npy import open_array

NOISE = np.random.default_rng(0).bytes(3 * PIECE + 7)
FILES = {"noise": NOISE, "zeros": bytes(5_000_000), "empty": b"", "both": NOISE + bytes(300_000) + NOISE[:PIECE]}


@pytest.fixture(params=["isal", "zlib"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Inflate with isal, or as where it is not installed."""
    module = zlib if request.param == "zlib" else pytest.importorskip("isal.isal_zlib")
    monkeypatch.setattr(containers, "_zlib", module)
    return module


@pytest.fixture
def no_zip_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2cmc.conversion.source.containers._SMALL", 0)


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", request.param) as file:
        for name, value in FILES.items():
            file.writestr(name, value)
    return path


def members(path: Path) -> dict[str, ZipMember]:
    return {member.name: member for member in zip_members(LocalFileSystem(), str(path))}


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=9)), st.lists(st.integers(0, 12), max_size=20))
def test_content_is_its_pieces_one_behind_the_other(pieces: list[bytes], asked: list[int]) -> None:
    whole, file = b"".join(pieces), Content(iter(pieces))
    found = b""
    for i, size in enumerate(asked):
        if i % 3 == 0:
            part = file.read(size)
        elif i % 3 == 1:
            buffer = bytearray(size)
            part = bytes(buffer[: file.readinto(buffer)])
        else:
            part = whole[len(found) : len(found) + file.skip(size)]
            assert len(part) == min(size, len(whole) - len(found))
        assert len(part) <= size
        assert part or not size or len(found) == len(whole)
        found += part
    assert found + file.read() == whole
    assert file.read(1) == b""


@pytest.mark.usefixtures("no_zip_is_small", "inflater")
@pytest.mark.parametrize("step", [1 << 10, 77_777, 1 << 24])
def test_a_member_read_in_pieces_is_what_was_packed(archive: Path, step: int) -> None:
    for name, member in members(archive).items():
        with member.open() as file:
            parts = list(iter(lambda file=file: file.read(step), b""))
        assert b"".join(parts) == FILES[name] == member.read()
        assert max(map(len, parts), default=0) <= step
        assert member.nbytes == len(FILES[name])


@pytest.mark.usefixtures("no_zip_is_small")
def test_of_a_local_zip_no_more_is_read_than_is_used(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = members(archive)["noise"]
    read: list[int] = []

    class Counted(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            read.append(size)
            return super().read(size)

    monkeypatch.setattr(LocalFileSystem, "open", lambda self, path, mode: Counted(path))
    with member.open() as file:
        assert file.read(100) == NOISE[:100]
    assert read == [PIECE]


@pytest.mark.usefixtures("no_zip_is_small")
def test_a_remote_member_is_one_request(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = MemoryFileSystem()
    filesystem.pipe_file("/remote/a.zip", archive.read_bytes())
    found = {member.name: member for member in zip_members(filesystem, "/remote/a.zip")}
    asked: list[tuple[int, int]] = []
    cat_file = MemoryFileSystem.cat_file

    def count(self: MemoryFileSystem, path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return cat_file(self, path, start=start, end=end)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", count)
    assert found["both"].read() == FILES["both"]
    assert len(asked) == 1


@pytest.mark.usefixtures("no_zip_is_small", "inflater")
def test_damage_in_the_middle_shows_at_the_end_at_the_latest(archive: Path) -> None:
    whole = bytearray(archive.read_bytes())
    member = members(archive)["both"]
    whole[member.info.header_offset + 2 * PIECE] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(ReleaseError, match=r"a\.zip!both is damaged"):
        member.open().skip()


@pytest.mark.usefixtures("inflater")
def test_a_member_that_inflates_to_more_than_it_says_is_left_at_once(archive: Path) -> None:
    member = members(archive)["zeros"]
    member.info.file_size = 1_000
    file = member.open()
    with pytest.raises(ReleaseError, match="does not have the size and CRC-32 of the directory"):
        file.read()
    assert file.read() == b""  # an error ends it


def find_odd_values(member: Member) -> None:
    with open_content(member) as file:
        file.read(10)
        raise SceneError("scene", "odd values")


def test_damage_is_told_before_what_it_makes_of_the_content(archive: Path) -> None:
    """Odd values are an error of the scene only where the file is whole."""
    member = members(archive)["noise"]
    with pytest.raises(SceneError, match="odd values"):
        find_odd_values(member)
    member.info.CRC ^= 1
    with pytest.raises(ReleaseError, match="is damaged"):
        find_odd_values(member)


def test_a_file_is_read_whole_or_in_part(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(NOISE)
    (member,) = folder_members(LocalFileSystem(), str(tmp_path))
    assert member.read() == NOISE
    assert member.nbytes == len(NOISE)
    part = read_pieces(LocalFileSystem(), member.path, "it", 5, 2 * PIECE)
    assert b"".join(part) == NOISE[5 : 2 * PIECE]
    with pytest.raises(ReleaseError, match=r"it: asked for 10 bytes, got 7; the file is cut short"):
        list(read_pieces(LocalFileSystem(), member.path, "it", 3 * PIECE, 3 * PIECE + 10))


@pytest.mark.usefixtures("inflater")
def test_an_array_of_a_member_is_read_in_blocks(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((101, 30, 13), np.float32)
    buffer = io.BytesIO()
    np.save(buffer, array)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", buffer.getvalue())
    with members(tmp_path / "a.zip")["a.npy"].open() as file:
        blocks = [block.copy() for block in open_array(file, "a.npy").blocks(8)]
    assert [len(block) for block in blocks] == [8] * 12 + [5]
    assert np.array_equal(np.concatenate(blocks), array)
