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
from zarr.core.sync import sync

from s2cmc._redact import redacted
from s2cmc.errors import DamagedError, StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import filesystem_of, fsspec_options, scheme_of, unreadable
from s2cmc.store import (
    BUNDLE_ATTRIBUTE,
    DIGESTS_ATTRIBUTE,
    ROOT,
    CatalogueStore,
    Place,
    Shards,
    as_stored,
    compact_json,
    digest_of,
    read_once,
    rebound,
    renewed,
    unpack_bundle,
    unpack_digests,
)

from ..targets import Bucket, Folder, is_bucket

logger = logging.getLogger(__name__)

_SIDE_BY_SIDE = 16


def check_objects(group: zarr.Group) -> Iterator[str]:
    """One line for every object that is missing or foreign, or differs from its copy in the root or in the bundle.

    A web server does not list its objects, and a bucket may forbid it; there, what is missing shows when it is read.
    """
    objects = group.store
    if not isinstance(objects, CatalogueStore):
        raise TypeError(f"expected a group of open_group, got one of {objects!r}")
    expected = set(expected_objects(group))
    if (found := list_objects(objects.place)) is not None:
        for key in sorted(expected - found):
            yield f"missing object: {key}"
        for key in sorted(found - expected):
            if not key.startswith(dirname(JOURNAL_PLAN)):
                yield f"foreign object: {key}"
        expected &= found
    yield from _check_copies(CatalogueStore(objects.place), group, expected)


def shard_digests(group: zarr.Group) -> dict[str, str] | None:
    """Digests of the shards of a store by key; None where it has none, or what it has is damaged."""
    objects, name = group.store, group.attrs.get(DIGESTS_ATTRIBUTE)
    if not isinstance(objects, CatalogueStore) or name is None:
        return None
    try:
        return unpack_digests(bytes(sync(objects.fetch(str(name)))), group.attrs, f"{objects.place}/{name}")
    except StoreError:
        return None


def list_objects(place: Place) -> set[str] | None:
    """Keys of all objects; None where they cannot be listed."""
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
    """Metadata of each array against the consolidated ones, objects in the bundle against those beside it, digests."""
    packed = [str(group.attrs[name]) for name in (BUNDLE_ATTRIBUTE, DIGESTS_ATTRIBUTE) if name in group.attrs]
    first = sync(_contents(objects, [ROOT, *(name for name in packed if name in keys)]))
    bundled: dict[str, bytes] = {}
    for name, content in first.items():
        try:
            if isinstance(content, StoreError):
                raise content
            if name == group.attrs.get(BUNDLE_ATTRIBUTE):
                bundled = unpack_bundle(content, group.attrs, f"{objects}/{name}")
            elif name != ROOT:
                unpack_digests(content, group.attrs, f"{objects}/{name}")
        except StoreError as error:
            yield str(error)
    if isinstance(first[ROOT], StoreError):
        return
    metadata = json.loads(first[ROOT])["consolidated_metadata"]["metadata"]
    copies = {f"{name}/{ROOT}": value for name, value in metadata.items()}
    for key, content in sync(_contents(objects, sorted(keys & (copies.keys() | bundled.keys())))).items():
        if isinstance(content, StoreError):
            yield str(content)
        elif key in bundled and content != bundled[key]:
            yield f"{key} is not what {group.attrs[BUNDLE_ATTRIBUTE]} has"
        elif key in copies and content != compact_json(copies[key]):
            yield f"{key} is not what the consolidated metadata say"


async def _contents(objects: CatalogueStore, keys: Sequence[str]) -> dict[str, Any]:
    """Content of objects by key, fetched side by side; the error where one cannot be read."""
    limit = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def content(key: str) -> bytes | StoreError:
        async with limit:
            try:
                return bytes(await objects.fetch(key))
            except StoreError as error:
                return error

    return dict(zip(keys, await asyncio.gather(*map(content, keys)), strict=True))


def expected_objects(group: zarr.Group) -> Iterator[str]:
    """Keys of all objects that a store must have."""
    yield ROOT
    for name in (BUNDLE_ATTRIBUTE, DIGESTS_ATTRIBUTE):
        if name in group.attrs:
            yield str(group.attrs[name])
    for name, array in group.arrays():
        yield f"{name}/{ROOT}"
        shape = array.shards or array.chunks
        for index in np.ndindex(*(ceil(n / step) for n, step in zip(array.shape, shape, strict=True))):
            yield "/".join([name, "c", *map(str, index)])


# One shard of a store: whether it is whole, and the one that was written there.


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
        See `s2cmc.store.digest_of`. Where the store has recorded another one, it is whole but not the one written.
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
