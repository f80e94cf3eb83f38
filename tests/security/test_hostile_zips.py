"""Zips that lie: nothing is unpacked, no member is taken for another, and each is read or refused by one error."""

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.source.containers import Member, folder_members, zip_members
from s2cmc.conversion.source.listing import open_release
from s2cmc.errors import ReleaseError
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


def members(path: Path) -> dict[str, Member]:
    return {member.name.removeprefix("masks/"): member for member in zip_members(LocalFileSystem(), str(path))}


def renamed(path: Path, rename: Callable[[str], str]) -> None:
    """Pack a zip anew, its members under other names."""
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(rename(name), value)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """3 scenes, to be spoilt."""
    return make_release(tmp_path / "deep" / "release", scenes=3, size=16)


@pytest.mark.parametrize(
    "above", ["../", "../../../", "/", "/etc/", "C:\\", "..\\", "masks/../../", "masks//", "./masks/"]
)
def test_a_member_with_a_path_of_its_own_is_misnamed_and_written_nowhere(
    release: Path, tmp_path: Path, above: str
) -> None:
    renamed(release / "masks.zip", lambda name: above + name.removeprefix("masks/"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(
        ReleaseError, match=r"(?s)missing: none of the 3 files of masks is of a scene.*warning: misnamed: .*masks"
    ):
        convert(str(release), str(tmp_path / "deep" / "store"))
    assert set(tmp_path.rglob("*")) == before


def test_a_name_is_shown_without_what_a_terminal_obeys(release: Path) -> None:
    renamed(release / "thumbnails.zip", lambda name: f"\x1b[2J\n{name}")
    warned = "\n".join(open_release(str(release)).warnings)
    assert r"thumbnails.zip!\x1b[2J\nthumbnails/S2" in warned
    assert "\x1b" not in warned


def test_of_many_strange_members_the_first_are_told(release: Path) -> None:
    with zipfile.ZipFile(release / "masks.zip", "a") as archive:
        for i in range(3_000):
            archive.writestr(f"masks/S2A_{i}.npy", b"")
    warned = open_release(str(release)).warnings
    assert sum("S2A_" in line for line in warned) == 20
    assert "misnamed or extra: 2980 more files of masks" in warned


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("masks/a.npy")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ReleaseError, match=r"masks\.zip!masks/a\.npy is a link; expected the file itself"):
        members(path)["a.npy"].read()


def two_members(path: Path) -> bytearray:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("masks/a.npy", b"first")
        archive.writestr("masks/b.npy", b"other")
    return bytearray(path.read_bytes())


def test_a_member_that_the_directory_calls_otherwise_is_damaged(tmp_path: Path) -> None:
    content = two_members(path := tmp_path / "masks.zip")
    at = content.rindex(b"masks/b.npy")
    content[at : at + 11] = b"masks/c.npy"
    path.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"masks/c\.npy is damaged: the directory gives another name than its local"):
        members(path)["c.npy"].read()
    assert members(path)["a.npy"].read() == b"first"


def test_two_members_of_the_same_bytes_are_refused(tmp_path: Path) -> None:
    content = two_members(path := tmp_path / "masks.zip")
    at = content.rindex(b"masks/b.npy")
    content[at - 4 : at] = struct.pack("<I", 0)  # where the local header begins
    path.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"members 'masks/a\.npy' and 'masks/b\.npy' begin at the same byte"):
        members(path)


def test_a_member_within_another_is_damaged(tmp_path: Path) -> None:
    """As in bombs that use the same bytes many times: the outer one ends where the inner one begins."""
    path = tmp_path / "masks.zip"
    inner = tmp_path / "inner.zip"
    two_members(inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("masks/a.npy", inner.read_bytes())
        archive.writestr("masks/b.npy", b"other")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"masks/b.npy")
    content[at - 4 : at] = struct.pack("<I", content.index(b"PK\x03\x04", 4))
    path.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"masks/a\.npy is damaged: its content does not have the size and CRC-32"):
        members(path)["a.npy"].read()


def test_a_directory_larger_than_any_release_has_is_not_read(tmp_path: Path) -> None:
    two_members(path := tmp_path / "masks.zip")
    whole = path.read_bytes()
    end = whole.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<2I", whole, end + 12)
    padded = whole[:end] + bytes(20_000_000)
    with path.open("wb") as file:
        file.write(padded + whole[end : end + 12] + struct.pack("<2I", size + 20_000_000, offset) + whole[end + 20 :])
    with pytest.raises(ReleaseError, match=r"masks\.zip is not a readable zip: its directory takes more than 16000000"):
        members(path)


def test_links_in_a_folder_lead_to_files(tmp_path: Path) -> None:
    (tmp_path / "aside.npy").write_bytes(b"it")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.npy").symlink_to(tmp_path / "aside.npy")
    (member,) = folder_members(LocalFileSystem(), f"{tmp_path}/masks")
    assert (member.read(), member.nbytes) == (b"it", 2)


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", ".", ".."])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, target: str) -> None:
    (tmp_path / "masks").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "masks" / "a.npy").symlink_to(target if target.startswith("/") else tmp_path / target)
    with pytest.raises(ReleaseError, match=r"masks/a\.npy is no file, but a pipe, a device, or a link"):
        folder_members(LocalFileSystem(), f"{tmp_path}/masks")


def test_a_table_that_is_a_pipe_is_not_waited_for(release: Path) -> None:
    (release / "classification_tags.csv").unlink()
    os.mkfifo(release / "classification_tags.csv")
    with pytest.raises(ReleaseError, match=r"holds no classification_tags\.csv"):
        open_release(str(release))
