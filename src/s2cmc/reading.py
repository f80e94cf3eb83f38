"""Read a part of an array of a store: right, or an error that names its objects."""

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from s2cmc.errors import StoreError
from s2cmc.faults import leaf

if TYPE_CHECKING:
    import zarr
    from zarr.core.array_spec import ArrayConfigParams

NO_FILL: "ArrayConfigParams" = {"read_missing_chunks": False}
"""An absent chunk is an error and no fill value."""

_SHOWN = 3
_DAMAGE = (ValueError, RuntimeError, TypeError, KeyError)
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
        If an object is missing, cannot be read, or is damaged; the message names it.
    """
    strict = array.with_config(NO_FILL)
    try:
        return np.asarray(strict.oindex[selection])
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not _is_damage(error):
            raise leaf(error) from error.__cause__
    try:
        return np.asarray(_renewed(strict).oindex[selection])
    except (StoreError, ExceptionGroup, *_DAMAGE) as error:
        if not _is_damage(error):
            raise leaf(error) from error.__cause__
        # What follows the first line is zarr's advice to read an absent chunk as fill values.
        reason = str(leaf(error)).partition("\n")[0]
        raise StoreError(f"{_objects(array, selection)} is damaged: {reason}; see s2cmc verify") from error


def _is_damage(error: BaseException) -> bool:
    return isinstance(leaf(error), _DAMAGE) and not isinstance(leaf(error), StoreError)


def _renewed(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    import zarr

    from s2cmc.objects import CatalogueStore

    if not isinstance(array.store, CatalogueStore):
        return array
    return zarr.open_array(array.store.renewed(), path=array.path, mode="r", zarr_format=3).with_config(NO_FILL)


def _objects(array: "zarr.Array[Any]", selection: Any) -> str:
    """URLs of the objects that hold a selection of scenes."""
    steps = array.shards or array.chunks
    first = selection[0] if isinstance(selection, tuple) else selection
    scenes = np.atleast_1d(np.arange(array.shape[0])[first])
    counts = [ceil(n / step) for n, step in zip(array.shape[1:], steps[1:], strict=True)]
    names = [
        "/".join([str(array.store_path), "c", str(shard), *map(str, rest)])
        for shard in np.unique(scenes // steps[0]).tolist()
        for rest in np.ndindex(*counts)
    ]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" or one of {more} more" if more > 0 else "")
