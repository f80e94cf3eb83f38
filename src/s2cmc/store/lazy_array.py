"""The lazy array of an opened catalogue: a dask Array whose parts are read from the store by themselves.

dask puts an index or a transposition behind the task that reads a block, so that one band of a scene would cost reading
all thirteen. `LazyArray` takes the part of its source instead. Everything else makes an ordinary dask Array of it.
"""

import sys
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, Self

import numpy as np
from dask import config, threaded
from dask.array import Array, from_array
from dask.array.slicing import normalize_index
from dask.base import get_scheduler
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.utils import IndexCallable

from s2cmc._compat import EqualToItsBase
from s2cmc.store.source import Index, Source

_EMPTY = HighLevelGraph({}, {})

_SKIPS_NOTHING = {
    np.nanmax: np.max,
    np.nanmean: np.mean,
    np.nanmin: np.min,
    np.nanstd: np.std,
    np.nansum: np.sum,
    np.nanvar: np.var,
}
"""Functions by which xarray skips NaN, and those that give the same where there is none, in a third of the passes."""


class LazyArray(Array, metaclass=EqualToItsBase):
    """A dask Array of a part of a Zarr array; one block is one scene.

    Indexed or transposed it gives another `LazyArray`, in whatever order that is said; so do ``copy`` and
    ``deepcopy``, which `xarray.align` and ``Dataset.copy`` call. It is pickled, persisted and computed with as a plain
    dask Array, and its blocks and results are plain ndarrays.

    Attributes
    ----------
    source : Source, optional
        What is read; None after values were assigned to the array.
    """

    __slots__ = ("_graph", "source")

    source: Source | None
    _graph: HighLevelGraph | None

    @classmethod
    def from_source(cls, source: Source) -> Self:
        """Make the array of a source."""
        chunks: list[tuple[int, ...]] = [(n,) for n in source.shape]
        if (axis := source.scene_axis) is not None:
            chunks[axis] = (1,) * source.shape[axis] or (0,)
        lazy: Self = cls(_EMPTY, source.name, tuple(chunks), meta=np.empty((0,) * len(chunks), source.dtype))
        lazy.source, lazy._graph = source, None
        return lazy

    @property
    def dask(self) -> HighLevelGraph:
        """Graph of the array, made when it is asked for: of a chain of indices, only the last one needs one."""
        if self._graph is not None:
            return self._graph
        if self.source is None:
            return _EMPTY
        self._graph = self._graph_of(self.source)
        return self._graph

    @dask.setter
    def dask(self, graph: HighLevelGraph) -> None:
        self._graph = graph

    def _graph_of(self, source: Source) -> HighLevelGraph:
        """Make the graph that reads each scene once, also where it was chosen several times."""
        # Of scenes [5, 2, 5], 2 and 5 are read, first found at 1 and 0; the blocks are those at 1, 0 and 1 of them.
        axis = source.scene_axis
        along = np.empty(0, int) if axis is None else source.positions[axis]
        positions, first, place = np.unique(along, return_index=True, return_inverse=True)
        if axis is None or len(positions) == len(along):
            meta = np.empty((0,) * self.ndim, self.dtype)
            graph: HighLevelGraph = from_array(
                source, chunks=self.chunks, name=self.name, asarray=False, meta=meta
            ).dask
            return graph
        before, after = (0,) * axis, (0,) * (self.ndim - axis - 1)
        once = LazyArray.from_source(source.take([*[slice(None)] * axis, first, *[slice(None)] * len(after)]))
        blocks: dict[Any, Any] = {
            (self.name, *before, i, *after): (once.name, *before, at, *after) for i, at in enumerate(place.tolist())
        }
        layers = {**once.dask.layers, self.name: MaterializedLayer(blocks)}
        return HighLevelGraph(layers, {**once.dask.dependencies, self.name: {once.name}})

    def __getitem__(self, index: Any) -> Array:
        key = self._orthogonal(index)
        if self.source is None or key is None:
            return super().__getitem__(index)  # type: ignore[no-untyped-call]  # nor are the others of dask
        whole = all(isinstance(i, slice) and i == slice(None) for i in key)
        return self if whole else LazyArray.from_source(self.source.take(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)  # type: ignore[no-untyped-call]
        self.source = None

    def transpose(self, *axes: Any) -> Array:
        """Permute the dimensions, as `numpy.ndarray.transpose` does."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], Iterable) else axes
        order = [int(axis) % self.ndim for axis in order] if order and self.ndim else list(range(self.ndim))[::-1]
        if self.source is None or sorted(order) != list(range(self.ndim)):
            return super().transpose(*axes)  # type: ignore[no-untyped-call]
        return self if order == sorted(order) else LazyArray.from_source(self.source.transpose(order))

    def copy(self) -> Self:
        """Return another array of the same source: dask's own are changed in place when values are assigned."""
        copied: Self = type(self)(_EMPTY, self.name, self.chunks, meta=self)
        copied.source, copied._graph = self.source, self._graph
        return copied

    @property
    def vindex(self) -> IndexCallable:
        """Index pointwise, as `dask.array.Array.vindex` does."""
        return IndexCallable(self._points)

    def _points(self, key: Any) -> Array:
        # Pixels (0, 0), (900, 3), (0, 5) of (y, x): rows 0 and 900, columns 0, 3 and 5 are taken of the source, and of
        # these, pointwise, (0, 0), (1, 1), (0, 2).
        key = key if isinstance(key, tuple) else (key,)
        points = [None if isinstance(index, slice) else np.asarray(index) for index in key]
        if self.source is None or not all(p is None or (p.dtype.kind in "iu" and p.size) for p in points):
            return super().vindex[key]
        outer, inner = list[Any](key), list[Any](key)
        for i, (at, n) in enumerate(zip(points, self.shape, strict=False)):
            if at is None:
                inner[i] = slice(None)
            elif (at < -n).any() or (at >= n).any():
                return super().vindex[key]
            else:
                outer[i], inverse = np.unique(at % n, return_inverse=True)
                inner[i] = inverse.reshape(at.shape)
        outer += [slice(None)] * (self.ndim - len(outer))
        return super(LazyArray, LazyArray.from_source(self.source.take(outer))).vindex[tuple(inner)]

    def _orthogonal(self, index: Any) -> tuple[Index, ...] | None:
        """Turn what numpy and xarray index by into one index for each dimension; None where only dask can."""
        parts = index if isinstance(index, tuple) else (index,)
        lists = [part for part in parts if isinstance(part, list | np.ndarray)]
        scalars = (Integral, slice, type(None), type(Ellipsis))
        if len(lists) > 1 or not all(isinstance(part, (*scalars, list, np.ndarray)) for part in parts):
            return None
        if any(np.ndim(part) != 1 or np.asarray(part).dtype.kind not in "biu" for part in lists if np.size(part)):
            return None
        if any(isinstance(part, bool) for part in parts):
            return None
        key: tuple[Index, ...] = normalize_index(parts, self.shape)
        return key

    def __array__(self, dtype: Any = None, copy: bool | None = None, **kwargs: Any) -> np.ndarray:
        if self.source is None or copy is False or not _is_computed_here():
            return super().__array__(dtype, copy, **kwargs)  # type: ignore[no-untyped-call]
        return np.asarray(self.source.read(), dtype)  # in as many threads as dask, and without a copy of the blocks

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3 and _keeps_all(*args):  # as `where(scene_condition, drop=True)` does
            return args[1]
        if function in _SKIPS_NOTHING and args and args[0] is self and self.source and not self.source.stored.has_nan:
            function = _SKIPS_NOTHING[function]
        return super().__array_function__(function, types, args, kwargs)  # type: ignore[no-untyped-call]

    def __dask_postcompute__(self) -> Any:
        if self.source is None:
            return super().__dask_postcompute__()  # type: ignore[no-untyped-call]
        return _finish, (self.source.scene_axis or 0,)


def _is_computed_here() -> bool:
    """Return True if dask would compute in threads of this process, watched by nobody and limited by nothing."""
    limited = config.get("pool", None) is not None or config.get("num_workers", None) is not None
    return get_scheduler(cls=Array) is threaded.get and not Callback.active and not limited


def _keeps_all(condition: Any, values: Any, other: Any) -> bool:
    """Return True if ``numpy.where(condition, values, other)`` is `values`."""
    return (
        isinstance(condition, np.ndarray)
        and isinstance(values, LazyArray)
        and np.ndim(other) == 0
        and np.result_type(values.dtype, other) == values.dtype
        and np.broadcast_shapes(condition.shape, values.shape) == values.shape
        and bool(condition.all())
    )


def _finish(results: Any, axis: int) -> np.ndarray:
    """Join computed blocks along one axis, into an ndarray of its own whose memory is ordered as that of the blocks."""
    blocks = list(_flattened(results))
    if len(blocks) > 1:
        return np.concatenate(blocks, axis)  # keeps the order of memory, which dask's own does not
    block = np.asarray(blocks[0])
    return block.copy("K") if _on_worker() or not block.flags.writeable else block


def _flattened(results: Any) -> Iterator[np.ndarray]:
    if isinstance(results, list | tuple):
        for result in results:
            yield from _flattened(result)
    else:
        yield results


def _on_worker() -> bool:
    """Return True in a task of a cluster, whose worker may keep a block that was persisted, and hand it out again."""
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
