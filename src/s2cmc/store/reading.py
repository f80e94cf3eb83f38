"""Read a part of an array of a store: its exact values, or an error that names scenes and objects."""

import re
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.errors import DamagedError, MissingObjectError, StoreError
from s2cmc.storage import first_error
from s2cmc.store.shards import OneChunk, Shards, Transfer, follow_chunks

if TYPE_CHECKING:
    import zarr

    from s2cmc.store.objects import CatalogueStore

NO_FILL: Any = {"read_missing_chunks": False}
"""Configuration of an array with which zarr raises an error for an absent chunk, instead of giving fill values."""

ADVICE = "`s2cmc verify` lists all that is hit, and `s2cmc repair` makes it anew from the release"
"""Advice on a damaged store, for the end of a message."""

_SCENES = "scene"
_SHOWN = 3  # scenes or objects in a message
_DAMAGE = (ValueError, RuntimeError)
"""Errors of zarr and its codecs where bytes are not what was written."""


def read_array(array: "zarr.Array[Any]", selection: Any) -> np.ndarray:
    """Read values of an array as they are stored.

    Parameters
    ----------
    array : zarr.Array
    selection : index or tuple of indices
        Orthogonal: each index selects along its own dimension.

    Raises
    ------
    StoreError
        If an object is missing, cannot be read, or is damaged (`DamagedError`); the message names it.
    """
    return read_as(array, Shards.from_array(array), selection, as_stored, np.dtype(array.dtype))


def as_stored(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy values into `out` as they are, and return `out`: the transfer of an array that is not converted."""
    if out is not values:
        np.copyto(out, values)
    return out


def read_as(
    array: "zarr.Array[Any]", shards: "Shards | None", selection: Any, transfer: Transfer, dtype: np.dtype[Any]
) -> np.ndarray:
    """Read values of an array, and convert them.

    Bytes that do not decode are read once more, without caches, because the transport may have damaged them. If they
    still do not decode, the error names the scenes that are affected.

    Parameters
    ----------
    array : zarr.Array
    shards : Shards, optional
        Reader of this array; without it zarr reads the array.
    selection : index or tuple of indices
        Orthogonal: each index selects along its own dimension.
    transfer : callable
        Conversion, called with stored values and with the part of the result where they belong.
    dtype : dtype
        Of the result.

    Raises
    ------
    StoreError
        See `read_array`.
    """
    try:
        try:
            return read_once(array, shards, selection, transfer, dtype)
        except DamagedError:
            return read_once(without_cache(array), shards, selection, transfer, dtype)
    except (DamagedError, MissingObjectError) as error:
        raise _with_scene_names(array, selection, error) from error


def read_once(
    array: "zarr.Array[Any]", shards: "Shards | None", selection: Any, transfer: Transfer, dtype: np.dtype[Any]
) -> np.ndarray:
    """Read values of an array in a single attempt; see `read_as`.

    Raises
    ------
    StoreError
        See `read_array`; the message names neither scenes nor a remedy.
    """
    try:
        return _read(array, shards, selection, transfer, dtype)
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not isinstance(first_error(error), _DAMAGE) or isinstance(first_error(error), StoreError):
            raise first_error(error) from error.__cause__
        # After the first line, zarr advises to read an absent chunk as fill values.
        reason = str(first_error(error)).partition("\n")[0]
        raise DamagedError(f"{_objects(array, selection)} is damaged: {reason}") from error


def _read(
    array: "zarr.Array[Any]", shards: "Shards | None", selection: Any, transfer: Transfer, dtype: np.dtype[Any]
) -> np.ndarray:
    from s2cmc.store.objects import CatalogueStore

    parts = selection if isinstance(selection, tuple) else (selection,)
    if len(parts) > array.ndim or any(part is Ellipsis for part in parts):
        raise IndexError(f"{selection!r} is not at most one index for each of {array.ndim} dimensions")
    parts += (slice(None),) * (array.ndim - len(parts))
    store = array.store if isinstance(array.store, CatalogueStore) else None
    if shards is None or store is None:
        chunk = OneChunk.from_array(array)
        whole = chunk.read(store) if chunk and store else array.with_config(NO_FILL).oindex
        values = np.asarray(whole[parts], array.dtype)
        converted = np.empty(values.shape, dtype)
        transfer(values, converted)
        return converted
    # Where the positions go to and fro between chunks, each is read once, and then put into the order of the selection:
    #   requested [5, 2, 5], read at [2, 5], returned from there at [1, 0, 1]
    requested = [np.atleast_1d(np.arange(n)[part]) for n, part in zip(array.shape, parts, strict=True)]
    to_read = [p if follow_chunks(p, n) else np.unique(p) for p, n in zip(requested, shards.chunks, strict=True)]
    values = shards.read(store, to_read, transfer, dtype)
    for axis, (positions, order) in enumerate(zip(requested, to_read, strict=True)):
        if positions is not order:
            # Indexed on one axis at a time, memory stays band-major.
            values = values[(slice(None),) * axis + (np.searchsorted(order, positions),)]
    return values[tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in parts)]


def rebound(array: "zarr.Array[Any]", store: "CatalogueStore") -> "zarr.Array[Any]":
    """Return a copy of an array that reads from another store; nothing is fetched."""
    from zarr import Array, AsyncArray
    from zarr.storage import StorePath

    config = {"read_missing_chunks": False}
    path = StorePath(store, array.path)
    return Array(AsyncArray(array.metadata, path, config))  # type: ignore[call-overload]  # of either format


def without_cache(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    """Return a copy of an array that reads past all caches; an array of another kind of store as it is."""
    from s2cmc.store.objects import CatalogueStore

    return rebound(array, array.store.without_cache()) if isinstance(array.store, CatalogueStore) else array


def _objects(array: "zarr.Array[Any]", selection: Any) -> str:
    """List for a message the URLs of the objects that hold a selection of scenes."""
    keys = _keys(array, selection[0] if isinstance(selection, tuple) else selection)
    more = len(keys) - _SHOWN
    shown = ", ".join(f"{array.store}/{key}" for key in keys[:_SHOWN])
    return shown + (f" or one of {more} more" if more > 0 else "")


def _keys(array: "zarr.Array[Any]", scenes: Any) -> list[str]:
    """List the keys of the objects that hold the given scenes."""
    steps = array.shards or array.chunks
    positions = np.atleast_1d(np.arange(array.shape[0])[scenes])
    counts = [ceil(n / step) for n, step in zip(array.shape[1:], steps[1:], strict=True)]
    return [
        "/".join([array.path, "c", str(shard), *map(str, rest)])
        for shard in np.unique(positions // steps[0]).tolist()
        for rest in np.ndindex(*counts)
    ]


def _with_scene_names(array: "zarr.Array[Any]", selection: Any, error: StoreError) -> StoreError:
    """Make an error that names the affected scenes and the remedy: those of the first damaged object of several."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    step = (array.shards or array.chunks)[0]
    scenes = np.atleast_1d(np.arange(array.shape[0])[parts[0]])
    shards = np.unique(scenes // step).tolist()
    if isinstance(error, MissingObjectError):
        missing = re.match(re.escape(f"{array.store}/{array.path}/c/") + r"(\d+)", str(error))
        shards = [int(missing[1])] if missing else shards
    for shard in shards:
        affected = scenes[scenes // step == shard]
        try:
            if len(shards) > 1:
                dtype = np.dtype(array.dtype)
                read_once(without_cache(array), Shards.from_array(array), (affected, *parts[1:]), as_stored, dtype)
                continue
        except DamagedError as narrower:
            error = narrower
        return type(error)(f"{_scene_names(array, affected)}{error}; {ADVICE}")
    return type(error)(f"{error}; {ADVICE}")


def _scene_names(array: "zarr.Array[Any]", positions: np.ndarray) -> str:
    """List scenes by name, for the start of a message; empty for a coordinate, or where names cannot be read either."""
    import zarr

    if array.ndim == 1:
        return ""
    try:
        coordinate = zarr.open_array(array.store, path=_SCENES, mode="r", zarr_format=3)
        names = read_once(coordinate, None, positions, as_stored, np.dtype(coordinate.dtype)).tolist()
    except (StoreError, IndexError, KeyError, TypeError, ValueError):
        return ""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") + ": "
