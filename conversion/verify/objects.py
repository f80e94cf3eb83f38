"""Objects of a store: expected, present, consistent with their copies; whole shards with their digests."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod
from posixpath import dirname
from typing import Any

import numpy as np
import zarr

from s2cmc._compat import run_in_loop
from s2cmc._redact import redacted
from s2cmc.errors import DamagedError, StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import filesystem_of, fsspec_options, scheme_of, unreadable
from s2cmc.store import (
    BUNDLE,
    DIGESTS,
    ROOT,
    CatalogueStore,
    Place,
    Shards,
    as_stored,
    compact_json,
    digest_of,
    read_once,
    rebound,
    unpack_bundle,
    unpack_digests,
    without_cache,
)

from ..targets import Bucket, Folder, is_bucket

logger = logging.getLogger(__name__)

_SIDE_BY_SIDE = 16


def check_objects(group: zarr.Group) -> Iterator[str]:
    """Yield one line for every object that is missing or foreign, or differs from its copy in the root or the bundle.

    A web server does not list its objects, and a bucket may forbid it; a missing object then shows when it is read.
    """
    objects = _store_of(group)
    expected = set(expected_objects(group))
    if (present := list_objects(objects.place)) is not None:
        for key in sorted(expected - present):
            yield f"missing object: {key}"
        for key in sorted(present - expected):
            if not key.startswith(dirname(JOURNAL_PLAN)):
                yield f"foreign object: {key}"
        expected &= present
    yield from _check_copies(CatalogueStore(objects.place), group, expected)


def shard_digests(group: zarr.Group) -> dict[str, str] | None:
    """Return the digests of the shards of a store by key; None if they are missing or damaged."""
    objects = _store_of(group)
    try:
        return unpack_digests(bytes(run_in_loop(objects.fetch(DIGESTS))), group.attrs, f"{objects.place}/{DIGESTS}")
    except StoreError:  # `check_objects` reports it
        return None


def _store_of(group: zarr.Group) -> CatalogueStore:
    if not isinstance(group.store, CatalogueStore):
        raise TypeError(f"expected a group of open_group, got one of {group.store!r}")
    return group.store


def list_objects(place: Place) -> set[str] | None:
    """Return the keys of all objects; None if they cannot be listed."""
    try:
        if is_bucket(place.url) and place.access.backend == "obstore":
            return set(Bucket(place.url, place.access).sizes())
        if not scheme_of(place.url):
            return set(Folder(place.url).sizes())
        if scheme_of(place.url).startswith("http"):
            return None
        filesystem, root = filesystem_of(place.url, fsspec_options(place.url, place.access))
        return {path.removeprefix(root).lstrip("/") for path in filesystem.find(root)}
    except unreadable(StoreError) as error:
        logger.warning("%s cannot be listed, so that foreign objects are not found: %s", place, redacted(str(error)))
        return None


def _check_copies(objects: CatalogueStore, group: zarr.Group, keys: set[str]) -> Iterator[str]:
    """Compare metadata and coordinates with their copies in the root and the bundle; check bundle and digests."""
    first = run_in_loop(_fetch_all(objects, [ROOT, *(name for name in (BUNDLE, DIGESTS) if name in keys)]))
    bundled: dict[str, bytes] = {}
    for name, content in first.items():
        try:
            if isinstance(content, StoreError):
                raise content
            if name == BUNDLE:
                bundled = unpack_bundle(content, group.attrs, f"{objects}/{name}")
            elif name != ROOT:
                unpack_digests(content, group.attrs, f"{objects}/{name}")
        except StoreError as error:
            yield str(error)
    if isinstance(first[ROOT], StoreError):
        return
    metadata = json.loads(first[ROOT])["consolidated_metadata"]["metadata"]
    copies = {f"{name}/{ROOT}": value for name, value in metadata.items()}
    for key, content in run_in_loop(_fetch_all(objects, sorted(keys & (copies.keys() | bundled.keys())))).items():
        if isinstance(content, StoreError):
            yield str(content)
        elif key in bundled and content != bundled[key]:
            yield f"{key} is not what {BUNDLE} has"
        elif key in copies and content != compact_json(copies[key]):
            yield f"{key} is not what the consolidated metadata say"


async def _fetch_all(objects: CatalogueStore, keys: Sequence[str]) -> dict[str, Any]:
    """Fetch objects side by side; return by key the content, or the error if it cannot be read."""
    limit = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def fetch(key: str) -> bytes | StoreError:
        async with limit:
            try:
                return bytes(await objects.fetch(key))
            except StoreError as error:
                return error

    return dict(zip(keys, await asyncio.gather(*map(fetch, keys)), strict=True))


def expected_objects(group: zarr.Group) -> Iterator[str]:
    """Yield the keys of all objects that a store must have.

    For ``mask`` with 130 scenes in shards of 64: ``mask/zarr.json``, ``mask/c/0/0/0``, ``mask/c/1/0/0`` and
    ``mask/c/2/0/0``.
    """
    yield from (ROOT, BUNDLE, DIGESTS)
    for name, array in group.arrays():
        yield f"{name}/{ROOT}"
        shape = array.shards or array.chunks
        for index in np.ndindex(*(ceil(n / step) for n, step in zip(array.shape, shape, strict=True))):
            yield "/".join([name, "c", *map(str, index)])


def shard_spans(array: "zarr.Array[Any]") -> list[tuple[int, int]]:
    """Return first and one past the last scene of every shard: (0, 64), (64, 128), (128, 130) for 130 by 64."""
    step = (array.shards or array.chunks)[0]
    return [(first, min(first + step, array.shape[0])) for first in range(0, array.shape[0], step)]


def shard_key(array: "zarr.Array[Any]", first: int) -> str:
    """Return the key of the shard that begins with scene `first`: for 128 in shards of 64, ``mask/c/2/0/0``."""
    step = (array.shards or array.chunks)[0]
    return "/".join([array.path, "c", str(first // step), *["0"] * (array.ndim - 1)])


@dataclass(frozen=True)
class WholeShard:
    """Content of a shard of which every checksum holds.

    Attributes
    ----------
    pixels : ndarray (scene, ...)
        Stored values, not decoded.
    digest : str
        See `s2cmc.store.digest_of`. If the store has recorded another one, the shard is whole but is not the one that
        was written.
    """

    pixels: np.ndarray
    digest: str


def read_shard(array: "zarr.Array[Any]", first: int, last: int) -> WholeShard:
    """Fetch a whole shard; a damaged one is fetched again, without caches.

    Parameters
    ----------
    array : zarr.Array
        Array of a `CatalogueStore`.
    first, last : int
        One of `shard_spans`.

    Raises
    ------
    StoreError
        If the shard is missing, cannot be read, or is damaged (`DamagedError`); the message names the object.
    """
    try:
        return _read_shard(array, first, last)
    except DamagedError:
        return _read_shard(without_cache(array), first, last)


def unreadable_scenes(array: "zarr.Array[Any]", first: int, last: int) -> list[int]:
    """Return the scenes of a shard whose chunks cannot be read; no chunk holds two scenes."""
    return [scene for scene in range(first, last) if not _is_whole(array, scene)]


def _read_shard(array: "zarr.Array[Any]", first: int, last: int) -> WholeShard:
    store, key = array.store, shard_key(array, first)
    if not isinstance(store, CatalogueStore):
        raise TypeError(f"expected an array of a CatalogueStore, got one of {store!r}")
    content = bytes(run_in_loop(store.fetch(key)))
    pixels = _read_pixels(rebound(array, store.with_objects({key: content})), first, last)
    chunks = prod(n // m for n, m in zip(array.shards or array.chunks, array.chunks, strict=True))
    return WholeShard(pixels, digest_of(content, chunks))


def _read_pixels(array: "zarr.Array[Any]", first: int, last: int) -> np.ndarray:
    return read_once(array, Shards.from_array(array), slice(first, last), as_stored, np.dtype(array.dtype))


def _is_whole(array: "zarr.Array[Any]", scene: int) -> bool:
    try:
        _read_pixels(array, scene, scene + 1)
    except StoreError:
        return False
    return True
