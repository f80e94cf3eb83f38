"""Read a part of an array of a store: right, or an error that names its objects."""

import re
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.errors import DamagedError, MissingObjectError, StoreError
from s2cmc.storage import first_error
from s2cmc.store.shards import OneChunk, Shards, Transfer

if TYPE_CHECKING:
    import zarr
    from zarr.core.array_spec import ArrayConfigParams

    from s2cmc.store.objects import CatalogueStore

NO_FILL: "ArrayConfigParams" = {"read_missing_chunks": False}
"""An absent chunk is an error and no fill value."""

ADVICE = "`s2cmc verify` lists all that is hit, and `s2cmc repair` makes it anew from the release"
"""What to do about a store that is damaged."""

_SCENES = "scene"
_SHOWN = 3
_DAMAGE = (ValueError, RuntimeError)
"""What zarr and its codecs raise where bytes are not what was written."""


def read_array(array: "zarr.Array[Any]", selection: Any) -> np.ndarray:
    """Values of an array, all of them as they were written.

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
    return read_as(array, Shards.of(array), selection, as_stored, np.dtype(array.dtype))


def as_stored(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Values as they are."""
    if out is not values:
        np.copyto(out, values)
    return out


def read_as(
    array: "zarr.Array[Any]", shards: "Shards | None", selection: Any, transfer: Transfer, dtype: np.dtype[Any]
) -> np.ndarray:
    """Values of an array, converted on their way.

    What does not decode is read once more, past what is kept: it may have been damaged on its way. What is still
    wrong then is told with the scenes that are hit.

    Parameters
    ----------
    array : zarr.Array
    shards : Shards, optional
        Of this array; zarr reads it without.
    selection : index or tuple of indices
        Orthogonal.
    transfer : callable
        Converts: called with values as they are stored, and with the part of the result where they belong.
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
            return read_once(renewed(array), shards, selection, transfer, dtype)
    except (DamagedError, MissingObjectError) as error:
        raise _told(array, selection, error) from error


def read_once(
    array: "zarr.Array[Any]", shards: "Shards | None", selection: Any, transfer: Transfer, dtype: np.dtype[Any]
) -> np.ndarray:
    """Values of an array, asked for once; see `read_as`.

    Raises
    ------
    StoreError
        See `read_array`; the message says what is wrong, and not what to do.
    """
    try:
        return _read(array, shards, selection, transfer, dtype)
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not isinstance(first_error(error), _DAMAGE) or isinstance(first_error(error), StoreError):
            raise first_error(error) from error.__cause__
        # What follows the first line is zarr's advice to read an absent chunk as fill values.
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
        chunk = OneChunk.of(array)
        whole = chunk.read(store) if chunk and store else array.with_config(NO_FILL).oindex
        values = np.asarray(whole[parts], array.dtype)
        converted = np.empty(values.shape, dtype)
        transfer(values, converted)
        return converted
    asked = [np.atleast_1d(np.arange(n)[part]) for n, part in zip(array.shape, parts, strict=True)]
    ascending = [p if (np.diff(p) > 0).all() else np.unique(p) for p in asked]
    found = shards.read(store, ascending, transfer, dtype)
    for axis, (positions, order) in enumerate(zip(asked, ascending, strict=True)):
        if positions is not order:
            found = found[(slice(None),) * axis + (np.searchsorted(order, positions),)]  # in memory as it was
    return found[tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in parts)]


def rebound(array: "zarr.Array[Any]", store: "CatalogueStore") -> "zarr.Array[Any]":
    """The same array of another store; nothing is fetched."""
    from zarr import Array, AsyncArray
    from zarr.storage import StorePath

    config = {"read_missing_chunks": False}
    path = StorePath(store, array.path)
    return Array(AsyncArray(array.metadata, path, config))  # type: ignore[call-overload]  # of either format


def renewed(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    """The same array, read past what is kept."""
    from s2cmc.store.objects import CatalogueStore

    return rebound(array, array.store.renewed()) if isinstance(array.store, CatalogueStore) else array


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


def _told(array: "zarr.Array[Any]", selection: Any, error: StoreError) -> StoreError:
    """The error with the scenes that are hit, and what to do; of several objects, the first that is damaged."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    step = (array.shards or array.chunks)[0]
    asked = np.atleast_1d(np.arange(array.shape[0])[parts[0]])
    shards = np.unique(asked // step).tolist()
    if isinstance(error, MissingObjectError):
        named = re.match(re.escape(f"{array.store}/{array.path}/c/") + r"(\d+)", str(error))
        shards = [int(named[1])] if named else shards
    for shard in shards:
        hit = asked[asked // step == shard]
        try:
            if len(shards) > 1:
                read_once(renewed(array), Shards.of(array), (hit, *parts[1:]), as_stored, np.dtype(array.dtype))
                continue
        except DamagedError as narrower:
            error = narrower
        return type(error)(f"{_spoken(array, hit)}{error}; {ADVICE}")
    return type(error)(f"{error}; {ADVICE}")


def _spoken(array: "zarr.Array[Any]", positions: np.ndarray) -> str:
    """Scenes by name; nothing where their names cannot be read either, or the array is a coordinate."""
    import zarr

    if array.ndim == 1:
        return ""
    try:
        names = zarr.open_array(array.store, path=_SCENES, mode="r", zarr_format=3)
        found = read_once(names, None, positions, as_stored, np.dtype(names.dtype)).tolist()
    except (StoreError, IndexError, KeyError, TypeError, ValueError):
        return ""
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "") + ": "
