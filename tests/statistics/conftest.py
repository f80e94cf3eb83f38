"""Fixtures of the tests of histograms: a few scenes, two bands, and what is counted in them."""

import pytest
import xarray as xr

TWO_BANDS = ["B04", "B11"]


@pytest.fixture(scope="module")
def part(opened: xr.Dataset) -> xr.Dataset:
    """Three scenes: a plain one, one with pixels that are not one-hot, one with DN 0 and 65535. Not to be changed."""
    return opened.isel(scene=[1, 3, 4])


@pytest.fixture(scope="module")
def two(part: xr.Dataset) -> xr.Dataset:
    """Two bands of `part`: their histograms are small. Not to be changed."""
    return part.sel(band=TWO_BANDS)


@pytest.fixture(scope="module")
def held(two: xr.Dataset) -> xr.Dataset:
    """`two` in memory. Not to be changed."""
    return two.compute()


@pytest.fixture(scope="module")
def counted(part: xr.Dataset) -> xr.DataArray:
    """Histograms of `part`, computed. Not to be changed."""
    return part.clouds.band_histograms().compute()


@pytest.fixture(scope="module")
def expected(counted: xr.DataArray) -> xr.DataArray:
    """Histograms of `two`, computed. Not to be changed."""
    return counted.sel(band=TWO_BANDS)
