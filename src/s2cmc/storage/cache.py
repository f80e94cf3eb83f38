"""Caches of bytes: on disk, bounded and shared by processes; in memory, each object fetched once.

The disk cache is our own, because fsspec's caches hold whole files without a bound, zarr's keeps its books in one
process, and diskcache is not maintained.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from s2cmc.errors import StoreError

logger = logging.getLogger(__name__)

Bytes = bytes | memoryview

_SUFFIX = ".bytes"
_CHECKSUM = 4  # bytes of CRC-32 in front of the content
_KEEP = 0.75  # part of the size that is left after pruning
_BETWEEN = 64  # this part of the size is written by one process before it looks again
_ABANDONED = 3600.0  # seconds after which a file that is still being written belongs to nobody


@dataclass
class DiskCache:
    """A folder of byte strings by name.

    Every entry is written under another name first, so that it is there whole or not at all, and carries its CRC-32.
    What was not read for longest goes first. Processes that share the folder only ever add and remove whole files.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    size : int
        Bytes that it holds at most; processes that write at the same moment may exceed it by what they write then.
    """

    folder: Path
    size: int
    _written: int = field(default=-1, repr=False)  # since this process looked; below 0 it never has

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cache_dir {self.folder} cannot be used: {error}") from error

    def get(self, name: str) -> Bytes | None:
        """What is kept under a name, if it is there and intact."""
        path = self._path(name)
        try:
            stored = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        content = memoryview(stored)[_CHECKSUM:]
        return content if stored[:_CHECKSUM] == _checksum(content) else None

    def put(self, name: str, content: Bytes) -> None:
        """Keep bytes under a name. Where that is not possible, nothing is kept, and the log says so."""
        nbytes = len(content) + _CHECKSUM
        if nbytes > self.size * (1 - _KEEP):
            return
        try:
            # Without a lock, which a fork would inherit as it is: threads may look once too often, and nothing is lost.
            if self._written < 0 or self._written + nbytes > self.size // _BETWEEN:
                self._written = 0
                self._prune(nbytes)
            self._written += nbytes
            self._write(self._path(name), content)
        except OSError as error:
            logger.warning("cache_dir %s cannot be written: %s", self.folder, error)

    def _path(self, name: str) -> Path:
        return self.folder / (hashlib.sha256(name.encode()).hexdigest() + _SUFFIX)

    def _write(self, path: Path, content: Bytes) -> None:
        handle, staged = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_checksum(content))
                file.write(content)
            os.replace(staged, path)
        except OSError:
            Path(staged).unlink(missing_ok=True)
            raise

    def _prune(self, needed: int) -> None:
        found = []
        now = time.time()
        for entry in os.scandir(self.folder):
            try:
                status = entry.stat()
            except OSError:  # another process was faster
                continue
            if entry.name.endswith(_SUFFIX):
                found.append((status.st_mtime, status.st_size, entry.path))
            elif now - status.st_mtime > _ABANDONED:
                Path(entry.path).unlink(missing_ok=True)
        total = sum(size for _, size, _ in found) + needed
        if total > self.size * _KEEP:
            for _, size, path in sorted(found):
                if total <= self.size * _KEEP:
                    break
                Path(path).unlink(missing_ok=True)
                total -= size

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "size": self.size}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _checksum(content: Bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM, "little")


# Bytes that many ask for, kept in memory: asked for once, however many ask, and bounded in size.

MEMORY_CACHE_NBYTES = 32 * 1024 * 1024
"""Indices and small shards, as they are encoded: all masks of 513 scenes are 7 MB."""

_Name = tuple[str, int | None]


class MemoryCache:
    """What was asked for last, by name. Used in one event loop alone."""

    def __init__(self) -> None:
        self._asked: dict[_Name, asyncio.Task[bytes]] = {}
        self._here: dict[_Name, bytes] = {}  # what was used last comes last
        self._nbytes = 0

    async def get(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]], *, anew: bool) -> bytes:
        """Bytes of a name, fetched unless they are here or on their way. What fails is not kept.

        Parameters
        ----------
        name : tuple of str and int
        fetch : callable
        anew : bool
            Fetch them in any case, and keep them in place of what is here.
        """
        if not anew and (content := self._here.pop(name, None)) is not None:
            self._here[name] = content
            return content
        task = None if anew else self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.ensure_future(self._fetch(name, fetch))
        return await asyncio.shield(task)  # one of several that wait may be cancelled

    async def _fetch(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]]) -> bytes:
        try:
            content = bytes(await fetch())  # a view of a part would keep the whole
        finally:
            if self._asked.get(name) is asyncio.current_task():
                del self._asked[name]
        self._nbytes += len(content) - len(self._here.pop(name, b""))
        self._here[name] = content
        while self._nbytes > MEMORY_CACHE_NBYTES:
            self._nbytes -= len(self._here.pop(next(iter(self._here))))
        return content
