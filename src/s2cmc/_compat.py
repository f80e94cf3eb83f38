"""Private parts of other libraries that are used, in one place: what may change there without notice.

Read in xarray 2026.9. `tests/test_compat.py` fails where one of them changes.
"""

from typing import Any

import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    CopyOnWriteArray,
    ImplicitToExplicitIndexingAdapter,
    LazilyIndexedArray,
    LazilyVectorizedIndexedArray,
    MemoryCachedArray,
)


def lazily_indexed(array: BackendArray) -> Any:
    """Wrap an array so that a Variable keeps its index until values are asked for, as xarray's backends do.

    What is written to the Variable stays in memory.
    """
    lazy: Any = LazilyIndexedArray(array)  # xarray's types know only what is an array already
    return CopyOnWriteArray(lazy)


def is_lazily_indexed(variable: xr.Variable) -> bool:
    """Return whether the values of a variable have not been read, and are not those of a dask array."""
    return isinstance(_innermost(variable._data), LazilyIndexedArray | LazilyVectorizedIndexedArray)  # `data` reads


def array_and_key(data: object) -> tuple[object, tuple[Any, ...]] | None:
    """Return the array that lazily indexed data reads, and its index for each dimension of that array.

    Parameters
    ----------
    data : object
        Of a Variable, or what `Variable.chunk` gave to dask.

    Returns
    -------
    tuple, or None
        None where nothing is left to read, or several dimensions share an index.
    """
    lazy = _innermost(data)
    return (lazy.array, lazy.key.tuple) if isinstance(lazy, LazilyIndexedArray) else None


def data_of(variable: xr.Variable) -> object:
    """Return what a Variable holds, without reading it."""
    return variable._data


def _innermost(data: object) -> object:
    """Take off the wrappers that `open_dataset`, `Variable.chunk` and `lazily_indexed` put around lazy data."""
    while isinstance(data, CopyOnWriteArray | MemoryCachedArray | ImplicitToExplicitIndexingAdapter):
        data = data.array
    return data
