"""Read a part of an array of a store: right, or an error that names its objects."""

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.errors import DamagedError, StoreError
from s2cmc.faults import leaf

if TYPE_CHECKING:
    import zarr
    from zarr.core.array_spec import ArrayConfigParams

    from s2cmc.objects import CatalogueStore

NO_FILL: "ArrayConfigParams" = {"read_missing_chunks": False}
"""An absent chunk is an error and no fill value."""

_SHOWN = 3
_DAMAGE = (ValueError, RuntimeError)
"""What zarr and its codecs raise where bytes are not what was written."""


def read_array(array: "zarr.Array[Any]", selection: Any) -> np.ndarray:
    """Values of an array, all of them as they were written.

    What does not decode is read once more, past the cache: it may have been damaged on its way.

    Parameters
    ----------
    array : zarr.Array
    selection : index or tuple of indices
        Orthogonal.

    Raises
    ------
    StoreError
        If an object is missing, cannot be read, or is damaged (`DamagedError`); the message names it.
    """
    strict = array.with_config(NO_FILL)
    held = _with_last_shard(strict, selection)
    try:
        return np.asarray(held.oindex[selection])
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not _is_damage(error):
            raise leaf(error) from error.__cause__
    held = _with_last_shard(_renewed(strict), selection)
    try:
        return np.asarray(held.oindex[selection])
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not _is_damage(error):
            raise leaf(error) from error.__cause__
        # What follows the first line is zarr's advice to read an absent chunk as fill values.
        reason = str(leaf(error)).partition("\n")[0]
        raise DamagedError(f"{_objects(array, selection)} is damaged: {reason}; see s2cmc verify") from error


def _with_last_shard(array: "zarr.Array[Any]", selection: Any) -> "zarr.Array[Any]":
    """The array, with its last shard here already if all scenes in that are wanted and no others.

    zarr reads a shard by one request only if scenes fill it, and the last one seldom is full.
    """
    from zarr.core.sync import sync

    from s2cmc.objects import CatalogueStore

    scenes, *others = selection if isinstance(selection, tuple) else (selection,)
    step = array.shards[0] if array.shards else 1
    full = array.shape[0] // step * step
    wanted = np.unique(np.arange(array.shape[0])[scenes])
    whole = all(
        isinstance(part, slice) and range(n)[part] == range(n) for n, part in zip(array.shape[1:], others, strict=False)
    )
    if full == array.shape[0] or not whole or not np.array_equal(wanted, np.arange(full, array.shape[0])):
        return array
    if not isinstance(array.store, CatalogueStore):
        return array
    (key,) = _keys(array, scenes)
    return _rebound(array, array.store.holding({key: bytes(sync(array.store.fetch(key)))}))


def _rebound(array: "zarr.Array[Any]", store: "CatalogueStore") -> "zarr.Array[Any]":
    """The same array of another store; nothing is fetched."""
    from zarr import Array, AsyncArray
    from zarr.storage import StorePath

    config = {"read_missing_chunks": False}
    path = StorePath(store, array.path)
    return Array(AsyncArray(array.metadata, path, config))  # type: ignore[call-overload]  # of either format


def _is_damage(error: BaseException) -> bool:
    return isinstance(leaf(error), _DAMAGE) and not isinstance(leaf(error), StoreError)


def _renewed(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    from s2cmc.objects import CatalogueStore

    return _rebound(array, array.store.renewed()) if isinstance(array.store, CatalogueStore) else array


def _objects(array: "zarr.Array[Any]", selection: Any) -> str:
    """URLs of the objects that hold a selection of scenes."""
    keys = _keys(array, selection[0] if isinstance(selection, tuple) else selection)
    more = len(keys) - _SHOWN
    shown = ", ".join(f"{array.store}/{key}" for key in keys[:_SHOWN])
    return shown + (f" or one of {more} more" if more > 0 else "")


def _keys(array: "zarr.Array[Any]", scenes: Any) -> list[str]:
    """Objects that hold some scenes."""
    steps = array.shards or array.chunks
    wanted = np.atleast_1d(np.arange(array.shape[0])[scenes])
    counts = [ceil(n / step) for n, step in zip(array.shape[1:], steps[1:], strict=True)]
    return [
        "/".join([array.path, "c", str(shard), *map(str, rest)])
        for shard in np.unique(wanted // steps[0]).tolist()
        for rest in np.ndindex(*counts)
    ]
