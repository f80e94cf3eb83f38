"""Caches of bytes: on disk, bounded and shared by processes; in memory, each object fetched once.

The disk cache is our own, because fsspec's caches hold whole files without a bound, zarr's counts in a single process,
and diskcache is not maintained.
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

    Every entry is written under another name first, so that an entry is whole or absent, and has a CRC-32. The entries
    that were not read for longest are removed first. Processes that share the folder add and remove whole files only.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    size : int
        Upper limit in bytes; processes that write at the same moment may exceed it by the bytes they write then.
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
        """Return the bytes that are kept under a name; None if there are none, or they are damaged."""
        path = self._path(name)
        try:
            stored = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        content = memoryview(stored)[_CHECKSUM:]
        return content if stored[:_CHECKSUM] == _checksum(content) else None

    def put(self, name: str, content: Bytes) -> None:
        """Keep bytes under a name. Bytes that cannot be written are not kept, and the log says so."""
        nbytes = len(content) + _CHECKSUM
        if nbytes > self.size * (1 - _KEEP):
            return
        try:
            # Without a lock, which a fork might inherit locked: threads may prune once too often, and nothing is lost.
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
        """Remove the entries that were not read for longest, until `needed` bytes fit."""
        entries = []
        now = time.time()
        for entry in os.scandir(self.folder):
            try:
                status = entry.stat()
            except OSError:  # another process was faster
                continue
            if entry.name.endswith(_SUFFIX):
                entries.append((status.st_mtime, status.st_size, entry.path))
            elif now - status.st_mtime > _ABANDONED:
                Path(entry.path).unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries) + needed
        if total > self.size * _KEEP:
            for _, size, path in sorted(entries):
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


# A bounded cache in memory. Readers that ask for the same bytes at the same time share one request.

MEMORY_CACHE_NBYTES = 32 * 1024 * 1024
"""Upper limit of a cache. It holds indices and small shards, encoded: all masks of 513 scenes are 7 MB."""

_Name = tuple[str, int | None]


class MemoryCache:
    """The bytes that were used last, by name. A cache belongs to one event loop."""

    def __init__(self) -> None:
        self._requests: dict[_Name, asyncio.Task[bytes]] = {}
        self._contents: dict[_Name, bytes] = {}  # least recently used first
        self._nbytes = 0

    async def get(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]], *, refresh: bool) -> bytes:
        """Return the bytes of a name; fetch them unless they are cached or requested already.

        A request that fails is not kept.

        Parameters
        ----------
        name : tuple of str and int
            Key of an object, and how many bytes at its end; None for all of it.
        fetch : callable
            Makes the request.
        refresh : bool
            Fetch the bytes in any case, and replace the cached ones.
        """
        if not refresh and (content := self._contents.pop(name, None)) is not None:
            self._contents[name] = content
            return content
        task = None if refresh else self._requests.get(name)
        if task is None:
            task = self._requests[name] = asyncio.ensure_future(self._fetch(name, fetch))
        return await asyncio.shield(task)  # a reader that is cancelled must not cancel the request of the others

    async def _fetch(self, name: _Name, fetch: Callable[[], Awaitable[bytes | memoryview]]) -> bytes:
        try:
            content = bytes(await fetch())  # a copy: a view of a part would keep the whole object in memory
        finally:
            if self._requests.get(name) is asyncio.current_task():
                del self._requests[name]
        self._nbytes += len(content) - len(self._contents.pop(name, b""))
        self._contents[name] = content
        while self._nbytes > MEMORY_CACHE_NBYTES:
            self._nbytes -= len(self._contents.pop(next(iter(self._contents))))
        return content
