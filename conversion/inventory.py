"""The objects of a store: those that must be there, those that are, and whether copies of the same thing agree."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from math import ceil
from posixpath import dirname
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync

from s2cmc import bundle, digests
from s2cmc.access import scheme_of
from s2cmc.errors import StoreError
from s2cmc.filesystem import filesystem_of, unreadable
from s2cmc.metadata import ROOT, compact
from s2cmc.objects import CatalogueStore, Place
from s2cmc.redact import redacted
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.transport import fsspec_options

from .bucket import Bucket, is_bucket
from .folder import Folder

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
    objects, name = group.store, group.attrs.get(digests.NAME_ATTRIBUTE)
    if not isinstance(objects, CatalogueStore) or name is None:
        return None
    try:
        return digests.unpack_digests(bytes(sync(objects.fetch(str(name)))), group.attrs, f"{objects.place}/{name}")
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
    packed = {str(group.attrs[of.NAME_ATTRIBUTE]): of for of in (bundle, digests) if of.NAME_ATTRIBUTE in group.attrs}
    first = sync(_contents(objects, [ROOT, *(name for name in packed if name in keys)]))
    bundled: dict[str, bytes] = {}
    for name, content in first.items():
        try:
            if isinstance(content, StoreError):
                raise content
            if name == group.attrs.get(bundle.NAME_ATTRIBUTE):
                bundled = bundle.unpack(content, group.attrs, f"{objects}/{name}")
            elif name != ROOT:
                digests.unpack_digests(content, group.attrs, f"{objects}/{name}")
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
            yield f"{key} is not what {group.attrs[bundle.NAME_ATTRIBUTE]} has"
        elif key in copies and content != compact(copies[key]):
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
    for name in (bundle.NAME_ATTRIBUTE, digests.NAME_ATTRIBUTE):
        if name in group.attrs:
            yield str(group.attrs[name])
    for name, array in group.arrays():
        yield f"{name}/{ROOT}"
        shape = array.shards or array.chunks
        for index in np.ndindex(*(ceil(n / step) for n, step in zip(array.shape, shape, strict=True))):
            yield "/".join([name, "c", *map(str, index)])
