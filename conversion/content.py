"""Content of files and of members of zips, read once from front to back in pieces, and checked at its end."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from s2cmc.errors import ReleaseError
from s2cmc.filesystem import unreadable

if TYPE_CHECKING:
    from collections.abc import Buffer

Piece = bytes | memoryview

_zlib: ModuleType = zlib
with suppress(ImportError):  # it inflates twice as fast as zlib, and its CRC-32 is six times as fast
    from isal import isal_zlib

    _zlib = isal_zlib

PIECE = 65_536  # bytes; what they inflate to stays in the cache
_BLOCK = 1_000_000  # bytes
_REQUEST = 64_000_000  # bytes; a scene as published takes half of it deflated, and all of it as a file


def read_pieces(
    filesystem: AbstractFileSystem, path: str, name: str, start: int = 0, end: int | None = None
) -> Iterator[Piece]:
    """Bytes from `start` up to, not including, `end` of a file, by default all of it.

    A local file is read as it is asked for, a remote one by one request for each `_REQUEST` bytes.

    Parameters
    ----------
    filesystem : AbstractFileSystem
    path : str
    name : str
        What is read, for messages.
    start, end : int

    Raises
    ------
    ReleaseError
        If they cannot be read.
    """
    pieces = _local if isinstance(filesystem, LocalFileSystem) else _remote
    found = 0
    try:
        for piece in pieces(filesystem, path, start, end):
            found += len(piece)
            if end is None or found <= end - start:
                yield piece
    except unreadable() as error:
        raise ReleaseError(f"{name} cannot be read: {error}") from error
    if end is not None and found != end - start:
        raise ReleaseError(
            f"{name}: asked for {end - start} bytes, got {found}; the file is cut short, or its "
            "server does not honour range requests"
        )


def _local(filesystem: AbstractFileSystem, path: str, start: int, end: int | None) -> Iterator[Piece]:
    with filesystem.open(path, "rb") as file:
        file.seek(start)
        while piece := file.read(PIECE if end is None else min(PIECE, end - start)):
            start += len(piece)
            yield piece


def _remote(filesystem: AbstractFileSystem, path: str, start: int, end: int | None) -> Iterator[Piece]:
    end = filesystem.size(path) if end is None else end
    if end is None:
        raise OSError("its server does not say how large it is")
    for first in range(start, end, _REQUEST):
        yield filesystem.cat_file(path, start=first, end=min(first + _REQUEST, end))


class Content(io.RawIOBase):
    """A file that is read once, from front to back.

    Parameters
    ----------
    pieces : iterator of bytes-like
    """

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._over = False

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, or all; none at the end."""
        return self.readall() if size is None or size < 0 else bytes(self._take(size))

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill a buffer, or only its beginning; returns how many bytes, none at the end."""
        view = memoryview(buffer).cast("B")
        found = self._take(len(view))
        view[: len(found)] = found
        return len(found)

    def readall(self) -> bytes:
        """All that follows."""
        whole = io.BytesIO()
        while found := self._take(_BLOCK):
            whole.write(found)
        return whole.getvalue()

    def read_within(self, limit: int, path: str) -> bytes:
        """All that follows.

        Raises
        ------
        ReleaseError
            If it is more than `limit` bytes.
        """
        whole = io.BytesIO()
        while found := self._take(min(_BLOCK, limit + 1 - whole.tell())):
            whole.write(found)
        if whole.tell() > limit:
            raise ReleaseError(f"{path} has more than {limit} bytes, which is more than is taken")
        return whole.getvalue()

    def skip(self, nbytes: int | None = None) -> int:
        """Read over so many bytes, by default all that follow; returns how many there were."""
        skipped = 0
        while found := self._take(_BLOCK if nbytes is None else min(_BLOCK, nbytes - skipped)):
            skipped += len(found)
        return skipped

    def _take(self, nbytes: int) -> Piece:
        if self._over or not nbytes:
            return b""
        self._over = True  # also where an error ends it
        found = self._next(nbytes)
        self._over = not found
        return found

    def _next(self, nbytes: int) -> Piece:
        piece = self._rest or memoryview(next(self._pieces, b""))
        self._rest = piece[nbytes:]
        return piece[:nbytes]


class ZipContent(Content):
    """The content of a member of a zip; whoever reads to its end knows that size and CRC-32 hold.

    Parameters
    ----------
    pieces : iterator of bytes-like
        What stands in the zip behind the local header, in small pieces.
    info : ZipInfo
        Of a member that is stored or deflated.
    path : str
        For messages.

    Raises
    ------
    ReleaseError
        Of each method that reads: if it cannot be inflated, or is not what the directory says.
    """

    def __init__(self, pieces: Iterator[Piece], info: zipfile.ZipInfo, path: str) -> None:
        super().__init__(pieces)
        self._info = info
        self._path = path
        self._inflater = _zlib.decompressobj(-zlib.MAX_WBITS)
        self._tail = b""
        self._found = 0
        self._crc = 0

    def _next(self, nbytes: int) -> Piece:
        # One byte more than the directory says is enough to see that a member lies about its size.
        limit = min(nbytes, self._info.file_size - self._found + 1)
        try:
            found = self._inflate(limit) if self._info.compress_type == zipfile.ZIP_DEFLATED else super()._next(limit)
        except _zlib.error as error:
            raise ReleaseError(f"{self._path} is damaged: {error}") from error
        self._found += len(found)
        self._crc = _zlib.crc32(found, self._crc)
        ended = not found and (self._found, self._crc) != (self._info.file_size, self._info.CRC)
        if ended or self._found > self._info.file_size:
            raise ReleaseError(
                f"{self._path} is damaged: its content does not have the size and CRC-32 of the directory"
            )
        return found

    def _inflate(self, limit: int) -> bytes:
        while not self._inflater.eof:
            piece = self._tail or next(self._pieces, b"")
            found = self._inflater.decompress(piece, limit)
            self._tail = self._inflater.unconsumed_tail
            if found or not piece:
                return found
        return b""
