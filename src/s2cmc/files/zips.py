"""Untrusted zips, opened with a bound on their directory, and only where members do not share bytes."""

import io
import os
import sys
import zipfile
from typing import IO, TYPE_CHECKING, Any, cast

from s2cmc.files.limits import DIRECTORY_BYTES

if TYPE_CHECKING:
    from collections.abc import Buffer

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that are inflated; others take memory as they like."""


def open_zip(file: IO[bytes], limit: int = DIRECTORY_BYTES) -> zipfile.ZipFile:
    """Open a zip to read it.

    Parameters
    ----------
    file : file
        That can be read from anywhere.
    limit : int
        Bytes of its directory.

    Raises
    ------
    zipfile.BadZipFile
        If it is none, its directory is larger, or two members begin at the same byte.
    NotImplementedError, ValueError, OSError
        If zipfile does not understand it, or it cannot be read.
    """
    spared = _Sparing(file, limit)
    archive = zipfile.ZipFile(cast(IO[bytes], spared))
    spared.limit = sys.maxsize  # members are read in pieces
    first: dict[int, str] = {}
    for info in archive.infolist():
        other = first.setdefault(info.header_offset, info.filename)
        if other is not info.filename:
            raise zipfile.BadZipFile(f"members {other!r} and {info.filename!r} begin at the same byte")
    return archive


class _Sparing:
    """A file that is not read in large pieces: zipfile reads a directory in one."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self.limit = limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        content = b"" if size > self.limit else self._file.read(size if size >= 0 else self.limit + 1)
        if max(size, len(content)) > self.limit:
            raise zipfile.BadZipFile(f"its directory takes more than {self.limit} bytes")
        return content


class SpanReader(io.RawIOBase):
    """A file that is read from anywhere, by spans that `read_span` of a subclass returns.

    Parameters
    ----------
    nbytes : int
        Size of the file.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes, self._at = nbytes, 0

    def read_span(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to, not including, `end`, or the first of them."""
        raise io.UnsupportedOperation(f"spans {start} to {end} are read by a subclass")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a byte."""
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._nbytes}[whence]
        if at < 0:
            raise OSError("seek before the beginning")  # as zipfile expects of a file that is too short
        self._at = at
        return at

    def tell(self) -> int:
        """Return the byte that is read next."""
        return self._at

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill `buffer`, or its beginning, and return the number of bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._nbytes)
        piece = self.read_span(self._at, end) if self._at < end else b""
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
