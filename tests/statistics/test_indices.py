"""Spectral indices, against plain numpy, from two bands alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.raw_shards import bytes_of_bands

import s2cmc
from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema.bands import BAND_NAMES
from s2cmc.statistics.indices import INDICES

BANDS = {
    "NDSI": ("B03", "B11"),
    "NDVI": ("B08", "B04"),
    "NDWI": ("B03", "B08"),
    "NDMI": ("B8A", "B11"),
    "NBR": ("B8A", "B12"),
}


def test_the_bands_are_those_of_the_definitions() -> None:
    assert {name: (index.first, index.second) for name, index in INDICES.items()} == BANDS


@pytest.fixture(scope="module")
def pixels(opened: xr.Dataset) -> np.ndarray:
    """All reflectance in memory. Not to be changed."""
    return opened.reflectance.values


@pytest.mark.parametrize("name", BANDS)
def test_an_index_is_the_normalised_difference_of_its_bands(
    catalogue: xr.Dataset, pixels: np.ndarray, name: str
) -> None:
    found = catalogue.clouds.spectral_index(name)
    assert (found.dims, found.dtype, found.name) == (("scene", "y", "x"), "float32", name)
    first, second = (pixels[..., BAND_NAMES.index(band)] for band in BANDS[name])
    known = first + second != 0
    expected = np.full(first.shape, np.nan, "float32")
    np.divide(first - second, first + second, out=expected, where=known)
    np.testing.assert_array_equal(found, expected)
    assert (np.abs(expected[known]) <= 1).all()


def test_an_index_is_nan_where_both_bands_are_0(catalogue: xr.Dataset) -> None:
    # One scene has 5 pixels without data (DN 0), its first ones.
    found = catalogue.clouds.spectral_index("NDVI").compute()
    np.testing.assert_array_equal(found.isnull().sum(("y", "x")), catalogue.zero_pixels)
    assert found[4, 0, :5].isnull().all()


def test_an_index_has_its_ends_where_one_band_is_0() -> None:
    reflectance = np.array([[[[0.3, 0.0], [0.0, 0.3], [0.2, 0.2], [0.0, 0.0]]]], "float32")
    made = xr.Dataset({"reflectance": (("scene", "y", "x", "band"), reflectance)}, {"band": ["B04", "B08"]})
    np.testing.assert_array_equal(made.clouds.spectral_index("NDVI")[0, 0], np.array([-1, 1, 0, np.nan], "float32"))


@pytest.mark.usefixtures("no_compute")
def test_an_index_reads_nothing_until_it_is_computed(catalogue: xr.Dataset) -> None:
    for name in BANDS:
        found = catalogue.clouds.spectral_index(name)
        assert found.chunks is not None
        with pytest.raises(AssertionError, match="a pixel was read"):
            found.compute()


@pytest.mark.parametrize("name", BANDS)
def test_an_index_says_what_it_is(catalogue: xr.Dataset, name: str) -> None:
    found = catalogue.clouds.spectral_index(name)
    first, second = BANDS[name]
    assert found.attrs["long_name"].endswith(f"index, ({first} - {second}) / ({first} + {second})")
    assert found.attrs["units"] == "1"
    assert found.attrs["source"]
    assert set(found.coords) == {n for n, c in catalogue.reflectance.coords.items() if "band" not in c.dims}


@pytest.mark.slow
@pytest.mark.parametrize(
    "ask",
    [
        lambda ds: ds.clouds.spectral_index("NDSI").isel(scene=4),
        lambda ds: ds.clouds.select("index == 4").clouds.spectral_index("NDSI"),
        lambda ds: ds.clouds.select("index in [2, 4, 7]").clouds.spectral_index("NDSI")[1],
    ],
    ids=["one of all", "select", "select, take one"],
)
def test_an_index_fetches_only_its_two_bands(ask: Callable, store: Path, serve: Callable) -> None:
    server = serve(store.parent)
    # zarr fetches up to 1 MiB that lies between two chunks along with them: a band of a full-size scene is larger.
    with zarr.config.set({"array.sharding_coalesce_max_gap_bytes": 0}):
        remote = s2cmc.open_catalogue(f"{server.url}/{store.name}")
        server.log.clear()
        ask(remote).compute(scheduler="synchronous")
    assert {path for _, path, size in server.log if size} == {f"/{store.name}/reflectance/c/4/0/0/0"}
    bands, index = bytes_of_bands(store, scene=4, bands=[BAND_NAMES.index(band) for band in BANDS["NDSI"]])
    # The index of the shard may be fetched again for every band.
    assert bands < sum(size for *_, size in server.log) <= bands + 2 * index


def test_an_index_of_a_part_and_in_any_order_of_dims(catalogue: xr.Dataset) -> None:
    whole = catalogue.clouds.spectral_index("NBR").compute()
    part = catalogue.isel(scene=[7, 2], y=slice(5, 9)).sel(band=["B12", "B01", "B8A"])
    xr.testing.assert_identical(part.clouds.spectral_index("NBR").compute(), whole.isel(scene=[7, 2], y=slice(5, 9)))
    xr.testing.assert_identical(catalogue.isel(scene=3).clouds.spectral_index("NBR").compute(), whole.isel(scene=3))
    turned = catalogue.transpose("band", "x", "scene", "y", ...).clouds.spectral_index("NBR")
    xr.testing.assert_identical(turned.compute().transpose("scene", "y", "x"), whole)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NDSII", "no spectral index 'NDSII'; did you mean NDSI"),
        ("EVI", "no spectral index 'EVI'; "),
        ("xxxxx", "no spectral index 'xxxxx'; there are NDSI, NDVI, NDWI, NDMI, NBR"),
    ],
)
def test_an_unknown_index_is_refused(catalogue: xr.Dataset, name: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        catalogue.clouds.spectral_index(name)


@pytest.mark.parametrize(
    ("bands", "absent"), [(["B03", "B04"], "B11"), (["B11"], "B03"), ([], "B03"), ("B03", "B03")], ids=str
)
def test_an_index_without_its_bands_is_refused(catalogue: xr.Dataset, bands: list[str] | str, absent: str) -> None:
    with pytest.raises(CatalogueError, match=f"NDSI needs bands B03 and B11; there is no {absent}"):
        catalogue.sel(band=bands).clouds.spectral_index("NDSI")


def test_an_index_without_reflectance_is_refused(catalogue: xr.Dataset) -> None:
    with pytest.raises(CatalogueError, match="has no 'reflectance'"):
        catalogue[["mask"]].clouds.spectral_index("NDVI")
