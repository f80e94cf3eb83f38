"""Folders and zips, local or remote, as containers of members that are read one by one.

A member of a zip is read by one range of bytes and inflated in memory: nothing is unpacked, and of a large remote zip
nothing is read twice or for nothing. A small zip (masks, outlines) is fetched in one request.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from posixpath import basename
from typing import Protocol

from fsspec import AbstractFileSystem

from s2cmc.errors import ReleaseError
from s2cmc.filesystem import unreadable

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

    def read(self) -> bytes:
        """Its whole content."""
        try:
            return bytes(self.filesystem.cat_file(self.path))
        except unreadable() as error:
            raise ReleaseError(f"{self.path} cannot be read: {error}") from error


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

    def read(self) -> bytes:
        """Its whole content, its size and CRC-32 checked."""
        start = self.info.header_offset
        if not 0 <= start < self.end:
            raise ReleaseError(f"{self.path} is damaged: the directory says that it begins at byte {start}")
        data = self._bytes(start, self.end)
        if len(data) != self.end - start:
            raise ReleaseError(
                f"{self.path}: asked for {self.end - start} bytes, got {len(data)}; the file is cut short, or its "
                "server does not honour range requests"
            )
        content = self._inflate(memoryview(data))
        if len(content) != self.info.file_size or zlib.crc32(content) != self.info.CRC:
            raise ReleaseError(
                f"{self.path} is damaged: its content does not have the size and CRC-32 of the directory"
            )
        return content

    def _bytes(self, start: int, end: int) -> bytes:
        if self.whole is not None:
            return self.whole[start:end]
        try:
            return bytes(self.filesystem.cat_file(self.archive, start=start, end=end))
        except unreadable() as error:
            raise ReleaseError(f"{self.path} cannot be read: {error}") from error

    def _inflate(self, data: memoryview) -> bytes:
        if len(data) < _LOCAL_HEADER.size or bytes(data[:4]) != b"PK\x03\x04":
            raise ReleaseError(f"{self.path} is damaged: no local header where the directory says")
        if self.info.flag_bits & _ENCRYPTED:
            raise ReleaseError(f"{self.path} is encrypted; releases are read without a password")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
        begin = _LOCAL_HEADER.size + name_length + extra_length
        body = data[begin : begin + self.info.compress_size]
        if self.info.compress_type == zipfile.ZIP_STORED:
            return bytes(body)
        if self.info.compress_type != zipfile.ZIP_DEFLATED:
            raise ReleaseError(
                f"{self.path} is compressed by method {self.info.compress_type}; expected stored (0) or deflate (8)"
            )
        try:
            # One byte more than the directory says is enough to see that a member lies about its size.
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, self.info.file_size + 1)
        except zlib.error as error:
            raise ReleaseError(f"{self.path} is damaged: {error}") from error


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
