"""The objects of a catalogue as zarr asks for them: each is whole and in time, or the error names it."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

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
)
from s2cmc.store.format import ROOT, check_checksum
from s2cmc.store.shards import BufferPool

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


@dataclass(frozen=True)
class Place:
    """Where a store is, and how it is reached. Sent to another process, it connects there anew.

    Attributes
    ----------
    url : str
        URL or path, without a slash at its end.
    access : Access
    given : zarr Store, optional
        A store that was opened elsewhere and is used as it is.
    """

    url: str = field(repr=False)
    access: Access = field(default_factory=Access)
    given: Store | None = None

    def __str__(self) -> str:
        """URL without what should not be shown: user, password and query."""
        return redacted(self.url)

    def __truediv__(self, name: str) -> "Place":
        """A place below."""
        if self.given is not None:
            raise StoreError(f"{self} holds several versions; open the folder of one, {name} for the latest")
        path, mark, query = self.url.partition("?")
        return replace(self, url=f"{path}/{name}{mark}{query}")

    def connect(self) -> Connection:
        """A connection of this process."""
        return ZarrConnection(self.given) if self.given is not None else connect(self.url, self.access)


class CatalogueStore(Store):
    """Objects of one place, to be read.

    zarr takes an object that is not there for one full of fill value; here it is an error, and so is one that cannot be
    read whole within the time limit. All errors are `StoreError` and name the object.

    Parameters
    ----------
    place : Place
    edition : str
        What tells this store from another at the same place, for the cache; without it nothing is kept.
    held : mapping of str to bytes, optional
        Objects that are here already.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, place: Place, *, edition: str = "", held: Mapping[str, bytes] | None = None) -> None:
        super().__init__(read_only=True)
        self.place = place
        self._edition = edition
        self._held = dict(held or {})
        self._renew = False
        self.reused = BufferPool()
        self._reached: dict[int, tuple[Connection, MemoryCache]] = {}  # by process
        access = place.access
        cached = access.cache_dir is not None and edition
        self._cache = DiskCache(Path(str(access.cache_dir)).expanduser(), access.cache_size) if cached else None

    def holding(self, objects: Mapping[str, bytes]) -> "CatalogueStore":
        """The same, with objects that are here already."""
        other = copy(self)
        other._held = dict(objects)
        return other

    def held(self, key: str) -> bytes | None:
        """An object that is here already."""
        return self._held.get(key)

    def renewed(self) -> "CatalogueStore":
        """The same, which reads everything anew and keeps that instead of what memory and the cache have."""
        other = copy(self)
        other._held, other._renew, other._reached = {}, True, self._reached
        return other

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: ByteRequest | None = None
    ) -> "Buffer | None":
        """An object, or a part of it; see `CatalogueStore` for what is raised."""
        if isinstance(byte_range, OffsetByteRequest):
            raise NotImplementedError("zarr reads no object from an offset to its end")
        content = await self.fetch(key, byte_range)
        return prototype.buffer.from_bytes(content)

    async def fetch(self, key: str, byte_range: Part = None) -> Bytes:
        """Bytes of an object, or of a part of it.

        Raises
        ------
        MissingObjectError
            If it is not there.
        StoreError
            If it cannot be read whole and in time.
        """
        if key in self._held:
            return _cut(self._held[key], byte_range)
        if self._cache is None:
            return await self._read(key, byte_range)
        name = f"{self.place}\n{self._edition}\n{key}\n{byte_range}"
        kept = None if self._renew else await asyncio.to_thread(self._cache.get, name)
        if kept is None:
            kept = await self._read(key, byte_range)
            await asyncio.to_thread(self._cache.put, name, kept)
        return kept

    async def fetch_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Bytes]:
        """Ranges of an object, side by side; see `fetch`."""
        parts = [RangeByteRequest(first, end) for first, end in ranges]
        if self.is_local:
            return [await self.fetch(key, part) for part in parts]
        return list(await asyncio.gather(*(self.fetch(key, part) for part in parts)))

    async def fetch_kept(self, key: str, last: int | None = None) -> Bytes:
        """An object, or its last bytes, which many will ask for: asked for once, however many do; see `fetch`."""
        part = None if last is None else SuffixByteRequest(last)
        if self.is_local:
            return await self.fetch(key, part)
        return await self._here()[1].get((key, last), lambda: self.fetch(key, part), anew=self._renew)

    @property
    def is_local(self) -> bool:
        """Whether nothing is waited for but the disk."""
        return self._cache is None and isinstance(self._here()[0], FolderConnection)

    def run[T](self, reading: Coroutine[Any, Any, T]) -> T:
        """Read: from a local folder in this thread, else in zarr's event loop."""
        from zarr.core.sync import sync

        if not self.is_local:
            return sync(reading)
        try:
            reading.send(None)  # nothing in it waits, so that it comes to its end at once
        except StopIteration as end:
            return end.value
        raise RuntimeError("a local folder was waited for")

    async def _read(self, key: str, byte_range: Part) -> Bytes:
        name = f"{self.place}/{key}"
        content = await self._bytes(name, key, byte_range)
        if key == ROOT:
            try:
                check_checksum(bytes(content), name)
            except DamagedError:  # it may have been damaged on its way
                content = await self._bytes(name, key, byte_range)
                check_checksum(bytes(content), name)
        return content

    async def _bytes(self, name: str, key: str, byte_range: Part) -> Bytes:
        try:
            content = await self._here()[0].read(key, byte_range)
        except StoreError:
            raise
        except Exception as error:
            # Each transport has its own errors, and each means that the object cannot be read.
            raise explain(first_error(error), name, self.place.access) from error
        content = _cut(content, byte_range)
        if isinstance(byte_range, RangeByteRequest) and len(content) != byte_range.end - byte_range.start:
            raise DamagedError(
                f"{name} is cut short: asked for {byte_range.end - byte_range.start} bytes, got {len(content)}"
            )
        return content

    def _here(self) -> tuple[Connection, MemoryCache]:
        """What this process has of the place: of threads that begin at the same moment, one makes it for all."""
        here = self._reached.get(os.getpid())
        return here or self._reached.setdefault(os.getpid(), (self.place.connect(), MemoryCache()))

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list["Buffer | None"]:
        """Parts of objects, side by side."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
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
        return self.__dict__ | {"_reached": {}, "_held": {}, "reused": BufferPool()}

    async def set(self, key: str, value: "Buffer") -> None:  # noqa: ARG002
        """Refused: a catalogue is read only."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002
        """Refused: a catalogue is read only."""
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """Refused, as is every listing: many places forbid it, and none is needed."""
        raise NotImplementedError("a catalogue is never listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:  # noqa: ARG002
        """Refused."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:  # noqa: ARG002
        """Refused."""
        return self.list()


def _cut(content: Bytes, byte_range: Part) -> Bytes:
    """The part that was asked for, where a server without ranges sent the whole object."""
    match byte_range:
        case RangeByteRequest(start, end) if len(content) > end - start:
            return content[start:end]
        case SuffixByteRequest(suffix) if len(content) > suffix:
            return content[-suffix:]
    return content
