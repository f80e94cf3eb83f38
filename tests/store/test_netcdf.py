"""Writers of netCDF, and functions that hand the memory of a block to C, get the values in C order."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

ENGINES = ["netcdf4", "h5netcdf", "scipy"]


@pytest.fixture(scope="module")
def expected(store: Path) -> np.ndarray:
    """Reflectance (scene, y, x, band), float32, decoded by zarr and plain numpy."""
    return zarr.open_array(store / "reflectance", mode="r")[:].astype("float32") / np.float32(10000)


def written(dataset: xr.Dataset, path: Path, engine: str) -> np.ndarray:
    """Reflectance of a Dataset after it went through a netCDF file."""
    kept = dataset[["reflectance"]].reset_coords(drop=True)
    kept.to_netcdf(path, engine=engine)
    with xr.open_dataset(path, engine=engine) as read:
        return read["reflectance"].values


@pytest.mark.parametrize("engine", ENGINES)
def test_a_catalogue_is_written_to_netcdf(catalogue, expected, tmp_path, engine):
    np.testing.assert_array_equal(written(catalogue, tmp_path / "catalogue.nc", engine), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_selection_is_written_to_netcdf(catalogue, expected, tmp_path, engine):
    chosen = catalogue.isel(scene=[4, 1], y=slice(3, 40), band=slice(2, 9))
    np.testing.assert_array_equal(written(chosen, tmp_path / "selection.nc", engine), expected[[4, 1], 3:40, :, 2:9])


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_a_whole_catalogue_with_its_coordinates_is_written_to_netcdf(catalogue, expected, tmp_path, engine):
    catalogue.to_netcdf(tmp_path / "catalogue.nc", engine=engine)
    with xr.open_dataset(tmp_path / "catalogue.nc", engine=engine) as read:
        np.testing.assert_array_equal(read["reflectance"].values, expected)
        assert read["scene"].values.tolist() == catalogue["scene"].values.tolist()


@pytest.mark.filterwarnings("ignore:saving variable reflectance with floating point:xarray.SerializationWarning")
@pytest.mark.filterwarnings("ignore:endian-ness of dtype:UserWarning")  # xarray's own, for what Zarr stores
@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
@pytest.mark.slow
def test_a_store_opened_by_plain_xarray_is_written_to_netcdf(store, expected, tmp_path, engine):
    plain = xr.open_zarr(store)
    plain.to_netcdf(tmp_path / "catalogue.nc", engine=engine)
    with xr.open_dataset(tmp_path / "catalogue.nc", engine=engine) as read:
        np.testing.assert_allclose(read["reflectance"].values, expected, rtol=1e-7)
        for name in plain.coords:
            assert read[name].values.tolist() == plain[name].values.tolist()
        assert read.attrs == plain.attrs
        assert read["y"].attrs == plain["y"].attrs


def test_several_files_are_written_at_once(catalogue, expected, tmp_path):
    parts = [catalogue[["reflectance"]].isel(scene=[i]).reset_coords(drop=True) for i in range(3)]
    paths = [tmp_path / f"{i}.nc" for i in range(3)]
    xr.save_mfdataset(parts, paths, engine="netcdf4")
    for i, path in enumerate(paths):
        with xr.open_dataset(path, engine="netcdf4") as read:
            np.testing.assert_array_equal(read["reflectance"].values[0], expected[i])


def as_c_reads_it(block: np.ndarray) -> np.ndarray:
    """A block, read value after value from the memory of its copy."""
    copied = block.copy()
    values = ctypes.cast(copied.ctypes.data, ctypes.POINTER(ctypes.c_float))
    return np.array([values[i] for i in range(copied.size)], "float32").reshape(block.shape)


def test_a_function_that_copies_a_block_and_hands_it_to_c_sees_its_values(catalogue, expected):
    seen = xr.apply_ufunc(as_c_reads_it, catalogue["reflectance"], dask="parallelized", output_dtypes=["float32"])
    np.testing.assert_array_equal(seen.values, expected)
