"""The lazy array of an opened catalogue: any order of indices gives numpy's values and reads the chunks it needs."""

import copy
import ctypes
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.callbacks import Callback
from helpers.chunk_log import ChunkLog, chunk_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import s2cmc
from s2cmc.store import shards
from s2cmc.store.lazy_array import LazyArray

pytestmark = pytest.mark.slow

Step = Callable[[xr.DataArray], xr.DataArray]


@pytest.fixture(scope="module")
def loaded(store: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(store)[["reflectance", "mask"]].load()


# Steps of a chain: each takes an array, lazy or not, and returns a part or another view of it.


@st.composite
def chains(draw: st.DrawFn, array: xr.DataArray, *, points: bool = False, where: bool = True) -> list[Step]:
    """Up to four steps that fit one after the other; `array` is any with the dims and coordinates of a variable."""
    steps = list[Step]()
    for _ in range(draw(st.integers(1, 4))):
        if not array.dims:
            break
        makers = [isel, basic, transpose, squeeze, expand_dims, sel_band, sortby]
        makers += [isel_points] * points + [where_drop] * where
        step = draw(draw(st.sampled_from(makers))(array))
        array = step(array)
        steps.append(step)
    return steps


def index(length: int) -> st.SearchStrategy[Any]:
    """Any index of one dimension: position, slice with any step, positions in any order, booleans."""
    numbers = st.integers(-length, length - 1) if length else st.nothing()
    lists = st.lists(numbers, max_size=4 if length else 0).map(lambda positions: np.array(positions, int))
    booleans = st.lists(st.booleans(), min_size=length, max_size=length).map(lambda flags: np.array(flags, bool))
    return st.one_of(*([numbers] if length else []), st.slices(length), lists, booleans)


def isel(array: xr.DataArray) -> st.SearchStrategy[Step]:
    dims = st.sets(st.sampled_from(sorted(map(str, array.dims)))) if array.dims else st.just(set())
    keys = dims.flatmap(lambda chosen: st.fixed_dictionaries({dim: index(array.sizes[dim]) for dim in sorted(chosen)}))
    return keys.map(lambda key: lambda a: a.isel(key))


def basic(array: xr.DataArray) -> st.SearchStrategy[Step]:
    """``array[...]`` with integers, slices and an ellipsis."""
    parts = st.tuples(*(st.one_of(st.integers(-n, n - 1), st.slices(n)) if n else st.slices(n) for n in array.shape))
    return parts.map(lambda key: lambda a: a[key])


def isel_points(array: xr.DataArray) -> st.SearchStrategy[Step]:
    """Pointwise, along two dimensions at once."""
    dims = [str(dim) for dim in array.dims if array.sizes[dim]][:2]
    if len(dims) < 2 or "point" in array.dims:
        return st.just(lambda a: a)
    positions = [st.lists(st.integers(0, array.sizes[dim] - 1), min_size=3, max_size=3) for dim in dims]
    return st.tuples(*positions).map(
        lambda at: lambda a: a.isel({dim: xr.DataArray(p, dims="point") for dim, p in zip(dims, at, strict=True)})
    )


def transpose(array: xr.DataArray) -> st.SearchStrategy[Step]:
    return st.permutations(array.dims).map(lambda dims: lambda a: a.transpose(*dims))


def squeeze(array: xr.DataArray) -> st.SearchStrategy[Step]:
    return st.just(lambda a: a.squeeze())


def expand_dims(array: xr.DataArray) -> st.SearchStrategy[Step]:
    name = f"added{array.ndim}"
    axes = st.integers(0, array.ndim)
    return st.just(lambda a: a) if name in array.dims else axes.map(lambda axis: lambda a: a.expand_dims(name, axis))


def sel_band(array: xr.DataArray) -> st.SearchStrategy[Step]:
    names = array["band"].values.tolist() if "band" in array.dims else []
    if not names or len(set(names)) < len(names):
        return st.just(lambda a: a)
    return st.one_of(st.sampled_from(names), st.lists(st.sampled_from(names), max_size=3)).map(
        lambda chosen: lambda a: a.sel(band=chosen)
    )


def sortby(array: xr.DataArray) -> st.SearchStrategy[Step]:
    by = [name for name in ("y", "x", "cloud_percent") if array.coords[name].ndim == 1 and array[name].size]
    return (
        st.sampled_from(by).map(lambda name: lambda a: a.sortby(name, ascending=False)) if by else st.just(lambda a: a)
    )


def where_drop(array: xr.DataArray) -> st.SearchStrategy[Step]:
    """By a condition on the scenes that all that are kept meet, so that no value is replaced."""
    if "scene" not in array.dims or array.indexes["scene"].has_duplicates:
        return st.just(lambda a: a)
    return st.floats(0, 100).map(lambda least: lambda a: a.where(a["cloud_percent"] >= least, drop=True))


def applied(array: xr.DataArray, steps: list[Step]) -> xr.DataArray:
    for step in steps:
        array = step(array)
    return array


@pytest.mark.parametrize("name", ["reflectance", "mask"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_chain_of_indices_gives_the_values_of_numpy(name, opened, loaded, data):
    steps = data.draw(chains(loaded[name], points=True))
    result = applied(opened[name], steps).compute()
    xr.testing.assert_identical(result, applied(loaded[name], steps))
    assert type(result.data) in (np.ndarray, np.float32, np.uint8)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_chain_of_indices_fetches_each_chunk_that_it_needs_once(store, loaded, data):
    log = ChunkLog(store, "reflectance")
    opened = s2cmc.open_catalogue(log)["reflectance"]
    numbers = loaded["reflectance"].copy(data=chunk_numbers(store, "reflectance"))
    steps = data.draw(chains(numbers))
    lazy = applied(opened, steps)
    assert not log.fetched
    with zarr.config.set({"array.sharding_coalesce_max_gap_bytes": -1}):  # each chunk is fetched by itself
        lazy.compute()
    assert log.fetched == Counter(np.unique(applied(numbers, steps).values).tolist())


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_chain_of_indices_decodes_each_chunk_of_masks_that_it_needs_once(store, opened, loaded, data):
    numbers = loaded["mask"].copy(data=chunk_numbers(store, "mask"))
    steps = data.draw(chains(numbers, where=False))  # `where` makes floats of labels: arithmetic
    with decoded() as count:
        applied(opened["mask"], steps).compute()
    assert count == [len(np.unique(applied(numbers, steps).values))]


@contextmanager
def decoded() -> Iterator[list[int]]:
    """Count the chunks that are decoded meanwhile."""
    count, lock, decode = [0], Lock(), shards.decode

    def counting(*arguments: Any) -> None:
        with lock:
            count[0] += 1
        decode(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "decode", counting)
        yield count


def parts_of(catalogue: xr.Dataset) -> list[xr.DataArray]:
    """Parts that are computed in one piece, and in several."""
    pixels, mask = catalogue["reflectance"], catalogue["mask"]
    return [pixels[2], pixels[2:5], pixels[[5, 2, 5], 4:40, 3:33, 2:5].transpose("band", ...), mask, mask[[1, 9, 1]]]


def test_results_are_plain_arrays_of_their_own_that_can_be_written_to(opened: xr.Dataset) -> None:
    for lazy in parts_of(opened):
        first, second = lazy.compute().data, lazy.compute().data
        assert type(first) is np.ndarray
        assert first.flags.writeable
        first[...] = 7
        np.testing.assert_array_equal(second, lazy.values)


def test_scenes_are_handed_out_band_by_band_as_they_are_stored(opened: xr.Dataset) -> None:
    for lazy in (opened.reflectance[2:5], opened.reflectance[1:3, 4:40, 3:33, 2:5]):
        assert int(np.argmax(lazy.compute().data[0].strides)) == 2


def test_copies_of_results_lie_in_memory_as_numpy_has_it(opened: xr.Dataset, loaded: xr.Dataset) -> None:
    """C reads the values in C order behind the pointer of a copy."""
    for lazy, expected in zip(parts_of(opened), parts_of(loaded), strict=True):
        result, plain = lazy.values, np.array(expected.values, order="C")
        for copied in (result.copy(), np.ascontiguousarray(result), pickle.loads(pickle.dumps(result.copy()))):  # noqa: S301
            assert copied.flags.c_contiguous
            assert ctypes.string_at(copied.ctypes.data, copied.nbytes) == plain.tobytes()
        assert result.tobytes() == memoryview(result).tobytes() == plain.tobytes()


def test_blocks_are_plain_arrays_of_one_scene(opened: xr.Dataset) -> None:
    seen = []

    def note(block: np.ndarray) -> np.ndarray:
        seen.append((type(block), block.shape[0]))
        return block

    dask.array.map_blocks(note, opened.mask.data, meta=np.empty((0, 0, 0), "uint8")).compute()
    assert set(seen) == {(np.ndarray, 1)}
    assert type(opened.reflectance.data.blocks[3].compute()) is np.ndarray


def test_it_is_a_dask_array_and_all_else_makes_a_plain_one_of_it(opened: xr.Dataset) -> None:
    lazy = opened.mask.data
    assert isinstance(lazy, dask.array.Array)
    for other in (lazy + 1, lazy.persist(), pickle.loads(pickle.dumps(lazy)), lazy.rechunk((2, 64, 64))):  # noqa: S301
        assert type(other).__mro__[0] is dask.array.Array
        assert not isinstance(other, LazyArray)
    for same in (
        lazy[1:3],
        lazy.T,
        lazy.copy(),
        copy.deepcopy(lazy),
        lazy[None],
        lazy.transpose(2, 0, 1),
        lazy[[3, 1]],
    ):
        assert isinstance(same, LazyArray)
    assert lazy[:] is lazy


@pytest.mark.parametrize(
    "take",
    [
        lambda ds: ds.copy(deep=True),
        lambda ds: xr.align(ds, ds.isel(scene=[4, 2]), join="inner")[0],
        lambda ds: ds.sortby("cloud_percent"),
        lambda ds: ds.where(ds.thick, drop=True),
        lambda ds: ds.squeeze(),
        lambda ds: ds.sel(scene=ds.cloud_percent > 20),
        lambda ds: ds.expand_dims("time_step"),
    ],
)
def test_what_xarray_does_to_a_catalogue_leaves_the_parts_to_the_store(opened: xr.Dataset, take: Any) -> None:
    lazy = take(opened[["reflectance"]])["reflectance"]
    assert isinstance(lazy.data, LazyArray)
    assert lazy.data.source is not None


def test_a_list_and_an_integer_index_orthogonally_as_dask_has_it(opened: xr.Dataset) -> None:
    lazy, plain = opened.reflectance.data, dask.array.from_array(opened.reflectance.values, chunks=(1, 64, 64, 13))
    for key in ((0, slice(None), [1, 2]), ([3, 1], 5), (..., [0, 4]), (None, [True] * 5 + [False] * 5)):
        np.testing.assert_array_equal(lazy[key].compute(), plain[key].compute())


@pytest.mark.parametrize("key", [(11,), (0, 64), ([0, 10],), (0, 0, 0, 0, 0), ("a",), (1.5,), ([1.5],), ([True] * 3,)])
def test_what_is_no_index_is_refused_as_dask_refuses_it(opened: xr.Dataset, key: tuple) -> None:
    lazy, plain = opened.mask.data, dask.array.zeros((10, 64, 64), chunks=(1, 64, 64))
    with pytest.raises(Exception) as expected:  # noqa: PT011
        plain[key]
    with pytest.raises(type(expected.value)):
        lazy[key]


def test_an_index_that_is_lazy_itself_is_left_to_dask(opened: xr.Dataset) -> None:
    mask = opened.mask
    clouds = mask.data[mask.data == 1]
    assert clouds.compute().tolist() == [1] * int((mask.values == 1).sum())


def test_pixels_at_points_are_those_of_numpy(opened: xr.Dataset, loaded: xr.Dataset) -> None:
    y, x = xr.DataArray([5, 40, 5, -1], dims="point"), xr.DataArray([0, 63, 9, -64], dims="point")
    xr.testing.assert_identical(
        opened.reflectance.isel(y=y, x=x, band=[3, 1]).compute(), loaded.reflectance.isel(y=y, x=x, band=[3, 1])
    )
    with pytest.raises(IndexError, match="out of bounds"):
        opened.reflectance.data.vindex[:, [64], [0]]


@pytest.mark.parametrize("name", ["max", "mean", "min", "std", "sum", "var"])
@pytest.mark.parametrize("dims", [None, ["y", "x"], ["scene"], []])
def test_values_that_xarray_reduces_are_those_of_numpy(opened: xr.Dataset, loaded: xr.Dataset, name, dims) -> None:
    reduced, expected = (getattr(ds.reflectance, name)(dims, keep_attrs=True) for ds in (opened, loaded))
    xr.testing.assert_allclose(reduced.compute(), expected, rtol=1e-5)
    assert reduced.dtype == expected.dtype


def test_nan_is_skipped_where_a_value_may_be_nan(opened: xr.Dataset) -> None:
    def to_nan(dn: np.ndarray, out: np.ndarray) -> None:
        np.divide(dn, np.float32(1e4), out=out)
        out[:, ::2] = np.nan  # of each chunk (scene, y, x, band)

    source = opened.reflectance.data.source
    with_nan = LazyArray.from_source(replace(source, stored=replace(source.stored, transfer=to_nan)))
    assert np.isnan(with_nan.compute()).any()
    assert np.nanmean(with_nan).compute() == pytest.approx(np.nanmean(with_nan.compute()))


def test_the_mean_of_no_scenes_is_nan(opened: xr.Dataset) -> None:
    assert np.isnan(opened.reflectance.isel(scene=[]).mean().values)


def test_values_that_are_assigned_are_read_back(opened: xr.Dataset, loaded: xr.Dataset) -> None:
    changed, expected = opened.mask.copy(), loaded.mask.copy()
    changed[2:4, 3], expected[2:4, 3] = 7, 7
    np.testing.assert_array_equal(changed[3].values, expected[3].values)
    np.testing.assert_array_equal(changed.values, expected.values)
    np.testing.assert_array_equal(opened.mask.values, loaded.mask.values)


def test_a_persisted_catalogue_is_not_changed_through_what_is_computed_of_it(opened: xr.Dataset) -> None:
    kept = opened.reflectance[2:3].persist()
    before = kept.compute().data
    kept.compute().data[...] = -1
    np.testing.assert_array_equal(kept.compute().data, before)


def test_a_catalogue_as_it_was_opened_is_mapped_scene_by_scene(opened: xr.Dataset, loaded: xr.Dataset) -> None:
    part = opened[["reflectance", "mask"]]
    assert part.chunks["scene"] == (1,) * 10
    template = part["mask"].astype("float32").reset_coords(drop=True)

    def brightest(scene: xr.Dataset) -> xr.DataArray:
        return scene["reflectance"].max("band").where(scene["mask"] == 1, 0).astype("float32").reset_coords(drop=True)

    mapped = xr.map_blocks(brightest, part, template=template).compute()
    expected = np.where(loaded.mask.values == 1, loaded.reflectance.values.max(-1), 0)
    np.testing.assert_array_equal(mapped.values, expected)


def test_a_chunk_is_decoded_once_for_all_that_is_computed_of_it(opened: xr.Dataset) -> None:
    with decoded() as count:
        ((opened.mask == 1) & (opened.reflectance.isel(band=0) > 0.2)).mean(["y", "x"]).compute()
    in_band = 10 * opened.mask[0].size // 32**2  # chunks of 32 x 32 pixels
    assert count == [10 + in_band]


def test_arithmetic_and_lazy_arrays_are_computed_together(opened: xr.Dataset, loaded: xr.Dataset) -> None:
    """xarray computes arrays of one type together."""
    both = opened[["mask"]].assign(bright=opened.reflectance.isel(band=3) > 0.2)
    xr.testing.assert_identical(both.compute(), loaded[["mask"]].assign(bright=loaded.reflectance.isel(band=3) > 0.2))
    joined = xr.concat([opened.mask[:2], opened.mask[5:] * np.uint8(1)], "scene")
    np.testing.assert_array_equal(joined.values, loaded.mask.values[[0, 1, 5, 6, 7, 8, 9]])
    by = opened.reflectance.sel(band="B04").groupby("annotator").map(lambda part: part.mean())
    xr.testing.assert_allclose(
        by.compute(), loaded.reflectance.sel(band="B04").groupby("annotator").map(lambda part: part.mean())
    )


def test_an_array_asked_for_its_values_goes_by_the_scheduler_that_was_set(
    opened: xr.Dataset, loaded: xr.Dataset
) -> None:
    lazy, expected = opened.reflectance[[3, 1], :9, 5], loaded.reflectance[[3, 1], :9, 5].values
    with Callback(start=lambda graph: seen.append(len(graph))):
        seen = list[int]()
        np.testing.assert_array_equal(lazy.values, expected)
        assert len(seen) == 1
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(lazy.values, expected)
    with dask.config.set(num_workers=1):
        np.testing.assert_array_equal(np.asarray(lazy, "float64"), expected.astype("float64"))
    assert lazy.values.dtype == "float32"
    assert np.asarray(lazy, "float64").dtype == "float64"
