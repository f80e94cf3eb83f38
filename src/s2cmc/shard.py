"""Read shards: object, index and chunks, decoded side by side straight to where they belong.

zarr reads the same, some milliseconds slower for each call, and copies each chunk once more. The format is that of the
codec ``sharding_indexed``, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.chunkcodec import checked, decode
from s2cmc.parallel import side_by_side
from s2cmc.planar import Planar

if TYPE_CHECKING:
    import zarr

    from s2cmc.objects import CatalogueStore

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
