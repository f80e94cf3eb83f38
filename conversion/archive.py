"""Folders and zips, local or remote, as containers of members that are read one by one.

A member of a zip is read by one range of bytes and inflated in memory: nothing is unpacked, and a remote zip is never
downloaded whole.
"""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from posixpath import basename
from typing import Protocol

from aiohttp import ClientError
from fsspec import AbstractFileSystem

from s2cmc.errors import ReleaseError

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1

UNREADABLE = (OSError, ClientError)
"""What file systems raise, local and remote."""


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
        except UNREADABLE as error:
            raise ReleaseError(f"{self.path} cannot be read: {error}") from error


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip; `end` is the first byte behind its data (start of the next member or of the directory)."""

    filesystem: AbstractFileSystem
    archive: str
    info: zipfile.ZipInfo
    end: int
    name: str

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
        try:
            data = bytes(self.filesystem.cat_file(self.archive, start=start, end=self.end))
        except UNREADABLE as error:
            raise ReleaseError(f"{self.path} cannot be read: {error}") from error
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
        with filesystem.open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            directory = archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, *UNREADABLE) as error:
        raise ReleaseError(f"{path} is not a readable zip: {error}") from error
    offsets = sorted({info.header_offset for info in infos} | {directory})
    following = dict(pairwise(offsets))
    top = basename(path).removesuffix(".zip") + "/"
    return [
        ZipMember(filesystem, path, info, following.get(info.header_offset, directory), info.filename.removeprefix(top))
        for info in infos
        if not info.is_dir()
    ]
