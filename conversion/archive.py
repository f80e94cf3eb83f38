"""Folders and zips, local or remote, as containers of members that are read one by one.

A member of a zip is a range of bytes, inflated as it is read: nothing is unpacked, and of a large remote zip nothing is
read twice or for nothing. A small zip (masks, outlines) is fetched in one request.
"""

import io
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

from .content import PIECE, Content, Piece, ZipContent, read_pieces

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1

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

    def read(self) -> bytes:
        """Its whole content.

        Raises
        ------
        ReleaseError
            If it cannot be read or is damaged.
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
        return Content(read_pieces(self.filesystem, self.path, self.path))

    def read(self) -> bytes:
        """Its whole content."""
        with self.open() as content:
            return content.readall()


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
        return f"{self.archive}!{self.info.filename}"

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
        start = self.info.header_offset
        if not 0 <= start < self.end:
            raise ReleaseError(f"{self.path} is damaged: the directory says that it begins at byte {start}")
        return ZipContent(self._body(), self.info, self.path)

    def read(self) -> bytes:
        """Its whole content, its size and CRC-32 checked."""
        with self.open() as content:
            return content.readall()

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
        if self.info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ReleaseError(
                f"{self.path} is compressed by method {self.info.compress_type}; expected stored (0) or deflate (8)"
            )
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        stored.skip(name_length + extra_length)
        left = self.info.compress_size
        while piece := stored.read(min(PIECE, left)):
            left -= len(piece)
            yield piece


@contextmanager
def opened(member: Member) -> Iterator[Content]:
    """The content of a member; where it is not as expected and damaged too, that is the error."""
    with member.open() as content:
        try:
            yield content
        except CatalogueError:
            content.skip()
            raise


def folder_members(filesystem: AbstractFileSystem, root: str) -> list[FileMember]:
    """Every file below a folder."""
    root = root.rstrip("/")
    found = filesystem.find(root, detail=True)
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
        whole = bytes(filesystem.cat_file(path)) if filesystem.size(path) < _SMALL else None
        opened = filesystem.open(path, "rb") if whole is None else io.BytesIO(whole)
        with opened as file, zipfile.ZipFile(file) as archive:
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
