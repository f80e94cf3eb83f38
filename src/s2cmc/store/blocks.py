"""Apply a function to blocks of scenes: one dask task for each, however the scenes of several arrays are chunked."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.store.lazy import Source, source_of

if TYPE_CHECKING:
    import dask.array

Task = tuple[Any, ...]
"""Function and arguments, as dask's graphs hold them: https://docs.dask.org/en/stable/spec.html."""


def map_scenes(
    function: Callable[..., np.ndarray], arrays: Sequence[xr.Variable], tail: tuple[int, ...], dtype: type
) -> Any:
    """Apply a function that gives one row of results for each scene.

    `dask.array.map_blocks` would first cut the chunks of all arrays alike, by two or three tasks for each scene.

    Parameters
    ----------
    function : callable
        Takes a block of each array and gives an array (scene, ...).
    arrays : sequence of Variable (scene, ...)
        Lazy or not. Blocks are whole along all dimensions but ``scene``.
    tail : tuple of int
        Shape of a row.
    dtype : type

    Returns
    -------
    ndarray, or dask Array if any of the arrays is lazy
        (scene, ...)
    """
    import dask.array
    from dask.base import tokenize

    if not any(is_lazy(array) for array in arrays):
        return function(*(array.values for array in arrays))
    whole = [along_scenes(array) for array in arrays]
    cuts = scene_spans(whole)
    name = f"scenes-{tokenize(function, *(array.data for array in whole))}"
    rest = (0,) * len(tail)
    layer = {(name, i, *rest): task for i, task in enumerate(tasks_of_blocks(function, whole, cuts))}
    chunks = (tuple(cut.stop - cut.start for cut in cuts), *((n,) for n in tail))
    return dask.array.Array(graph_of_blocks(name, layer, whole), name, chunks, dtype)


def is_lazy(array: xr.Variable | xr.DataArray) -> bool:
    """Whether it is a dask array."""
    return array.chunks is not None


def along_scenes(array: xr.Variable) -> xr.Variable:
    """The array, chunked along ``scene`` alone."""
    return array.chunk({dim: -1 for dim in array.dims if dim != "scene"}) if is_lazy(array) else array


def scene_spans(arrays: Sequence[xr.Variable]) -> list[slice]:
    """Scenes that lie in one chunk of every array."""
    edges = {0, arrays[0].sizes["scene"]}
    for array in arrays:
        edges.update(_edges(array))
    return [slice(first, end) for first, end in pairwise(sorted(edges))] or [slice(0, 0)]


def tasks_of_blocks(function: Callable[..., Any], arrays: Sequence[xr.Variable], cuts: Iterable[slice]) -> list[Task]:
    """What applies a function to each span of scenes."""
    taken = [_taken(array) for array in arrays]
    return [(function, *(take(cut) for take in taken)) for cut in cuts]


def graph_of_blocks(
    name: str, layer: dict[Any, Any], arrays: Iterable[xr.Variable]
) -> "dask.highlevelgraph.HighLevelGraph":
    """Tasks together with those they depend on."""
    from dask.highlevelgraph import HighLevelGraph

    lazy = [array for array in arrays if is_lazy(array)]
    sources = {_source_key(source): source for array in lazy if (source := source_of(array)) is not None}
    return HighLevelGraph.from_collections(name, sources | layer, [array.data for array in lazy])


def _source_key(source: Source) -> str:
    return f"source-{source.name}"


def _edges(array: xr.Variable) -> list[int]:
    return np.cumsum(array.chunksizes["scene"]).tolist() if is_lazy(array) else []


def _taken(array: xr.Variable) -> Callable[[slice], Any]:
    """What gives some scenes of an array: in a graph the block that holds them, or a part of it.

    A whole block of pixels that are as they were opened is read by the task itself: dask would fuse it with the task
    that reads it, and then plans this pair anew each time, which takes as long as to decode some masks.
    """
    if not is_lazy(array):
        return lambda cut: array.values[cut]
    ends = _edges(array)
    starts = [0, *ends[:-1]]
    rest = (0,) * (array.ndim - 1)
    source = source_of(array)

    def take(cut: slice) -> Any:
        i = min(bisect_right(ends, cut.start), len(ends) - 1)
        block = (array.data.name, i, *rest)
        if (cut.start, cut.stop) != (starts[i], ends[i]):
            return (_part, block, cut.start - starts[i], cut.stop - starts[i])
        return block if source is None else (_read, _source_key(source), cut.start, cut.stop)

    return take


def _part(block: np.ndarray, first: int, end: int) -> np.ndarray:
    return block[first:end]


def _read(source: Source, first: int, end: int) -> np.ndarray:
    return np.asarray(source[slice(first, end), *[slice(None)] * (source.ndim - 1)])
