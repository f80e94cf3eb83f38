"""The objects of a store: those that must be there, those that are, and whether the metadata agree."""

import json
from collections.abc import Iterator
from math import ceil
from posixpath import dirname

import numpy as np
import zarr

from s2cmc.filesystem import filesystem_of, store_options
from s2cmc.schema import JOURNAL_PLAN


def check_objects(store: str, group: zarr.Group) -> Iterator[str]:
    """One line for every object that is missing or foreign, and for metadata that contradict the consolidated ones.

    A web server does not list its objects; there, what is missing shows when it is read.
    """
    if store.startswith(("http://", "https://")):
        return
    filesystem, root = filesystem_of(store, store_options(store))
    found = {path.removeprefix(root).lstrip("/") for path in filesystem.find(root)}
    expected = set(_expected_objects(group))
    for key in sorted(expected - found):
        yield f"missing object: {key}"
    for key in sorted(found - expected):
        if not key.startswith(dirname(JOURNAL_PLAN)):
            yield f"foreign object: {key}"
    consolidated = json.loads(filesystem.cat_file(f"{root}/zarr.json"))["consolidated_metadata"]["metadata"]
    for key in sorted(found & {f"{name}/zarr.json" for name in consolidated}):
        try:
            own = json.loads(filesystem.cat_file(f"{root}/{key}"))
        except ValueError:
            own = None
        if own != consolidated[dirname(key)]:
            yield f"{key} is not what the consolidated metadata say"


def _expected_objects(group: zarr.Group) -> Iterator[str]:
    yield "zarr.json"
    for name, array in group.arrays():
        yield f"{name}/zarr.json"
        shape = array.shards or array.chunks
        for index in np.ndindex(*(ceil(n / step) for n, step in zip(array.shape, shape, strict=True))):
            yield "/".join([name, "c", *map(str, index)])
