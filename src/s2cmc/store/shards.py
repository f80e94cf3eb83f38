"""Reader of shards and of one-chunk arrays: chunks decoded in parallel, straight to where they belong.

zarr reads the same, some milliseconds slower for each call, and copies each chunk once more. The format is that of the
codec ``sharding_indexed``, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import batched, product
from math import prod
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

if TYPE_CHECKING:
    import zarr

    from s2cmc.store.objects import CatalogueStore


# Chunks as they are encoded: decoded by the C codecs that zarr uses too, their checksum and size looked at first.

_CRC_NBYTES = 4


def decode(encoded: np.ndarray, compressor: str, out: np.ndarray) -> None:
    """Decode a chunk.

    Parameters
    ----------
    encoded : ndarray of uint8
        Followed by its crc32c.
    compressor : {"blosc", "zstd"}
    out : ndarray
        Contiguous, of the size of the chunk.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged, or holds a chunk of another size.
    """
    from numcodecs import blosc, zstd

    content = checked(encoded)
    nbytes = _nbytes_of_blosc(content) if compressor == "blosc" else _nbytes_of_zstd(content)
    if nbytes != out.nbytes:  # the codecs leave the rest of `out` as it is
        raise ValueError(f"a chunk of it has {nbytes} bytes; expected {out.nbytes}")
    (blosc if compressor == "blosc" else zstd).decompress(content, out)


def decode_text(encoded: np.ndarray, most: int) -> list[str]:
    """Decode a chunk of texts, by zstd.

    Parameters
    ----------
    encoded : ndarray of uint8
        Followed by its crc32c.
    most : int
        Bytes of all texts at most, with 4 bytes for the length of each.

    Raises
    ------
    ValueError, RuntimeError
        If it is damaged, or larger.
    """
    from numcodecs import zstd
    from numcodecs.vlen import VLenUTF8

    content = checked(encoded)
    nbytes = _nbytes_of_zstd(content)
    if nbytes is None or nbytes > most:
        raise ValueError(f"its texts have {nbytes} bytes; expected at most {most}")
    texts: list[str] = VLenUTF8().decode(zstd.decompress(content)).tolist()
    return texts


def checked(content: np.ndarray) -> np.ndarray:
    """What comes before a crc32c, if it agrees."""
    import google_crc32c

    body, stored = content[:-_CRC_NBYTES], content[-_CRC_NBYTES:].tobytes()
    computed = google_crc32c.value(body).to_bytes(_CRC_NBYTES, "little")
    if computed != stored:
        raise ValueError(f"Stored and computed checksum do not match: {stored.hex()}, {computed.hex()}")
    return body


def _nbytes_of_blosc(content: np.ndarray) -> int | None:
    """Bytes that a chunk decodes to: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.

    None if it is shorter than it says: the codec would read on behind it.
    """
    nbytes, _, encoded_nbytes = np.frombuffer(content[4:16].tobytes().ljust(12, b"\0"), "<u4").tolist()
    return nbytes if len(content) == encoded_nbytes else None


def _nbytes_of_zstd(content: np.ndarray) -> int | None:
    """Bytes that a frame decodes to, if it says so: https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1.1."""
    if len(content) < 18:
        content = np.append(content, np.zeros(18, np.uint8))
    descriptor = int(content[4])
    single, flag, dictionary = descriptor >> 5 & 1, descriptor >> 6, (0, 1, 2, 4)[descriptor & 3]
    length = (single, 2, 4, 8)[flag]
    start = 5 + (1 - single) + dictionary
    value = int.from_bytes(content[start : start + length].tobytes(), "little")
    if not length:
        return None
    return value + 256 if length == 2 else value


# Work on several things at once in the threads that are free.

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _helpers(process: int) -> BoundedSemaphore:  # noqa: ARG001, those of a parent are none of its forks'
    """Threads that may help, in a whole process: many readers at once, as dask's, each find fewer of them."""
    return BoundedSemaphore(max(1, CORES - 1))


_WORTH_A_THREAD = 4
"""Pieces of work, of about a millisecond each, below which starting a thread costs more than it saves."""


def side_by_side[T](work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do all the work, in this thread and in those that are free.

    What is raised first is raised again; what was begun is ended before.
    """
    todo = list(items)
    free, helpers = _helpers(os.getpid()), 0
    while helpers < min(CORES, len(todo) // _WORTH_A_THREAD) - 1 and free.acquire(blocking=False):
        helpers += 1
    if not helpers:
        for item in todo:
            work(item)
        return
    todo.reverse()
    lock, raised = Lock(), list[BaseException]()

    def until_done() -> None:
        while True:
            with lock:
                if not todo:
                    return
                item = todo.pop()
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001, it is raised again by the caller
                with lock:
                    todo.clear()
                    raised.append(error)
                return

    try:
        with ThreadPoolExecutor(helpers, "s2cmc-decode") as pool:
            for _ in range(helpers):
                pool.submit(until_done)
            until_done()
    finally:
        free.release(helpers)
    if raised:
        raise raised[0]


# Pixels that lie in memory band by band, as they are stored, and stay so when dask hands them out.


class Planar(np.ndarray[Any, Any]):
    """An ndarray (scene, ..., band) in which each band lies in one piece, or a part of one.

    dask joins several chunks by `numpy.concatenate` before it hands them out, which would sort the pixels anew, so that
    all bands of one lie side by side: that takes as long as to decode them. Here they stay in their order, and are
    copied side by side. Results of all else are plain ndarrays, copies among them.
    """

    __array_priority__ = -1.0

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: np.dtype[Any], empty: Callable[..., np.ndarray] = np.empty) -> Self:
        """Room for pixels (scene, ..., band), in memory that `empty` gives for a shape and a dtype."""
        scenes, *plane, bands = shape
        return np.moveaxis(empty((scenes, bands, *plane), dtype), 1, -1).view(cls)

    def copy(self, order: Literal["K", "A", "C", "F"] | None = "C") -> np.ndarray:  # type: ignore[override]
        """A plain ndarray with the same values, in C order unless another is asked for, as `numpy.ndarray.copy` has it.

        Those who hand memory to C rely on that order: netCDF4 writes it as it is.
        """
        return np.array(self, order=order)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """The results of functions on pixels, as plain ndarrays."""
        return array[()] if return_scalar else np.asarray(array)

    def __array_function__(  # type: ignore[override]  # numpy gives a sequence
        self, function: Callable[..., Any], types: Iterable[type], args: Sequence[Any], kwargs: Any
    ) -> Any:
        """Functions of numpy; of these `numpy.concatenate` as described: of a single array it gives that itself."""
        if function is np.concatenate and len(args) in (1, 2) and kwargs.keys() <= {"axis"}:
            arrays, axis = list(args[0]), args[1] if len(args) == 2 else kwargs.get("axis", 0)
            if axis is not None and all(isinstance(array, np.ndarray) for array in arrays):
                alike = {(array.ndim, array.dtype, *np.delete(array.shape, axis)) for array in arrays}
                if len(alike) == 1:
                    return arrays[0] if len(arrays) == 1 else _joined(arrays, axis, arrays[0])
        return super().__array_function__(function, types, args, kwargs)


def _joined(parts: Sequence[np.ndarray], axis: int, like: np.ndarray) -> np.ndarray:
    """Parts along an axis as one, in memory as another array."""
    ends = np.cumsum([part.shape[axis] for part in parts]).tolist()
    shape = [*like.shape]
    shape[axis] = ends[-1]
    joined = np.empty_like(like, shape=shape, subok=False)
    along = np.moveaxis(joined, axis, 0)

    def put(i: int) -> None:
        along[(ends[i - 1] if i else 0) : ends[i]] = np.moveaxis(parts[i], axis, 0)

    side_by_side(put, range(len(parts)))
    return joined


Transfer = Callable[[np.ndarray, np.ndarray], object]
"""Puts values as they are stored (first) into a part of the result (second); both may be the same memory."""

_ENTRY_NBYTES = 16  # offset and length of a chunk
_CRC_NBYTES = 4
_ABSENT = 2**64 - 1
_GAP = 128 * 1024
"""Bytes between two chunks that are read along, unless zarr's own setting is lower: asking twice would take longer."""

_SHARDS_AT_ONCE = 8
"""Shards that are asked for side by side: so many wait for a network, and so many are in memory, encoded."""

_Span = tuple[int, int]
"""First byte, and one past the last."""


@dataclass(frozen=True)
class Shards:
    """How the shards of an array lie, and what their chunks are made of.

    Attributes
    ----------
    path : str
        Of the array in its store.
    shape, steps, chunks : tuple of int
        Of the array, of a shard, of a chunk.
    dtype : dtype
    compressor : {"blosc", "zstd"}
    """

    path: str
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    compressor: str

    @classmethod
    def of(cls, array: "zarr.Array[Any]") -> "Shards | None":
        """The shards of an array; None where only zarr knows how to read them."""
        codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
        if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
            return None
        how = codecs[0]["configuration"]
        inner, index = ([codec["name"] for codec in how[name]] for name in ("codecs", "index_codecs"))
        plain = inner in (["bytes", "blosc", "crc32c"], ["bytes", "zstd", "crc32c"]) and index == ["bytes", "crc32c"]
        orders = {how[name][0].get("configuration", {}).get("endian", "little") for name in ("codecs", "index_codecs")}
        origin = (0,) * array.ndim
        named = array.metadata.encode_chunk_key(origin) == "/".join(["c", *map(str, origin)])
        if not (plain and named) or orders != {"little"} or how.get("index_location") != "end":
            return None
        dtype = np.dtype(array.dtype).newbyteorder("<")
        return cls(array.path, array.shape, array.shards or (), tuple(how["chunk_shape"]), dtype, inner[1])

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks of a shard along each dimension."""
        return tuple(step // chunk for step, chunk in zip(self.steps, self.chunks, strict=True))

    @property
    def index_nbytes(self) -> int:
        """Bytes of the index at the end of a shard."""
        return prod(self.grid) * _ENTRY_NBYTES + _CRC_NBYTES

    def read(
        self, store: "CatalogueStore", positions: Sequence[np.ndarray], transfer: Transfer, dtype: np.dtype[Any]
    ) -> np.ndarray:
        """Values at some positions along each dimension.

        Parameters
        ----------
        store : CatalogueStore
        positions : sequence of ndarray of int
            One for each dimension: ascending, and each position once.
        transfer : callable
        dtype : dtype
            Of the result.

        Returns
        -------
        ndarray
            `Planar` if a chunk holds one band: so each is written in one go.

        Raises
        ------
        StoreError
            If an object is missing, or cannot be read.
        ValueError, RuntimeError
            If it is not what was written.
        """
        shape = tuple(len(p) for p in positions)
        has_bands = len(shape) == 4 and self.chunks[-1] == 1
        out = Planar.empty(shape, dtype, store.reused.empty) if has_bands else store.reused.empty(shape, dtype)
        if not out.size:
            return out
        self.read_windows(store, [(positions, out)], transfer)
        return out

    def read_windows(
        self,
        store: "CatalogueStore",
        windows: Iterable[tuple[Sequence[np.ndarray], np.ndarray]],
        transfer: Transfer,
    ) -> None:
        """Values of many windows, each chunk decoded once for all of them.

        Parameters
        ----------
        store : CatalogueStore
        windows : iterable of (positions, out)
            Positions along each dimension as `read` takes them, and an array of their shape for the result.
        transfer : callable

        Raises
        ------
        StoreError, ValueError, RuntimeError
            See `read`.
        """
        asked: dict[tuple[int, ...], dict[int, list[Any]]] = {}
        for positions, out in windows:
            for shard, parts in self._asked(positions):
                chunks = asked.setdefault(shard, {})
                for number, (here, there) in parts.items():
                    chunks.setdefault(number, []).append((here, out[there]))

        def put(chunk: tuple[np.ndarray, list[tuple[Any, np.ndarray]]]) -> None:
            encoded, parts = chunk
            (_, first), *others = parts
            if not others and first.shape == self.chunks and first.dtype == self.dtype and first.flags.c_contiguous:
                decode(encoded, self.compressor, first)
                transfer(first, first)
                return
            whole = np.empty(self.chunks, self.dtype)
            decode(encoded, self.compressor, whole)
            for here, target in parts:
                transfer(whole[here], target)

        for some in batched(asked.items(), _SHARDS_AT_ONCE, strict=False):
            loaded = self._load_all(store, dict(some))
            side_by_side(put, [(loaded[shard][number], parts) for shard, of in some for number, parts in of.items()])

    def _asked(self, positions: Sequence[np.ndarray]) -> "Iterator[tuple[tuple[int, ...], _Parts]]":
        """Each shard of which something is asked for, and the parts of its chunks that are."""
        cuts = [_cut(p, chunk) for p, chunk in zip(positions, self.chunks, strict=True)]
        shards = [sorted({at // n for at in cut}) for cut, n in zip(cuts, self.grid, strict=True)]
        for shard in product(*shards):
            within = [[at for at in cut if at // n == s] for cut, n, s in zip(cuts, self.grid, shard, strict=True)]
            parts = {}
            for chunk in product(*within):
                number = 0
                for at, n in zip(chunk, self.grid, strict=True):
                    number = number * n + at % n
                here, there = zip(*(cut[at] for cut, at in zip(cuts, chunk, strict=True)), strict=True)
                parts[number] = (here if all(isinstance(h, slice) for h in here) else _outer(here, self.chunks)), there
            yield shard, parts

    def _filled(self, shard: tuple[int, ...]) -> int:
        """Chunks of a shard that hold something of the array; the last shard seldom is full."""
        return prod(
            -(-min(step, n - at * step) // chunk)
            for n, step, chunk, at in zip(self.shape, self.steps, self.chunks, shard, strict=True)
        )

    def _load_all(
        self, store: "CatalogueStore", wanted: Mapping[tuple[int, ...], Collection[int]]
    ) -> dict[tuple[int, ...], dict[int, np.ndarray]]:
        """Encoded chunks of several shards, fetched side by side."""
        loaded = {}

        async def load(shard: tuple[int, ...]) -> None:
            loaded[shard] = await self._load(store, shard, wanted[shard])

        async def load_all() -> None:
            await asyncio.gather(*map(load, wanted))

        if store.is_local:
            side_by_side(lambda shard: store.run(load(shard)), wanted)
        else:
            store.run(load_all())
        return loaded

    async def _load(
        self, store: "CatalogueStore", shard: tuple[int, ...], wanted: Collection[int]
    ) -> dict[int, np.ndarray]:
        """Encoded chunks of a shard: from the whole of it if all are wanted, else from ranges of it."""
        key = "/".join([self.path, "c", *map(str, shard)])
        several = self.chunks[0] > 1  # such shards are small, and neighbours are soon asked for
        if len(wanted) == self._filled(shard) or (several and not store.is_local):
            content = np.frombuffer(await (store.fetch_kept(key) if several else store.fetch(key)), np.uint8)
            spans = self._spans(content[-self.index_nbytes :], wanted)
            return {number: content[first:end] for number, (first, end) in spans.items()}
        spans = self._spans(np.frombuffer(await store.fetch_kept(key, self.index_nbytes), np.uint8), wanted)
        ranges = _merged(spans.values())
        contents = [np.frombuffer(content, np.uint8) for content in await store.fetch_ranges(key, ranges)]
        return {
            number: content[first - start : end - start]
            for number, (first, end) in spans.items()
            for (start, stop), content in zip(ranges, contents, strict=True)
            if start <= first and end <= stop
        }

    def _spans(self, index: np.ndarray, wanted: Iterable[int]) -> dict[int, _Span]:
        """Where chunks lie in their shard."""
        if len(index) != self.index_nbytes:
            raise ValueError(f"it is shorter than the index of a shard, {self.index_nbytes} bytes")
        entries = checked(index).view("<u8").reshape(-1, 2).tolist()
        most = 2 * prod(self.chunks) * self.dtype.itemsize + 1024  # more no codec makes of a chunk
        for number in wanted:
            offset, length = entries[number]
            if offset == length == _ABSENT:
                raise ValueError(f"chunk {number} of it is absent")
            if length > most or offset >= 2**63:
                raise ValueError(f"its index says that chunk {number} takes {length} bytes from {offset} on")
        return {number: (entries[number][0], sum(entries[number])) for number in wanted}


type _Parts = dict[int, tuple[tuple[slice | np.ndarray, ...], tuple[slice, ...]]]
"""By the number of a chunk in its shard: what of it is asked for, and where that belongs in the result."""


def _cut(positions: np.ndarray, step: int) -> dict[int, tuple[slice | np.ndarray, slice]]:
    """Ascending positions by chunk: where they are in it, and where in the result."""
    numbers = positions // step
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    numbers, ends = numbers[starts], np.append(starts[1:], len(positions))
    return {
        number: (_evenly(positions[start:end] - number * step), slice(start, end))
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True)
    }


def _evenly(positions: np.ndarray) -> slice | np.ndarray:
    """Evenly spaced positions as a slice, which numpy copies many times faster."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first < len(positions):
        return slice(first, last + 1)
    step = (last - first) // (len(positions) - 1)
    return slice(first, last + 1, step) if (np.diff(positions) == step).all() else positions


def _outer(here: Iterable[slice | np.ndarray], chunks: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return np.ix_(*(np.arange(n)[part] for part, n in zip(here, chunks, strict=True)))


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """Spans in ascending order, those that are near each other as one."""
    import zarr

    gap = min(_GAP, zarr.config.get("array.sharding_coalesce_max_gap_bytes", _GAP))
    found: list[_Span] = []
    for first, end in sorted(spans):
        if found and first - found[-1][1] <= gap:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found


# Memory that is used again: a system gives fresh one page by page, which takes as long as to decode into it.

_SMALLEST_POOLED = 1024 * 1024
"""Bytes below which memory comes from the allocator, which uses it again by itself."""

_LARGEST_POOLED = 64 * 1024 * 1024
"""Bytes of what is kept at most: a scene of float32 takes 54 MB."""


class BufferPool:
    """Memory that was given back, a piece for each core: so many blocks are worked on at a time."""

    def __init__(self) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=CORES)  # its methods need no lock, which `__del__` may not take

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array, uninitialised and C-contiguous; its memory comes back when nothing refers to it any more."""
        nbytes = prod(shape) * dtype.itemsize
        if not _SMALLEST_POOLED <= nbytes <= _LARGEST_POOLED:
            return np.empty(shape, dtype)
        memory = self._taken(nbytes)
        lent = _LentBuffer(np.empty(nbytes, np.uint8) if memory is None else memory, self._free)
        return np.frombuffer(lent, dtype).reshape(shape)

    def _taken(self, nbytes: int) -> np.ndarray | None:
        for _ in range(len(self._free)):
            try:
                memory = self._free.popleft()
            except IndexError:  # another thread took it
                return None
            if memory.nbytes == nbytes:
                return memory
            self._free.append(memory)
        return None


class _LentBuffer:
    """What an array, and all views of it, refer to: https://peps.python.org/pep-0688/."""

    def __init__(self, memory: np.ndarray, free: deque[np.ndarray]) -> None:
        self._memory, self._free = memory, free

    def __buffer__(self, flags: int) -> memoryview:
        return self._memory.data

    def __del__(self) -> None:
        self._free.append(self._memory)


# Read arrays of one chunk, as coordinates are: there are dozens, and zarr takes some milliseconds for each.
#
# Strings are stored as https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/vlen-utf8 says.

_TEXT_NBYTES = 1024
"""Bytes of one text, at most: of those that are stored the longest has some 60."""


@dataclass(frozen=True)
class OneChunk:
    """An array of one dimension whose values are one object.

    Attributes
    ----------
    key : str
        Of the object.
    size : int
        Values.
    dtype : dtype
        Of the values; NumPy's StringDType for texts.
    """

    key: str
    size: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: "zarr.Array[Any]") -> "OneChunk | None":
        """The chunk of an array; None where there are more, or only zarr knows how to read it."""
        codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
        if array.ndim != 1 or not array.shape[0] or array.shards or array.chunks != array.shape or not codecs:
            return None
        first = "vlen-utf8" if array.dtype.kind == "T" else "bytes"
        endian = codecs[0].get("configuration", {}).get("endian", "little")
        named = array.metadata.encode_chunk_key((0,)) == "c/0"
        if [codec["name"] for codec in codecs] != [first, "zstd", "crc32c"] or endian != "little" or not named:
            return None
        return cls(f"{array.path}/c/0", array.shape[0], np.dtype(array.dtype))

    def read(self, store: "CatalogueStore") -> np.ndarray:
        """All values.

        Raises
        ------
        StoreError
            If the object is missing, or cannot be read.
        ValueError, RuntimeError
            If it is not what was written.
        """
        encoded = np.frombuffer(store.held(self.key) or store.run(store.fetch(self.key)), np.uint8)
        if self.dtype.kind != "T":
            values = np.empty(self.size, self.dtype.newbyteorder("<"))
            decode(encoded, "zstd", values)
            return values.astype(self.dtype, copy=False)
        texts = decode_text(encoded, self.size * _TEXT_NBYTES)
        if len(texts) != self.size:
            raise ValueError(f"it holds {len(texts)} texts; expected {self.size}")
        return np.array(texts, self.dtype)
