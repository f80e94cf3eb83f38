"""Apply a function to blocks of scenes: one dask task for each, however the scenes of several arrays are chunked."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.store.lazy import source_of
from s2cmc.store.source import Source

if TYPE_CHECKING:
    import dask.array

Task = tuple[Any, ...]
"""Function and arguments, as dask's graphs hold them: https://docs.dask.org/en/stable/spec.html."""


def map_scenes(
    function: Callable[..., np.ndarray], arrays: Sequence[xr.Variable], tail: tuple[int, ...], dtype: type
) -> Any:
    """Apply a function that returns one row of results for each scene.

    `dask.array.map_blocks` would first rechunk all arrays alike, with two or three tasks for each scene.

    Parameters
    ----------
    function : callable
        Takes a block of each array and returns an array (scene, ...).
    arrays : sequence of Variable (scene, ...)
        Lazy or not. Blocks are whole along all dimensions except ``scene``.
    tail : tuple of int
        Shape of a row.
    dtype : type
        Of the results.

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
    """Return True if an array is a dask array."""
    return array.chunks is not None


def along_scenes(array: xr.Variable) -> xr.Variable:
    """Return the array, chunked along ``scene`` alone."""
    if not is_lazy(array) or source_of(array) is not None:
        return array
    return array.chunk({dim: -1 for dim in array.dims if dim != "scene"})


def scene_spans(arrays: Sequence[xr.Variable]) -> list[slice]:
    """Cut the scenes into spans that are in a single chunk of every array.

    Pixels that are as they were opened are read in any spans, which are as long as is worth a task.
    """
    # Predictions of 10 scenes in chunks of 5, and their masks, of which 8 are read by a task: 0:5, 5:8, 8:10.
    edges = {0, arrays[0].sizes["scene"]}
    for array in arrays:
        edges.update(_edges(array))
    return [slice(first, end) for first, end in pairwise(sorted(edges))] or [slice(0, 0)]


def tasks_of_blocks(function: Callable[..., Any], arrays: Sequence[xr.Variable], cuts: Iterable[slice]) -> list[Task]:
    """Make the tasks that apply a function to each span of scenes."""
    selectors = [_block_selector(array) for array in arrays]
    return [(function, *(select(cut) for select in selectors)) for cut in cuts]


def graph_of_blocks(
    name: str, layer: dict[Any, Any], arrays: Iterable[xr.Variable]
) -> "dask.highlevelgraph.HighLevelGraph":
    """Join tasks with the graphs of the arrays that they need."""
    from dask.highlevelgraph import HighLevelGraph

    lazy = [array for array in arrays if is_lazy(array)]
    sources = {_source_key(source): source for array in lazy if (source := source_of(array)) is not None}
    others = [array.data for array in lazy if source_of(array) is None]
    return HighLevelGraph.from_collections(name, sources | layer, others)


def _source_key(source: Source) -> str:
    return f"source-{source.name}"


_NBYTES_OF_TASK = 2**23
"""Bytes of pixels that are worth a task: eight masks of 1022 x 1022. A task itself takes as long as to decode one."""


def _edges(array: xr.Variable) -> list[int]:
    """List for each span of scenes that a lazy array has one past its last scene."""
    if not is_lazy(array):
        return []
    if source_of(array) is None:
        return np.cumsum(array.chunksizes["scene"]).tolist()
    count, scene = array.sizes["scene"], prod(array.shape[1:]) * array.dtype.itemsize
    step = max(1, _NBYTES_OF_TASK // max(1, scene))
    return [*range(step, count, step), count]


def _block_selector(array: xr.Variable) -> Callable[[slice], Any]:
    """Return a function that takes a span of scenes and returns their values, or the task of a graph that makes them.

    If pixels are as they were opened, the task reads them itself. If it depended on a task that reads them, dask would
    fuse the two each time a graph is planned, which takes as long as to decode some masks.
    """
    # Predictions of 20 scenes, in chunks of 8, 8 and 4: starts 0, 8, 16 and ends 8, 16, 20.
    #   span 8:16   block 1, all of it -> the block
    #   span 9:10   block 1, a part    -> (_slice, block, 1, 2)
    # `bisect_right` counts the blocks that end at or before the first scene; an empty span is of the last block.
    if not is_lazy(array):
        return lambda cut: array.values[cut]
    if (source := source_of(array)) is not None:
        return lambda cut: (_read, _source_key(source), cut.start, cut.stop)
    ends = _edges(array)
    starts = [0, *ends[:-1]]
    rest = (0,) * (array.ndim - 1)

    def select(cut: slice) -> Any:
        i = min(bisect_right(ends, cut.start), len(ends) - 1)
        block = (array.data.name, i, *rest)
        whole = (cut.start, cut.stop) == (starts[i], ends[i])
        return block if whole else (_slice, block, cut.start - starts[i], cut.stop - starts[i])

    return select


def _slice(block: np.ndarray, first: int, end: int) -> np.ndarray:
    return block[first:end]


def _read(source: Source, first: int, end: int) -> np.ndarray:
    return np.asarray(source[slice(first, end), *[slice(None)] * (source.ndim - 1)])
