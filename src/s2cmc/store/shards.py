"""Reader of shards and of one-chunk arrays: chunks are decoded in parallel, straight into the result.

zarr reads the same arrays, but takes some milliseconds more for each call and copies each chunk once more. The format
is that of the codec ``sharding_indexed``, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
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
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import zarr

    from s2cmc.store.objects import CatalogueStore


# Decode chunks. The C codecs are those that zarr uses too; checksum and size of a chunk are checked before they run.

_CRC_NBYTES = 4


def decode(encoded: np.ndarray, compressor: str, out: np.ndarray) -> None:
    """Decode a chunk.

    Parameters
    ----------
    encoded : ndarray of uint8
        The compressed chunk, followed by its crc32c.
    compressor : {"blosc", "zstd"}
    out : ndarray
        Array for the decoded chunk: contiguous, of the size of the chunk.

    Raises
    ------
    ValueError, RuntimeError
        If the chunk is damaged, or of another size than `out`.
    """
    from numcodecs import blosc, zstd

    content = checked(encoded)
    nbytes = _nbytes_of_blosc(content) if compressor == "blosc" else _nbytes_of_zstd(content)
    if nbytes != out.nbytes:  # of a smaller chunk, the codecs would leave the rest of `out` uninitialised
        raise ValueError(f"a chunk of it has {nbytes} bytes; expected {out.nbytes}")
    (blosc if compressor == "blosc" else zstd).decompress(content, out)


def decode_text(encoded: np.ndarray, max_nbytes: int) -> list[str]:
    """Decode a chunk of texts that zstd compressed.

    Parameters
    ----------
    encoded : ndarray of uint8
        The compressed chunk, followed by its crc32c.
    max_nbytes : int
        Upper limit for the bytes of all texts, with 4 bytes for the length of each.

    Raises
    ------
    ValueError, RuntimeError
        If the chunk is damaged, or larger than `max_nbytes`.
    """
    from numcodecs import zstd
    from numcodecs.vlen import VLenUTF8

    content = checked(encoded)
    nbytes = _nbytes_of_zstd(content)
    if nbytes is None or nbytes > max_nbytes:
        raise ValueError(f"its texts have {nbytes} bytes; expected at most {max_nbytes}")
    texts: list[str] = VLenUTF8().decode(zstd.decompress(content)).tolist()
    return texts


def checked(content: np.ndarray) -> np.ndarray:
    """Check the crc32c at the end of `content`; return the bytes before it."""
    import google_crc32c

    body, stored = content[:-_CRC_NBYTES], content[-_CRC_NBYTES:].tobytes()
    computed = google_crc32c.value(body).to_bytes(_CRC_NBYTES, "little")
    if computed != stored:
        raise ValueError(f"Stored and computed checksum do not match: {stored.hex()}, {computed.hex()}")
    return body


def _nbytes_of_blosc(content: np.ndarray) -> int | None:
    """Read from its header how many bytes a chunk of blosc decodes to.

    None if the chunk is shorter than its header says: the codec would read past the end of its memory. The header is
    described in https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.
    """
    nbytes, _, encoded_nbytes = np.frombuffer(content[4:16].tobytes().ljust(12, b"\0"), "<u4").tolist()
    return nbytes if len(content) == encoded_nbytes else None


def _nbytes_of_zstd(content: np.ndarray) -> int | None:
    """Read from its header how many bytes a frame of zstd decodes to; None if the header does not say.

    The header is described in https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1.1.
    """
    if len(content) < 18:  # the longest header
        content = np.append(content, np.zeros(18, np.uint8))
    descriptor = int(content[4])
    single, flag, dictionary = descriptor >> 5 & 1, descriptor >> 6, (0, 1, 2, 4)[descriptor & 3]
    length = (single, 2, 4, 8)[flag]
    start = 5 + (1 - single) + dictionary
    value = int.from_bytes(content[start : start + length].tobytes(), "little")
    if not length:
        return None
    return value + 256 if length == 2 else value


# Run work items in a bounded, process-wide pool of threads.

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _helpers(process: int) -> BoundedSemaphore:  # noqa: ARG001, a forked process gets a semaphore of its own
    """Return the semaphore that bounds the helping threads of a process.

    Several readers at once, such as dask's workers, share them, so that there are never many more threads than cores.
    """
    return BoundedSemaphore(max(1, CORES - 1))


_WORTH_A_THREAD = 2
"""Work items for each thread at least: an item takes about a millisecond, and to start a thread for fewer costs more
than it saves."""


def side_by_side[T](work: Callable[[T], None], items: Iterable[T]) -> None:
    """Call `work` with every item, in this thread and in those of the pool that are free.

    After an error no further item is begun. Those that were begun are finished before the first error is raised.
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
            except BaseException as error:  # noqa: BLE001, the caller raises it again
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


Transfer = Callable[[np.ndarray, np.ndarray], object]
"""Converts stored values (first argument) into a part of the result (second); both may be the same memory."""

_ENTRY_NBYTES = 16  # offset and length of a chunk
_CRC_NBYTES = 4
_ABSENT = 2**64 - 1
_GAP = 128 * 1024
"""Chunks with no more bytes than this between them are fetched by one request: a second one would take longer. zarr's
own setting counts where it is lower."""

_SHARDS_AT_ONCE = 8
"""Shards that are fetched at the same time: so many wait for a network, and so many are in memory, encoded."""

_Span = tuple[int, int]
"""First byte, and one past the last."""


@dataclass(frozen=True)
class Shards:
    """Reader of a sharded array: the grids of its shards and chunks, and their encoding.

    Attributes
    ----------
    path : str
        Path of the array in its store.
    shape, steps, chunks : tuple of int
        Shape of the array, of a shard, of a chunk.
    dtype : dtype
        Stored values, little-endian.
    compressor : {"blosc", "zstd"}
    """

    path: str
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    compressor: str

    @classmethod
    def from_array(cls, array: "zarr.Array[Any]") -> "Shards | None":
        """Make the reader of an array; None where only zarr knows how to read it."""
        codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
        if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
            return None
        config = codecs[0]["configuration"]
        inner, index = ([codec["name"] for codec in config[name]] for name in ("codecs", "index_codecs"))
        plain = inner in (["bytes", "blosc", "crc32c"], ["bytes", "zstd", "crc32c"]) and index == ["bytes", "crc32c"]
        orders = {
            config[name][0].get("configuration", {}).get("endian", "little") for name in ("codecs", "index_codecs")
        }
        origin = (0,) * array.ndim
        has_plain_keys = array.metadata.encode_chunk_key(origin) == "/".join(["c", *map(str, origin)])
        if not (plain and has_plain_keys) or orders != {"little"} or config.get("index_location") != "end":
            return None
        dtype = np.dtype(array.dtype).newbyteorder("<")
        return cls(array.path, array.shape, array.shards or (), tuple(config["chunk_shape"]), dtype, inner[1])

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks of a shard along each dimension."""
        return tuple(step // chunk for step, chunk in zip(self.steps, self.chunks, strict=True))

    @property
    def has_labels(self) -> bool:
        """True for masks (scene, y, x): 64 of a shard take less than a megabyte, and neighbours are soon asked for."""
        return len(self.shape) == 3

    @property
    def index_nbytes(self) -> int:
        """Size of the index at the end of a shard, bytes."""
        return prod(self.grid) * _ENTRY_NBYTES + _CRC_NBYTES

    def read(
        self, store: "CatalogueStore", positions: Sequence[np.ndarray], transfer: Transfer, dtype: np.dtype[Any]
    ) -> np.ndarray:
        """Read the values at the given positions along each dimension.

        Parameters
        ----------
        store : CatalogueStore
        positions : sequence of ndarray of int
            One for each dimension, in any order in which those of a chunk follow one another, see `follow_chunks`.
        transfer : callable
            Conversion of stored values, see `Transfer`.
        dtype : dtype
            Of the result.

        Returns
        -------
        ndarray
            In C order; if a chunk holds one band, band-major, so that each chunk is one piece of memory here too.

        Raises
        ------
        StoreError
            If an object is missing, or cannot be read.
        ValueError, RuntimeError
            If an object is not what was written.
        """
        shape = tuple(len(p) for p in positions)
        if len(shape) == 4 and self.chunks[-1] == 1:
            # (8, 1022, 1022, 13) is asked for: memory of (8, 13, 1022, 1022), seen with its bands last.
            out = np.moveaxis(store.buffers.empty((shape[0], shape[3], *shape[1:3]), dtype), 1, -1)
        else:
            out = store.buffers.empty(shape, dtype)
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
        """Read many windows; each chunk is decoded once for all of them.

        Parameters
        ----------
        store : CatalogueStore
        windows : iterable of (positions, out)
            Positions along each dimension as `read` takes them, and an array of their shape for the result.
        transfer : callable
            Conversion of stored values, see `Transfer`.

        Raises
        ------
        StoreError, ValueError, RuntimeError
            See `read`.
        """
        # Two patches of scene 7 (shards of one scene, (1, 1024, 1024, 13), in chunks of (1, 512, 512, 1)), both in its
        # upper left quarter, of which the chunk of band 3 has number 3:
        #   targets[7, 0, 0, 0][3] = [
        #       ((0:1, 100:356, 40:296, 0:1), out of the first patch, its band 3),
        #       ((0:1, 200:456, 90:346, 0:1), out of the second patch, its band 3),
        #   ]
        # The chunk is decoded once, and both parts of it are copied to their targets.
        targets: dict[tuple[int, ...], dict[int, list[Any]]] = {}
        for positions, out in windows:
            for shard, parts in self._split_by_shard(positions):
                chunks = targets.setdefault(shard, {})
                for number, (in_chunk, in_result) in parts.items():
                    chunks.setdefault(number, []).append((in_chunk, out[in_result]))

        all_of_it = tuple(slice(0, n, 1) for n in self.chunks)
        free = deque[np.ndarray]()  # memory of decoded chunks, used again: new memory costs page faults

        def decode_to_targets(chunk: tuple[np.ndarray, list[tuple[Any, np.ndarray]]]) -> None:
            encoded, parts = chunk
            (in_first, first), *others = parts
            # A whole chunk goes where it belongs without a copy, if its target is a piece of memory like it.
            is_whole = (
                isinstance(in_first[0], slice) and in_first == all_of_it
            )  # else all are arrays, see `_outer_index`
            if not others and is_whole and first.dtype == self.dtype and first.flags.c_contiguous:
                decode(encoded, self.compressor, first)
                transfer(first, first)
                return
            try:
                whole = free.pop()
            except IndexError:
                whole = np.empty(self.chunks, self.dtype)
            decode(encoded, self.compressor, whole)
            for in_chunk, target in parts:
                transfer(whole[in_chunk], target)
            free.append(whole)

        for batch in batched(targets.items(), _SHARDS_AT_ONCE, strict=False):
            encoded = self._load_all(store, dict(batch))
            side_by_side(
                decode_to_targets,
                [(encoded[shard][number], parts) for shard, chunks in batch for number, parts in chunks.items()],
            )

    def _split_by_shard(self, positions: Sequence[np.ndarray]) -> "Iterator[tuple[tuple[int, ...], _Parts]]":
        """Split positions along each dimension by shard, and within it by chunk."""
        # A window of B02-B04 of scene 7: rows 500..600, columns 0..255, bands 1..3. Shards of (1, 1024, 1024, 13) have
        # a grid of (1, 2, 2, 13) chunks of (1, 512, 512, 1):
        #   cuts           {7: ...}, {0: ..., 1: ...}, {0: ...}, {1: ..., 2: ..., 3: ...}   chunks of the whole array
        #   shards         [7], [0], [0], [0]                                               so one, (7, 0, 0, 0)
        #   within it      [7], [0, 1], [0], [1, 2, 3]                                      so six chunks
        # The one at (7, 1, 0, 2) is (0, 1, 0, 2) in the grid, number ((0 * 2 + 1) * 2 + 0) * 13 + 2 = 28, in C order:
        #   in the chunk   0:1,  0:89,    0:256, 0:1
        #   in the result  0:1, 12:101,   0:256, 1:2
        cuts = [_cut(p, chunk) for p, chunk in zip(positions, self.chunks, strict=True)]
        shards = [sorted({at // n for at in cut}) for cut, n in zip(cuts, self.grid, strict=True)]
        for shard in product(*shards):
            within = [[at for at in cut if at // n == s] for cut, n, s in zip(cuts, self.grid, shard, strict=True)]
            parts = {}
            for chunk in product(*within):
                number = 0
                for at, n in zip(chunk, self.grid, strict=True):
                    number = number * n + at % n
                in_chunk, in_result = zip(*(cut[at] for cut, at in zip(cuts, chunk, strict=True)), strict=True)
                if not all(isinstance(index, slice) for index in in_chunk):
                    in_chunk = _outer_index(in_chunk, self.chunks)
                parts[number] = in_chunk, in_result
            yield shard, parts

    def _count_filled(self, shard: tuple[int, ...]) -> int:
        """Count the chunks of a shard that hold something of the array; the last shard is seldom full."""
        return prod(
            -(-min(step, n - at * step) // chunk)
            for n, step, chunk, at in zip(self.shape, self.steps, self.chunks, shard, strict=True)
        )

    def _load_all(
        self, store: "CatalogueStore", chunks: Mapping[tuple[int, ...], Collection[int]]
    ) -> dict[tuple[int, ...], dict[int, np.ndarray]]:
        """Fetch encoded chunks, given as their numbers by shard, of several shards at the same time."""
        encoded = {}

        async def load(shard: tuple[int, ...]) -> None:
            encoded[shard] = await self._load(store, shard, chunks[shard])

        async def load_all() -> None:
            await asyncio.gather(*map(load, chunks))

        if store.is_local:
            side_by_side(lambda shard: store.run(load(shard)), chunks)
        else:
            store.run(load_all())
        return encoded

    async def _load(
        self, store: "CatalogueStore", shard: tuple[int, ...], numbers: Collection[int]
    ) -> dict[int, np.ndarray]:
        """Fetch encoded chunks of a shard: the whole shard for all of its chunks, else ranges of it."""
        key = "/".join([self.path, "c", *map(str, shard)])
        if len(numbers) == self._count_filled(shard) or (self.has_labels and not store.is_local):
            content = np.frombuffer(await (store.fetch_kept(key) if self.has_labels else store.fetch(key)), np.uint8)
            spans = self._spans(content[-self.index_nbytes :], numbers)
            return {number: content[first:end] for number, (first, end) in spans.items()}
        spans = self._spans(np.frombuffer(await store.fetch_kept(key, self.index_nbytes), np.uint8), numbers)
        ranges = _merge_spans(spans.values())
        contents = [np.frombuffer(content, np.uint8) for content in await store.fetch_ranges(key, ranges)]
        return {
            number: content[first - start : end - start]
            for number, (first, end) in spans.items()
            for (start, stop), content in zip(ranges, contents, strict=True)
            if start <= first and end <= stop
        }

    def _spans(self, index: np.ndarray, numbers: Iterable[int]) -> dict[int, _Span]:
        """Read from the index of a shard the bytes that chunks take in it, by their number."""
        if len(index) != self.index_nbytes:
            raise ValueError(f"it is shorter than the index of a shard, {self.index_nbytes} bytes")
        entries = checked(index).view("<u8").reshape(-1, 2).tolist()
        max_length = 2 * prod(self.chunks) * self.dtype.itemsize + 1024  # no codec makes more of a chunk
        for number in numbers:
            offset, length = entries[number]
            if offset == length == _ABSENT:
                raise ValueError(f"chunk {number} of it is absent")
            if length > max_length or offset >= 2**63:
                raise ValueError(f"its index says that chunk {number} takes {length} bytes from {offset} on")
        return {number: (entries[number][0], sum(entries[number])) for number in numbers}


type _Parts = dict[int, tuple[tuple[slice | np.ndarray, ...], tuple[slice, ...]]]
"""By the number of a chunk in its shard: the index of the part to read, and the index of that part in the result."""


def follow_chunks(positions: np.ndarray, step: int) -> bool:
    """Return True if the positions of each chunk of `step` follow one another, as 900, 7, 5 do in chunks of 512."""
    if (positions[1:] > positions[:-1]).all():
        return True
    numbers = positions // step
    starts = numbers[np.flatnonzero(np.diff(numbers, prepend=-1))]
    return len(np.unique(starts)) == len(starts)


def _cut(positions: np.ndarray, step: int) -> dict[int, tuple[slice | np.ndarray, slice]]:
    """Cut positions on one dimension into chunks of `step`: by chunk, the index in it and in the result."""
    # Positions 500..600 and chunks of 512:
    #   numbers 0, ... (12 times), 1, ... (89 times)
    #   starts  0, 12; ends 12, 101; numbers 0, 1
    #   chunk 0: local 500..511 -> result 0..11
    #   chunk 1: local 0..88    -> result 12..100
    if len(positions) == 1:
        number, local = divmod(int(positions[0]), step)
        return {number: (slice(local, local + 1, 1), slice(0, 1))}
    numbers = positions // step
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    numbers, ends = numbers[starts], np.append(starts[1:], len(positions))
    return {
        number: (_as_slice(positions[start:end] - number * step), slice(start, end))
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True)
    }


def _as_slice(positions: np.ndarray) -> slice | np.ndarray:
    """Turn evenly spaced positions into a slice, by which numpy copies many times faster; leave others as they are."""
    first, last = int(positions[0]), int(positions[-1])
    if len(positions) == 1:
        return slice(first, last + 1, 1)
    step = (last - first) // (len(positions) - 1)
    if not step or (np.diff(positions) != step).any():
        return positions
    end = last + (1 if step > 0 else -1)
    return slice(first, end if end >= 0 else None, step)


def _outer_index(indices: Iterable[slice | np.ndarray], chunks: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Turn one index for each dimension of a chunk into an index that numpy applies to each dimension by itself."""
    return np.ix_(*(np.arange(n)[index] for index, n in zip(indices, chunks, strict=True)))


def _merge_spans(spans: Iterable[_Span]) -> list[_Span]:
    """Sort spans, and merge those with a small gap between them."""
    import zarr

    gap = min(_GAP, zarr.config.get("array.sharding_coalesce_max_gap_bytes", _GAP))
    merged: list[_Span] = []
    for first, end in sorted(spans):
        if merged and first - merged[-1][1] <= gap:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((first, end))
    return merged


# A pool of large buffers. New memory costs page faults, about as much time as decoding into it.

_SMALLEST_POOLED = 1024 * 1024
"""Bytes of the smallest buffer in the pool: the allocator itself keeps smaller ones."""

_LARGEST_POOLED = 64 * 1024 * 1024
"""Bytes of the largest buffer in the pool: a scene of float32 takes 54 MB."""


class BufferPool:
    """A pool of large buffers that are used again, at most one for each core: so many blocks are decoded at a time."""

    def __init__(self) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=CORES)  # its methods need no lock, which `__del__` may not take

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an uninitialised, C-contiguous array.

        A large one takes its memory from the pool and gives it back when neither the array nor a view of it is left.
        """
        nbytes = prod(shape) * dtype.itemsize
        if not _SMALLEST_POOLED <= nbytes <= _LARGEST_POOLED:
            return np.empty(shape, dtype)
        memory = self._take(nbytes)
        lent = _LentBuffer(np.empty(nbytes, np.uint8) if memory is None else memory, self._free)
        return np.frombuffer(lent, dtype).reshape(shape)

    def _take(self, nbytes: int) -> np.ndarray | None:
        """Take a free buffer of exactly this size out of the pool; None if there is none."""
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
    """Owner of a buffer of the pool: an array and all views of it refer to it, by https://peps.python.org/pep-0688/."""

    def __init__(self, memory: np.ndarray, free: deque[np.ndarray]) -> None:
        self._memory, self._free = memory, free

    def __buffer__(self, flags: int) -> memoryview:
        return self._memory.data

    def __del__(self) -> None:
        self._free.append(self._memory)


# Read arrays of one chunk, such as coordinates: there are dozens, and zarr takes some milliseconds for each.
#
# Texts are stored as https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/vlen-utf8 describes.

_TEXT_NBYTES = 1024
"""Upper limit for the bytes of one text: the longest of a catalogue has some 60."""


@dataclass(frozen=True)
class OneChunk:
    """Reader of an array of one dimension whose values are in one object.

    Attributes
    ----------
    key : str
        Key of the object in its store.
    size : int
        Number of values.
    dtype : dtype
        Of the values; NumPy's StringDType for texts.
    """

    key: str
    size: int
    dtype: np.dtype[Any]

    @classmethod
    def from_array(cls, array: "zarr.Array[Any]") -> "OneChunk | None":
        """Make the reader of an array; None if the array has several chunks, or only zarr knows how to read it."""
        codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
        if array.ndim != 1 or not array.shape[0] or array.shards or array.chunks != array.shape or not codecs:
            return None
        first = "vlen-utf8" if array.dtype.kind == "T" else "bytes"
        endian = codecs[0].get("configuration", {}).get("endian", "little")
        has_plain_key = array.metadata.encode_chunk_key((0,)) == "c/0"
        if [codec["name"] for codec in codecs] != [first, "zstd", "crc32c"] or endian != "little" or not has_plain_key:
            return None
        return cls(f"{array.path}/c/0", array.shape[0], np.dtype(array.dtype))

    def read(self, store: "CatalogueStore") -> np.ndarray:
        """Read all values.

        Raises
        ------
        StoreError
            If the object is missing, or cannot be read.
        ValueError, RuntimeError
            If the object is not what was written.
        """
        encoded = np.frombuffer(store.in_memory(self.key) or store.run(store.fetch(self.key)), np.uint8)
        if self.dtype.kind != "T":
            values = np.empty(self.size, self.dtype.newbyteorder("<"))
            decode(encoded, "zstd", values)
            return values.astype(self.dtype, copy=False)
        texts = decode_text(encoded, self.size * _TEXT_NBYTES)
        if len(texts) != self.size:
            raise ValueError(f"it holds {len(texts)} texts; expected {self.size}")
        return np.array(texts, self.dtype)
