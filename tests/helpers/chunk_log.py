"""A store that notes which chunks of sharded arrays are fetched, with the number of times."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.storage import LocalStore, LoggingStore


class ChunkLog(LoggingStore):  # type: ignore[type-arg]
    """A local store; `fetched` counts the chunks of one array by their number in C order over the whole array."""

    def __init__(self, path: Path, array: str) -> None:
        super().__init__(LocalStore(path, read_only=True))
        self.array, self.fetched = array, Counter[int]()
        stored = zarr.open_array(path / array, mode="r")
        self.grid = tuple(math.ceil(n / step) for n, step in zip(stored.shape, stored.chunks, strict=True))
        self._in_shard = tuple(step // n for step, n in zip(stored.shards, stored.chunks, strict=True))
        self._path = path

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Note the chunks of the range, if it is one of a shard."""
        if key.startswith(f"{self.array}/c/"):
            self.fetched.update(self._chunks(key, byte_range))
        return await super().get(key, prototype, byte_range)

    def _chunks(self, key: str, byte_range: Any) -> list[int]:
        shard = (self._path / key).read_bytes()
        index = np.frombuffer(shard[-16 * math.prod(self._in_shard) - 4 : -4], "<u8").reshape(-1, 2)
        if byte_range is None:
            first, end = 0, len(shard)
        elif isinstance(byte_range, RangeByteRequest):
            first, end = byte_range.start, byte_range.end
        else:  # the index at the end
            return []
        at = [int(part) for part in key.split("/")[2:]]
        found = []
        for number, (offset, length) in enumerate(index.tolist()):
            if offset < end and first < offset + length:
                within = np.unravel_index(number, self._in_shard)
                place = [s * n + int(w) for s, n, w in zip(at, self._in_shard, within, strict=True)]
                if all(p < n for p, n in zip(place, self.grid, strict=True)):
                    found.append(int(np.ravel_multi_index(place, self.grid)))
        return found


def chunk_numbers(path: Path, array: str) -> np.ndarray:
    """Return for each value of an array the number of the chunk that holds it, in C order over the whole array."""
    stored = zarr.open_array(path / array, mode="r")
    grid = [math.ceil(n / step) for n, step in zip(stored.shape, stored.chunks, strict=True)]
    places = np.ix_(*(np.arange(n) // step for n, step in zip(stored.shape, stored.chunks, strict=True)))
    return np.ravel_multi_index(np.broadcast_arrays(*places), grid)
