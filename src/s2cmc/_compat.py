"""Private parts of other libraries, used here alone: they may change without notice.

Read in xarray 2026.9, zarr 3.4, dask and distributed 2026.8. `tests/contracts/test_compat.py` fails where one changes.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    CopyOnWriteArray,
    ImplicitToExplicitIndexingAdapter,
    IndexingSupport,
    LazilyIndexedArray,
    LazilyVectorizedIndexedArray,
    MemoryCachedArray,
    VectorizedIndexer,
    explicit_indexing_adapter,
)


def lazily_indexed(array: BackendArray) -> Any:
    """Wrap an array so that a Variable keeps its index until values are asked for, as xarray's backends do.

    What is written to the Variable stays in memory.
    """
    lazy: Any = LazilyIndexedArray(array)  # xarray's types know only what is an array already
    return CopyOnWriteArray(lazy)


def read_indexed(key: Any, shape: tuple[int, ...], read: Callable[[tuple[Any, ...]], np.ndarray]) -> Any:
    """Read what an index of xarray asks for, by orthogonal indices.

    Parameters
    ----------
    key : ExplicitIndexer
        As xarray gives it to `BackendArray.__getitem__`.
    shape : tuple of int
        Shape of the whole array.
    read : callable
        Takes an index for each dimension: int, slice or array.
    """
    if isinstance(key, VectorizedIndexer):
        return explicit_indexing_adapter(key, shape, IndexingSupport.OUTER, read)
    return read(key.tuple)  # the adapter would reverse slices with a negative step, and fails at empty ones


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


def run_in_loop[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in zarr's own thread and event loop, so that a loop that runs in this thread does not matter."""
    from zarr.core.sync import sync

    return sync(coroutine)


class EqualToItsBase(type):
    """Metaclass of a class that compares equal to its base class.

    xarray computes only arrays of one type together, and compares ``type(array)``: a subclass of dask's Array and an
    Array would be refused as "mixing chunked array types" (`xarray.namedarray.parallelcompat.get_chunked_array_type`).
    """

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.__base__

    def __hash__(cls) -> int:
        return hash(cls.__base__)


def forget_dasks_threads() -> None:
    """Remove dask's pools of threads, and release locks that another thread held at the moment of a fork."""
    import dask.config
    import dask.threaded
    import dask.tokenize

    for lock in (dask.threaded.pools_lock, dask.config.config_lock, dask.tokenize.tokenize_lock):
        lock._at_fork_reinit()  # type: ignore[union-attr]  # as threading and logging do with theirs
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.tokenize._SEEN = {}


async def greet_scheduler(address: str, timeout: float) -> None:
    """Connect to a scheduler of distributed once, and leave.

    A Client that finds no scheduler delays the end of its process; this raises OSError instead.
    """
    from distributed.comm.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=timeout, **Security().get_connection_args("client"))
    await comm.close()


def _innermost(data: object) -> object:
    """Take off the wrappers that `open_dataset`, `Variable.chunk` and `lazily_indexed` put around lazy data."""
    while isinstance(data, CopyOnWriteArray | MemoryCachedArray | ImplicitToExplicitIndexingAdapter):
        data = data.array
    return data
