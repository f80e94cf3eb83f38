"""Folders and zips, local or remote, as containers of members that are read one by one.

A member of a zip is a range of bytes, inflated as it is read: nothing is unpacked, and of a large remote zip nothing is
read twice or for nothing. A small zip (masks, outlines) is fetched in one request.
"""

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from posixpath import basename
from typing import Protocol

from fsspec import AbstractFileSystem

from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.filesystem import unreadable
from s2cmc.limits import FILE_BYTES
from s2cmc.zipfiles import METHODS, open_zip

from .content import PIECE, Content, Piece, ZipContent, read_pieces

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags of a member

_SMALL = 32_000_000  # bytes; a zip below is fetched in one request, however many members are read


class Member(Protocol):
    """A file in a container."""

    @property
    def path(self) -> str:
        """Where it is, for messages."""

    @property
    def name(self) -> str:
        """Path inside its container, without the container's own top folder."""

    @property
    def identity(self) -> str:
        """What changes when its content does: size, and CRC-32 or time of change where known."""

    @property
    def nbytes(self) -> int:
        """Size of its content, as far as its container says; 0 where that is unknown."""

    def open(self) -> Content:
        """Its content, to be read in pieces; an error is raised where it cannot be read or is found to be damaged."""

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Its whole content.

        Raises
        ------
        ReleaseError
            If it cannot be read, is damaged, or has more than `limit` bytes.
        """


@dataclass(frozen=True)
class FileMember:
    """A file of a folder."""

    filesystem: AbstractFileSystem
    path: str
    name: str
    identity: str
    nbytes: int

    def open(self) -> Content:
        """Its content."""
        _refuse_large(self)
        return Content(read_pieces(self.filesystem, self.path, self.path))

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Its whole content."""
        return _read_whole(self, limit)


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip.

    Attributes
    ----------
    filesystem : AbstractFileSystem
    archive : str
        Path of the zip.
    info : ZipInfo
    end : int
        First byte behind its data: start of the next member, or of the directory.
    name : str
    whole : bytes, optional
        Content of the zip, if that is small.
    """

    filesystem: AbstractFileSystem
    archive: str
    info: zipfile.ZipInfo
    end: int
    name: str
    whole: bytes | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """Where it is, for messages."""
        name = self.info.filename
        return f"{self.archive}!{name if name.isprintable() else ascii(name)[1:-1]}"

    @property
    def identity(self) -> str:
        """Size and CRC-32 of its content."""
        return f"{self.info.file_size}:{self.info.CRC:08x}"

    @property
    def nbytes(self) -> int:
        """Size of its content, as the directory says."""
        return self.info.file_size

    def open(self) -> Content:
        """Its content, its size and CRC-32 checked at the end."""
        _refuse_large(self)
        start = self.info.header_offset
        if not 0 <= start < self.end:
            raise ReleaseError(f"{self.path} is damaged: the directory says that it begins at byte {start}")
        if stat.S_ISLNK(self.info.external_attr >> 16):  # the mode, as Unix packs it
            raise ReleaseError(f"{self.path} is a link; expected the file itself")
        return ZipContent(self._body(), self.info, self.path)

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Its whole content, its size and CRC-32 checked."""
        return _read_whole(self, limit)

    def _body(self) -> Iterator[bytes]:
        """What stands behind the local header, in small pieces."""
        start, end = self.info.header_offset, self.end
        if self.whole is not None:
            pieces: Iterator[Piece] = iter([self.whole[start:end]])
        else:
            pieces = read_pieces(self.filesystem, self.archive, self.path, start, end)
        stored = Content(pieces)
        header = stored.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise ReleaseError(f"{self.path} is damaged: no local header where the directory says")
        if self.info.flag_bits & _ENCRYPTED:
            raise ReleaseError(f"{self.path} is encrypted; releases are read without a password")
        if self.info.compress_type not in METHODS:
            raise ReleaseError(
                f"{self.path} is compressed by method {self.info.compress_type}; expected stored (0) or deflate (8)"
            )
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if stored.read(name_length) != self._packed_name():
            raise ReleaseError(f"{self.path} is damaged: the directory gives another name than its local header")
        stored.skip(extra_length)
        left = self.info.compress_size
        while piece := stored.read(min(PIECE, left)):
            left -= len(piece)
            yield piece

    def _packed_name(self) -> bytes:
        return self.info.orig_filename.encode("utf-8" if self.info.flag_bits & _UTF8 else "cp437")


def _read_whole(member: Member, limit: int) -> bytes:
    _refuse_large(member, limit)
    with member.open() as content:
        return content.read_within(limit, member.path)


def _refuse_large(member: Member, limit: int = FILE_BYTES) -> None:
    if member.nbytes > limit:
        raise ReleaseError(f"{member.path} has {member.nbytes} bytes, which is more than the {limit} that are taken")


@contextmanager
def opened(member: Member) -> Iterator[Content]:
    """The content of a member; where it is not as expected and damaged too, that is the error.

    What is larger than an array may be is not read to its end for that.
    """
    with member.open() as content:
        try:
            yield content
        except CatalogueError:
            content.skip(FILE_BYTES)
            raise


def folder_members(filesystem: AbstractFileSystem, root: str) -> list[FileMember]:
    """Every file below a folder.

    Raises
    ------
    ReleaseError
        If something else is there, from which nobody knows how much would be read, and when.
    """
    root = root.rstrip("/")
    found = filesystem.find(root, detail=True)
    for path, info in found.items():
        if info["type"] != "file" and filesystem.info(path)["type"] != "file":  # links are followed to files alone
            raise ReleaseError(f"{path} is no file, but a pipe, a device, or a link to something else")
    return [
        FileMember(
            filesystem,
            path,
            path.removeprefix(root).lstrip("/"),
            f"{info.get('size')}:{info.get('mtime') or info.get('ETag') or ''}",
            info.get("size") or 0,
        )
        for path, info in sorted(found.items())
    ]


def zip_members(filesystem: AbstractFileSystem, path: str) -> list[ZipMember]:
    """Every file of a zip, from its central directory alone.

    Raises
    ------
    ReleaseError
        If it is not a readable zip.
    """
    try:
        small = (filesystem.size(path) or _SMALL) < _SMALL
        whole = bytes(filesystem.cat_file(path)) if small else None
        opened = filesystem.open(path, "rb") if whole is None else io.BytesIO(whole)
        with opened as file, open_zip(file) as archive:
            infos = archive.infolist()
            directory = archive.start_dir
    except unreadable(zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ReleaseError(f"{path} is not a readable zip: {error}") from error
    offsets = sorted({info.header_offset for info in infos} | {directory})
    following = dict(pairwise(offsets))
    top = basename(path).removesuffix(".zip") + "/"
    return [
        ZipMember(
            filesystem,
            path,
            info,
            following.get(info.header_offset, directory),
            info.filename.removeprefix(top),
            whole,
        )
        for info in infos
        if not info.is_dir()
    ]
