"""The xarray engine opens what `open_catalogue` opens, and nothing else."""

import subprocess
import sys

import pytest
import xarray as xr

import s2cmc
from s2cmc.store import digital_numbers


@pytest.mark.parametrize("chunks", [None, {}, "auto"])
def test_the_engine_gives_the_same_dataset(store, opened, chunks):
    read = xr.open_dataset(store, engine="s2cmc", chunks=chunks)
    xr.testing.assert_identical(read, opened)
    assert list(read.coords) == list(opened.coords)
    assert read.encoding == opened.encoding


def test_chunks_as_stored_are_those_of_an_opened_catalogue(store, opened):
    read = xr.open_dataset(store, engine="s2cmc", chunks={})
    for name, variable in opened.data_vars.items():
        assert read[name].chunks == variable.chunks


def test_without_chunks_nothing_is_read_and_nothing_is_dask(store, no_compute):
    read = xr.open_dataset(store, engine="s2cmc")
    assert all(variable.chunks is None for variable in read.data_vars.values())
    assert "..." in repr(read["reflectance"])


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.slow
def test_questions_find_the_store_behind_the_dataset(store, opened, chunks):
    read = xr.open_dataset(store, engine="s2cmc", chunks=chunks)
    assert digital_numbers(read).dtype == "uint16"
    for ask in (
        lambda ds: ds.clouds.class_fractions(),
        lambda ds: ds.clouds.band_statistics(),
        lambda ds: ds.clouds.select("cumulus", bands=["B11"]),
        lambda ds: ds.clouds.scene(1),
    ):
        answer = ask(read)
        assert any(variable.chunks for variable in getattr(answer, "variables", {"": answer}).values()) or not chunks
        xr.testing.assert_identical(answer.compute(), ask(opened).compute())


def test_values_that_were_read_are_kept_as_xarray_does(store, opened):
    read = xr.open_dataset(store, engine="s2cmc")
    read["mask"].values[0, 0, 0] = 7  # of the one array that is kept
    assert read["mask"].values[0, 0, 0] == 7
    assert opened["mask"].values[0, 0, 0] != 7
    assert read.clouds.class_counts().sizes == opened.clouds.class_counts().sizes


def test_variables_can_be_left_out(store):
    read = xr.open_dataset(store, engine="s2cmc", drop_variables=["thumbnail", "nothing"])
    assert "thumbnail" not in read
    assert "mask" in read
    assert "mask" not in xr.open_dataset(store, engine="s2cmc", drop_variables="mask")


def test_options_of_access_are_taken_and_others_refused(store, tmp_path):
    xr.open_dataset(store, engine="s2cmc", cache_dir=tmp_path / "cache", timeout=5.0)
    with pytest.raises(s2cmc.ArgumentError, match=r"no option 'time_out' of access; did you mean timeout\?"):
        xr.open_dataset(store, engine="s2cmc", time_out=5.0)


def test_what_is_no_catalogue_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no catalogue"):
        xr.open_dataset(tmp_path / "nothing", engine="s2cmc")


def test_nothing_is_claimed_that_has_no_engine_named(store, tmp_path):
    """The engine of zarr opens a catalogue, and any other store, where none is named."""
    assert xr.open_dataset(store)["reflectance"].dtype == "float64"
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False, zarr_format=3)
    assert xr.open_dataset(tmp_path / "other.zarr", consolidated=False)["a"].values.tolist() == [1.0]
    with pytest.raises(s2cmc.StoreError, match="no catalogue of s2cmc"):
        xr.open_dataset(tmp_path / "other.zarr", engine="s2cmc")


REGISTERED = """
import sys, dask_array.xarray, numpy as np, s2cmc
dask_array.xarray.register()
assert dask_array.xarray.isactive()
ds = s2cmc.open_catalogue(sys.argv[1])
plain = s2cmc.open_catalogue(sys.argv[1], chunks=None)
np.testing.assert_array_equal(ds.reflectance[3].load(), plain.reflectance[3].values)
red = ds.reflectance.isel(scene=[4, 1]).sel(band="B04")
np.testing.assert_array_equal(red.compute(), plain.reflectance[[4, 1], ..., 3])
np.testing.assert_allclose((ds.mask == 1).mean(["y", "x"]).compute(), (plain.mask.load() == 1).mean(["y", "x"]))
np.testing.assert_array_equal(ds.clouds.class_counts().compute(), plain.clouds.class_counts().compute())
np.testing.assert_array_equal(ds[["mask"]].compute().mask, plain.mask)
ds.clouds.scene(0).compute(), ds.clouds.prevalence().compute(), ds.clouds.band_statistics().compute()
"""


@pytest.mark.slow
def test_a_catalogue_works_where_another_library_has_replaced_the_manager_of_dask_arrays(store):
    ended = subprocess.run([sys.executable, "-c", REGISTERED, store], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
