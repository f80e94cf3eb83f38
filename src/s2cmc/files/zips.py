"""Untrusted zips, opened with a bound on their directory, and only where members do not share bytes."""

import sys
import zipfile
from typing import IO, Any, cast

from s2cmc.files.limits import DIRECTORY_BYTES

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
