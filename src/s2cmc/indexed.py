"""Pixels that xarray indexes itself, without dask: read when their values are asked for, into a plain ndarray."""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    CopyOnWriteArray,
    IndexingSupport,
    LazilyIndexedArray,
    VectorizedIndexer,
    explicit_indexing_adapter,
)


class Readable(Protocol):
    """What is read by one orthogonal index for each dimension: int, slice or array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what it gives."""

    def __getitem__(self, key: Any) -> np.ndarray:
        """A part of it."""


class Pixels(BackendArray):
    """What can be read, for xarray: https://docs.xarray.dev/en/stable/internals/how-to-add-new-backend.html."""

    def __init__(self, source: Readable) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, VectorizedIndexer):
            return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)
        return self._read(key.tuple)  # the adapter would turn slices round, and fails at empty ones

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.source[key])


def indexed_variable(source: Readable, dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """A variable that keeps what is asked of it until values are; what is written to it stays in memory."""
    lazy: Any = LazilyIndexedArray(Pixels(source))  # xarray's types know only what is an array already
    data: Any = CopyOnWriteArray(lazy)
    return xr.Variable(dims, data, attributes)


def is_indexed(variable: xr.Variable) -> bool:
    """Whether its values have not been read, and are not those of a dask array."""
    return isinstance(variable._data, CopyOnWriteArray)  # `data` would read them


def asked_of(variable: xr.Variable) -> tuple[Readable, tuple[Any, ...]] | None:
    """What a variable reads and its index for each dimension of that; None where several dimensions share an index."""
    indexed = variable._data.array if isinstance(variable._data, CopyOnWriteArray) else None
    if not isinstance(indexed, LazilyIndexedArray) or not isinstance(indexed.array, Pixels):
        return None
    return indexed.array.source, indexed.key.tuple


def is_one(index: Any) -> bool:
    """Whether an index is a whole number, which drops its dimension."""
    return not isinstance(index, slice) and np.ndim(index) == 0
