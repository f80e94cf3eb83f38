"""The objects of a catalogue, as a zarr Store: each object is read whole and in time, or the error names it."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from s2cmc._compat import run_in_loop
from s2cmc._redact import redacted
from s2cmc.errors import DamagedError, MissingObjectError, StoreError
from s2cmc.storage import (
    Access,
    Bytes,
    Connection,
    DiskCache,
    FolderConnection,
    MemoryCache,
    Part,
    ZarrConnection,
    connect,
    explain,
    first_error,
    locate,
)
from s2cmc.store.format import ROOT, check_checksum
from s2cmc.store.shards import BufferPool

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer, BufferPrototype


@dataclass(frozen=True)
class Place:
    """URL of a store, and access to it. A place can be sent to another process, which makes its own connection.

    Attributes
    ----------
    url : str
        URL or path, without a slash at its end.
    access : Access
    given : zarr Store, optional
        A store that the user has opened, read instead of a connection to `url`.
    """

    url: str = field(repr=False)
    access: Access = field(default_factory=Access)
    given: Store | None = None

    def __str__(self) -> str:
        """Return the URL without user, password and query."""
        return redacted(self.url)

    def __truediv__(self, name: str) -> "Place":
        """Return the place of the folder `name` inside this one."""
        if self.given is not None:
            raise StoreError(f"{self} holds several versions; open the folder of one, {name} for the latest")
        path, mark, query = self.url.partition("?")
        return replace(self, url=f"{path}/{name}{mark}{query}")

    def connect(self) -> Connection:
        """Make a connection that works in this process."""
        return ZarrConnection(self.given) if self.given is not None else connect(self.url, self.access)


class CatalogueStore(Store):
    """The objects of one place, read only.

    zarr would take a missing object for one full of fill values; here a missing object is an error, and so is one that
    cannot be read whole within the time limit. All errors are `StoreError` and name the object.

    Parameters
    ----------
    place : Place
    edition : str
        Identifies this store among those that were at the same place, for the disk cache; empty for no disk cache.
    objects : mapping of str to bytes, optional
        Objects by key that are served from memory.

    Attributes
    ----------
    place : Place
    buffers : BufferPool
        Memory for the arrays that are read from this store.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, place: Place, *, edition: str = "", objects: Mapping[str, bytes] | None = None) -> None:
        super().__init__(read_only=True)
        self.place = place
        self._edition = edition
        self._objects = dict(objects or {})
        self._refreshes = False  # caches are written, and not read
        self.buffers = BufferPool()
        self._by_process: dict[int, tuple[Connection, MemoryCache]] = {}  # by process ID: neither survives a fork
        access = place.access
        has_cache = access.cache_dir is not None and edition
        self._cache = DiskCache(Path(locate(access.cache_dir or "")), access.cache_size) if has_cache else None

    def with_objects(self, objects: Mapping[str, bytes]) -> "CatalogueStore":
        """Return a copy of this store that serves `objects` from memory."""
        other = copy(self)
        other._objects = dict(objects)
        return other

    def in_memory(self, key: str) -> bytes | None:
        """Return an object if this store serves it from memory, else None."""
        return self._objects.get(key)

    def without_cache(self) -> "CatalogueStore":
        """Return a copy of this store that bypasses all caches; it replaces their content by what it reads."""
        other = copy(self)
        other._objects, other._refreshes, other._by_process = {}, True, self._by_process
        return other

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: ByteRequest | None = None
    ) -> "Buffer | None":
        """Read an object, or a part of it, for zarr; see `fetch` for errors."""
        if isinstance(byte_range, OffsetByteRequest):
            raise NotImplementedError("zarr reads no object from an offset to its end")
        content = await self.fetch(key, byte_range)
        return prototype.buffer.from_bytes(content)

    async def fetch(self, key: str, byte_range: Part = None) -> Bytes:
        """Read the bytes of an object, or of a part of it.

        Raises
        ------
        MissingObjectError
            If there is no such object.
        StoreError
            If the object cannot be read whole and in time.
        """
        if key in self._objects:
            return _cut(self._objects[key], byte_range)
        if self._cache is None:
            return await self._read(key, byte_range)
        name = f"{self.place}\n{self._edition}\n{key}\n{byte_range}"
        content = None if self._refreshes else await asyncio.to_thread(self._cache.get, name)
        if content is None:
            content = await self._read(key, byte_range)
            await asyncio.to_thread(self._cache.put, name, content)
        return content

    async def fetch_unchecked(self, key: str) -> Bytes:
        """Read an object past all caches; a root document is not checked. See `fetch` for errors."""
        return await self._read_bytes(f"{self.place}/{key}", key, None)

    async def fetch_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Bytes]:
        """Read ranges of an object at the same time; see `fetch`."""
        parts = [RangeByteRequest(first, end) for first, end in ranges]
        if self.is_local:
            return [await self.fetch(key, part) for part in parts]
        return list(await asyncio.gather(*(self.fetch(key, part) for part in parts)))

    async def fetch_kept(self, key: str, last: int | None = None) -> Bytes:
        """Read an object or its last bytes, and keep them in memory: readers at the same time share one request.

        See `fetch` for errors.
        """
        part = None if last is None else SuffixByteRequest(last)
        if self.is_local:
            return await self.fetch(key, part)
        return await self._memory_cache.get((key, last), lambda: self.fetch(key, part), refresh=self._refreshes)

    @property
    def is_local(self) -> bool:
        """True if all objects come from a local folder, so that reading them never waits."""
        return self._cache is None and isinstance(self._connection, FolderConnection)

    def run[T](self, reading: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that reads: of a local folder in this thread, else in zarr's event loop."""
        if not self.is_local:
            return run_in_loop(reading)
        try:
            reading.send(None)  # nothing in it waits, so that one step runs it to its end
        except StopIteration as end:
            return end.value
        raise RuntimeError("a local folder was waited for")

    async def _read(self, key: str, byte_range: Part) -> Bytes:
        """Read an object; a root document is checked, because nothing else proves it."""
        name = f"{self.place}/{key}"
        content = await self._read_bytes(name, key, byte_range)
        if key == ROOT:
            try:
                check_checksum(bytes(content), name)
            except DamagedError:  # the transport may have damaged it
                content = await self._read_bytes(name, key, byte_range)
                check_checksum(bytes(content), name)
        return content

    async def _read_bytes(self, name: str, key: str, byte_range: Part) -> Bytes:
        """Read an object through the connection; `name` is its URL for messages."""
        try:
            content = await self._connection.read(key, byte_range)
        except StoreError:
            raise
        except Exception as error:
            # Broad, because each transport has its own errors, and each of them means that the object cannot be read.
            raise explain(first_error(error), name, self.place.access) from error
        content = _cut(content, byte_range)
        if isinstance(byte_range, RangeByteRequest) and len(content) != byte_range.end - byte_range.start:
            raise DamagedError(
                f"{name} is cut short: asked for {byte_range.end - byte_range.start} bytes, got {len(content)}"
            )
        return content

    @property
    def _connection(self) -> Connection:
        return self._of_process()[0]

    @property
    def _memory_cache(self) -> MemoryCache:
        return self._of_process()[1]

    def _of_process(self) -> tuple[Connection, MemoryCache]:
        """Return the connection and the memory cache of this process."""
        made = self._by_process.get(os.getpid())
        # Threads that begin at the same moment each make a pair, and all of them use the first.
        return made or self._by_process.setdefault(os.getpid(), (self.place.connect(), MemoryCache()))

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list["Buffer | None"]:
        """Read parts of objects at the same time."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return True if there is such an object."""
        try:
            await self.fetch(key)
        except MissingObjectError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogueStore) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place.url)

    def __str__(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.place)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_by_process": {}, "_objects": {}, "buffers": BufferPool()}

    async def set(self, key: str, value: "Buffer") -> None:  # noqa: ARG002
        """Refuse to write: a catalogue is read only."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002
        """Refuse to delete: a catalogue is read only."""
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """Refuse to list: many places forbid it, and no reader needs it."""
        raise NotImplementedError("a catalogue is never listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:  # noqa: ARG002
        """Refuse to list."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:  # noqa: ARG002
        """Refuse to list."""
        return self.list()


def _cut(content: Bytes, byte_range: Part) -> Bytes:
    """Cut the requested part out of a whole object: servers without ranges send that. Leave a part as it is."""
    match byte_range:
        case RangeByteRequest(start, end) if len(content) > end - start:
            return content[start:end]
        case SuffixByteRequest(suffix) if len(content) > suffix:
            return content[-suffix:]
    return content
