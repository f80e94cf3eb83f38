"""One shard of a store: whether it is whole, and the one that was written there."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync

from s2cmc.digests import digest_of
from s2cmc.errors import DamagedError, StoreError
from s2cmc.objects import CatalogueStore
from s2cmc.reading import as_stored, read_once, rebound, renewed
from s2cmc.shard import Shards


def shard_spans(array: "zarr.Array[Any]") -> list[tuple[int, int]]:
    """First and one past the last scene of every shard."""
    step = (array.shards or array.chunks)[0]
    return [(first, min(first + step, array.shape[0])) for first in range(0, array.shape[0], step)]


def shard_key(array: "zarr.Array[Any]", first: int) -> str:
    """Object of the shard that begins with a scene."""
    step = (array.shards or array.chunks)[0]
    return "/".join([array.path, "c", str(first // step), *["0"] * (array.ndim - 1)])


@dataclass(frozen=True)
class WholeShard:
    """What a shard of which every checksum holds has in it.

    Attributes
    ----------
    pixels : ndarray (scene, ...)
        As they are stored.
    digest : str
        See `s2cmc.digests`. Where the store has recorded another one, it is whole and yet not the one that was written.
    """

    pixels: np.ndarray
    digest: str


def read_shard(array: "zarr.Array[Any]", first: int, last: int) -> WholeShard:
    """Fetch a shard, all of it; what is damaged is fetched once more, past all that is kept.

    Parameters
    ----------
    array : zarr.Array
        Of a `CatalogueStore`.
    first, last : int
        One of `shard_spans`.

    Raises
    ------
    StoreError
        If it is missing, cannot be read, or is damaged (`DamagedError`); the message names the object.
    """
    try:
        return _read(array, first, last)
    except DamagedError:
        return _read(renewed(array), first, last)


def unreadable_scenes(array: "zarr.Array[Any]", first: int, last: int) -> list[int]:
    """Scenes of a shard whose chunks cannot be read."""
    chunks = [range(i, min(i + array.chunks[0], last)) for i in range(first, last, array.chunks[0])]
    return [scene for chunk in chunks if not _is_whole(array, chunk.start, chunk.stop) for scene in chunk]


def _read(array: "zarr.Array[Any]", first: int, last: int) -> WholeShard:
    store, key = array.store, shard_key(array, first)
    if not isinstance(store, CatalogueStore):
        raise TypeError(f"expected an array of a CatalogueStore, got one of {store!r}")
    content = bytes(sync(store.fetch(key)))
    pixels = _pixels(rebound(array, store.holding({key: content})), first, last)
    chunks = prod(n // m for n, m in zip(array.shards or array.chunks, array.chunks, strict=True))
    return WholeShard(pixels, digest_of(content, chunks))


def _pixels(array: "zarr.Array[Any]", first: int, last: int) -> np.ndarray:
    return read_once(array, Shards.of(array), slice(first, last), as_stored, np.dtype(array.dtype))


def _is_whole(array: "zarr.Array[Any]", first: int, last: int) -> bool:
    try:
        _pixels(array, first, last)
    except StoreError:
        return False
    return True
