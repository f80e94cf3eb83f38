"""A catalogue opened without dask: indexed by xarray, read when values are asked for, and asked like any other."""

import copy
import pickle
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, LoggingStore

import s2cmc
from s2cmc.schema.catalogue import PIXEL_VARIABLES
from s2cmc.store.lazy import in_blocks

SIZES = {"scene": 10, "y": 64, "x": 64, "band": 13}


@pytest.fixture
def indexed(store) -> xr.Dataset:
    return s2cmc.open_catalogue(store, chunks=None)


@pytest.fixture
def asked(store) -> tuple[xr.Dataset, list[int]]:
    """The catalogue, and the bytes of each part of an object of pixels that is read of it."""
    read: list[int] = []

    class Counting(LoggingStore):  # type: ignore[type-arg]
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            found = await super().get(key, prototype, byte_range)
            if "/c/" in key and found is not None:
                read.append(len(found))
            return found

    return s2cmc.open_catalogue(Counting(LocalStore(store, read_only=True)), chunks=None), read


def test_nothing_is_read_before_values_are_asked_for(asked):
    indexed, read = asked
    repr(indexed)
    part = indexed.clouds.select("thick", bands=["B04", "B02"])[["reflectance", "mask"]].isel(scene=slice(2), y=3)
    assert not any(dask.is_dask_collection(part[name].data) for name in ("scene", "cloud_percent"))
    assert part.chunks == {}
    assert part.reflectance.shape == (2, 64, 2)
    assert indexed.nbytes > 1e6
    assert not read


def test_values_are_those_of_the_dask_arrays_as_plain_arrays(indexed, catalogue):
    xr.testing.assert_identical(indexed.load(), catalogue.load())
    assert type(indexed.reflectance.data) is np.ndarray


@st.composite
def indices(draw: st.DrawFn) -> dict[str, Any]:
    """One index for some of the dimensions: a position, a slice with any step, or positions in any order."""

    def index(length: int) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.integers(-length, length - 1),
            st.slices(length),
            st.lists(st.integers(-length, length - 1), max_size=4).map(lambda positions: np.array(positions, int)),
        )

    return {dim: draw(index(SIZES[dim])) for dim in draw(st.sets(st.sampled_from(sorted(SIZES))))}


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.lists(indices(), max_size=3))
def test_indices_after_indices_give_what_they_give_in_memory(opened_twice, chain):
    indexed, loaded = opened_twice
    for step in chain:
        sizes = loaded.sizes
        fits = {dim: i for dim, i in step.items() if dim in sizes and np.all(_within(i, sizes[dim]))}
        indexed, loaded = indexed.isel(fits), loaded.isel(fits)
    xr.testing.assert_identical(indexed.compute(), loaded)
    blocks = in_blocks(indexed)
    assert all(dask.is_dask_collection(array.data) for array in blocks.data_vars.values())
    xr.testing.assert_identical(blocks.compute(), loaded)


def _within(index: Any, length: int) -> Any:
    return True if isinstance(index, slice) else (np.asarray(index) < length) & (np.asarray(index) >= -length)


@pytest.fixture(scope="module")
def opened_twice(store) -> tuple[xr.Dataset, xr.Dataset]:
    """Pixels not read, and in memory."""
    names = [name for name in PIXEL_VARIABLES if name != "thumbnail"]
    return s2cmc.open_catalogue(store, chunks=None)[names], s2cmc.open_catalogue(store)[names].load()


def test_a_slice_of_several_dimensions_reads_its_chunks_only(asked, store, no_coalescing):
    """One band of one scene of 1 + 52 chunks, whatever is indexed first."""
    indexed, read = asked
    whole = (store / "reflectance" / "c" / "5" / "0" / "0" / "0").stat().st_size
    for narrow in (
        indexed.reflectance[5].sel(band="B04"),
        indexed.reflectance.sel(band="B04")[5],
        indexed.reflectance.sel(band=["B04"]).isel(scene=[5]),
        indexed.clouds.select(bands=["B04"]).isel(scene=5).reflectance,
    ):
        read.clear()
        assert narrow.to_numpy().size == 64 * 64
        assert 0 < sum(read) < whole / 13 * 2.5


QUESTIONS = {
    "class fractions": lambda ds: ds.clouds.class_fractions(),
    "prevalence": lambda ds: ds.clouds.prevalence(by="surface_type"),
    "band statistics": lambda ds: ds.clouds.band_statistics(within="cloud"),
    "histograms": lambda ds: ds.clouds.band_histograms().sum(("scene", "dn")),
    "spectral index": lambda ds: ds.clouds.spectral_index("NDSI"),
    "agreement": lambda ds: ds.clouds.agreement(),
    "masks": lambda ds: ds.clouds.masks("B"),
    "selection": lambda ds: ds.clouds.select("thick or cirrus", bands=["B12", "B04"]),
    "scene": lambda ds: ds.clouds.scene(str(ds.scene.values[3])),
    "part": lambda ds: ds.isel(scene=[7, 2], y=slice(10, 40)).clouds.class_counts(),
    "one band": lambda ds: ds.isel(band=[3]).clouds.band_statistics(),
    "transposed": lambda ds: ds.transpose("band", "x", "y", ...).clouds.class_counts(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_are_answered_as_of_dask_arrays(name, indexed, catalogue):
    xr.testing.assert_identical(QUESTIONS[name](indexed).compute(), QUESTIONS[name](catalogue).compute())


@pytest.mark.parametrize("name", ["class fractions", "prevalence", "band statistics", "histograms", "masks"])
def test_questions_of_pixels_stay_lazy(name, asked):
    indexed, read = asked
    QUESTIONS[name](indexed)
    assert not read


def test_patches_are_those_of_dask_arrays(indexed, catalogue):
    places = [(3, 5, 7), (0, 20, 30), (3, 6, 7)]
    for part, whole in (
        (indexed, catalogue),
        (indexed.isel(y=slice(5, 60), x=slice(3, None)), catalogue.isel(y=slice(5, 60), x=slice(3, None))),
        (indexed.isel(y=slice(None, None, -1)), catalogue.isel(y=slice(None, None, -1))),
    ):
        xr.testing.assert_identical(part.clouds.patches_at(places, 16), whole.clouds.patches_at(places, 16))


def test_scenes_of_a_selection_are_indexed_too(indexed):
    """And not dask arrays, which would have been asked for."""
    assert indexed.clouds.select("thick").chunks == indexed.clouds.scene(str(indexed.scene.values[0])).chunks == {}


def test_what_is_written_stays_in_memory(store, indexed):
    indexed.mask[2, 3, 4] = 7
    assert indexed.mask[2, 3, 4] == 7
    assert s2cmc.open_catalogue(store, chunks=None).mask[2, 3, 4] != 7


@pytest.mark.parametrize("again", [copy.deepcopy, lambda ds: pickle.loads(pickle.dumps(ds))])  # noqa: S301, our bytes
def test_copies_read_for_themselves(again, indexed):
    copied = again(indexed)
    xr.testing.assert_identical(copied.load(), indexed.load())


def test_other_chunks_are_refused(store):
    with pytest.raises(s2cmc.CatalogueError, match=r"chunks=\{'scene': 1\} is unknown; use 'auto' or None, and Datas"):
        s2cmc.open_catalogue(store, chunks={"scene": 1})
