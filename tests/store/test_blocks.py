"""Functions applied to blocks of scenes: the results of the whole, from one task for each span of scenes."""

from itertools import pairwise
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.store.blocks import map_scenes, scene_spans

DIMS = ("scene", "y", "x")


def summed(pixels: np.ndarray, labels: np.ndarray, names: np.ndarray) -> np.ndarray:
    """A row (2, 2) of each scene, which depends on all that is its own and on nothing else."""
    rows = [
        [[p.sum(), lab.sum()], [lab.max(initial=0), len(str(name))]]
        for p, lab, name in zip(pixels, labels, names, strict=True)
    ]
    return np.array(rows, np.int64).reshape(len(rows), 2, 2)


@st.composite
def chunkings(draw: st.DrawFn, length: int) -> tuple[int, ...]:
    """Chunks of any lengths, also of none."""
    edges = sorted(draw(st.lists(st.integers(0, length), max_size=5)))
    return tuple(end - first for first, end in pairwise([0, *edges, length]))


@st.composite
def catalogues(draw: st.DrawFn) -> list[xr.Variable]:
    """Pixels, labels and names of up to 9 scenes, each lazy with chunks of its own, or not."""
    count = draw(st.integers(0, 9))
    random = np.random.default_rng(count)
    values = [
        random.integers(0, 1000, (count, 5, 4)),
        random.integers(0, 4, (count, 3, 2)).astype(np.uint8),
        np.array([f"scene {'x' * i}" for i in range(count)], "U20"),
    ]
    return [xr.Variable(DIMS[: v.ndim], _chunked(draw, v) if draw(st.booleans()) else v) for v in values]


def _chunked(draw: st.DrawFn, values: np.ndarray) -> Any:
    return dask.array.from_array(values, chunks=tuple(draw(chunkings(n)) for n in values.shape))


@pytest.mark.slow
@settings(deadline=None)
@given(catalogues())
def test_results_are_those_of_the_whole_however_it_is_chunked(arrays):
    found = map_scenes(summed, arrays, (2, 2), np.int64)
    assert isinstance(found, dask.array.Array) == any(array.chunks is not None for array in arrays)
    (computed,) = dask.compute(found, scheduler="synchronous")
    assert computed.shape == found.shape == (arrays[0].sizes["scene"], 2, 2)
    np.testing.assert_array_equal(computed, summed(*(array.values for array in arrays)), strict=True)


@pytest.mark.slow
@settings(deadline=None)
@given(catalogues(), st.data())
def test_parts_of_the_results_are_those_of_the_whole(arrays, data):
    found = map_scenes(summed, arrays, (2, 2), np.int64)
    which = data.draw(st.slices(arrays[0].sizes["scene"]))
    (part,) = dask.compute(found[which, 1], scheduler="synchronous")
    np.testing.assert_array_equal(part, summed(*(array.values for array in arrays))[which, 1])


@pytest.mark.slow
@settings(deadline=None)
@given(catalogues())
def test_spans_lie_one_after_the_other_and_within_one_chunk_of_each_array(arrays):
    found = scene_spans(arrays)
    assert [i for cut in found for i in range(cut.start, cut.stop)] == list(range(arrays[0].sizes["scene"]))
    for array in arrays:
        ends = np.cumsum(array.chunksizes["scene"]) if array.chunks else np.array([], int)
        assert not [cut for cut in found if ((cut.start < ends) & (ends < cut.stop)).any()]


def lazy(chunks: Any, shape: tuple[int, ...]) -> xr.Variable:
    return xr.Variable(DIMS[: len(shape)], dask.array.zeros(shape, chunks=chunks, dtype=np.uint8))


def test_one_task_for_each_span():
    """Of single scenes and of masks by eight: ten spans, for which nothing is cut but the masks."""
    arrays = [lazy((1, 5, 4), (10, 5, 4)), lazy((8, 3, 2), (10, 3, 2)), xr.Variable("scene", np.arange(10))]
    found = map_scenes(summed, arrays, (2, 2), np.int64)
    assert found.chunks == ((1,) * 10, (2,), (2,))
    assert len(found.dask.layers[found.name]) == 10
    assert len(dict(found.dask)) == 10 + 10 + 2


def test_chunks_along_other_dimensions_are_joined():
    found = map_scenes(lambda pixels: pixels.sum((1, 2))[:, None], [lazy((2, 3, 2), (6, 5, 4))], (1,), np.int64)
    assert found.chunks == ((2, 2, 2), (1,))
    np.testing.assert_array_equal(found.compute(), np.zeros((6, 1)))


def test_zero_scenes_are_zero_rows():
    for arrays in ([lazy((1, 3, 2), (0, 3, 2))], [xr.Variable(DIMS, np.zeros((0, 3, 2)))]):
        found = map_scenes(lambda pixels: pixels.sum((1, 2))[:, None], arrays, (1,), np.int64)
        assert np.asarray(found).shape == (0, 1)


def test_nothing_is_computed_beforehand(no_compute):
    map_scenes(summed, [lazy(1, (3, 2, 2)), lazy(2, (3, 2, 2)), xr.Variable("scene", np.arange(3))], (2, 2), np.int64)


def test_names_of_results_tell_what_they_are_of():
    def name(function: Any, array: xr.Variable) -> str:
        return map_scenes(function, [array], (), np.int64).name

    ones, twos = (xr.Variable("scene", dask.array.full(4, value, chunks=2)) for value in (1, 2))
    assert name(np.abs, ones) == name(np.abs, ones)
    assert len({name(np.abs, ones), name(np.abs, twos), name(np.negative, ones)}) == 3


def test_an_error_of_a_block_is_raised():
    def fail(block: np.ndarray) -> np.ndarray:
        raise ValueError(f"block of {len(block)}")

    with pytest.raises(ValueError, match="block of 2"):
        map_scenes(fail, [lazy(2, (4,))], (), np.int64).compute()
