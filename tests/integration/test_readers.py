"""Independent readers see in a store what `open_catalogue` gives: tensorstore, zarr-python by itself, plain xarray."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr

import s2cmc
from s2cmc.schema import FORMAT_VERSION

pytestmark = pytest.mark.slow

MASKS = ("mask", "alt_mask")


@pytest.fixture(params=["folder", pytest.param("http", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, store: Path, serve: Any) -> str:
    """Where `store` is, for any reader: a path, then a URL."""
    return str(store) if request.param == "folder" else f"{serve(store.parent).url}/{store.name}"


def of_tensorstore(place: str, name: str) -> tensorstore.TensorStore:
    """An array, opened by tensorstore with nothing but its place."""
    if place.startswith("http"):
        kvstore = {"driver": "http", "base_url": place, "path": f"{name}/"}
    else:
        kvstore = {"driver": "file", "path": f"{place}/{name}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True, open=True).result()


def attributes_of(array: tensorstore.TensorStore) -> dict[str, Any]:
    return array.spec().to_json()["metadata"]["attributes"]


def labels(stored: np.ndarray) -> np.ndarray:
    """Labels as `open_catalogue` shows them: no label where the source was not one-hot."""
    return np.where(stored >= 240, 255, stored)


def is_text(coordinate: xr.DataArray) -> bool:
    return coordinate.dtype.kind == "U"


def as_stored(coordinate: xr.DataArray) -> np.ndarray:
    """Times are whole seconds since 1970, everything else is what it is."""
    values = coordinate.values
    return values.astype("datetime64[s]").astype("int64") if values.dtype.kind == "M" else values


def test_tensorstore_sees_the_same_reflectance(place, catalogue):
    array = of_tensorstore(place, "reflectance")
    assert (array.dtype.name, array.domain.labels) == ("uint16", ("scene", "y", "x", "band"))
    dn = array.read().result()
    scale = attributes_of(array)["scale_factor"]
    assert scale == 1e-4
    np.testing.assert_array_equal(np.rint(catalogue.reflectance.values * 10_000.0), dn)
    np.testing.assert_allclose(dn * scale, catalogue.reflectance, rtol=1e-7)


def test_tensorstore_sees_the_same_part_of_a_band(place, catalogue):
    part = of_tensorstore(place, "reflectance")[3, 20:40, 30:35, 8].read().result()
    np.testing.assert_array_equal(
        part, np.rint(catalogue.reflectance[3, 20:40, 30:35].sel(band="B8A").values * 10_000.0)
    )


@pytest.mark.parametrize("name", MASKS)
def test_tensorstore_sees_the_same_labels(name, place, catalogue):
    array = of_tensorstore(place, name)
    np.testing.assert_array_equal(labels(array.read().result()), catalogue[name])
    attributes = attributes_of(array)
    assert dict(zip(attributes["flag_meanings"].split(), attributes["flag_values"], strict=True)) == {
        "clear": 0,
        "cloud": 1,
        "cloud_shadow": 2,
    }


def test_tensorstore_sees_the_same_thumbnails(place, catalogue):
    np.testing.assert_array_equal(of_tensorstore(place, "thumbnail").read().result(), catalogue.thumbnail)


def test_tensorstore_sees_every_coordinate_but_text(place, catalogue):
    """It knows no strings; that it refuses them is what shows when it learns to read them."""
    for name, coordinate in catalogue.coords.items():
        if is_text(coordinate):
            with pytest.raises(ValueError, match="string data type is not one of the supported data types"):
                of_tensorstore(place, name)
            continue
        array = of_tensorstore(place, name)
        expected = as_stored(coordinate)
        values = array.read().result()
        assert (values.dtype, array.domain.labels) == (expected.dtype, coordinate.dims)
        np.testing.assert_array_equal(values, expected)
        stored = attributes_of(array)
        if name == "time":
            assert (stored.pop("units"), stored.pop("calendar")) == ("seconds since 1970-01-01", "proleptic_gregorian")
        assert stored == coordinate.attrs


def test_zarr_python_by_itself_sees_the_same(place, catalogue):
    group = zarr.open_group(place, mode="r", zarr_format=3, use_consolidated=True)
    assert set(group.array_keys()) == {*catalogue.data_vars, *catalogue.coords}
    assert group.attrs["format_version"] == FORMAT_VERSION
    assert catalogue.attrs.items() <= dict(group.attrs).items()
    for name, coordinate in catalogue.coords.items():
        assert group[name].metadata.dimension_names == coordinate.dims
        np.testing.assert_array_equal(group[name][:].astype(as_stored(coordinate).dtype), as_stored(coordinate))
    np.testing.assert_array_equal(group["reflectance"][4:6], np.rint(catalogue.reflectance[4:6].values * 10_000.0))
    assert group["reflectance"].attrs["scale_factor"] == 1e-4
    np.testing.assert_array_equal(labels(group["mask"][:]), catalogue.mask)


def test_zarr_python_finds_every_array_without_consolidated_metadata(store, catalogue):
    group = zarr.open_group(store, mode="r", use_consolidated=False)
    with warnings.catch_warnings():
        # A listing meets the bundle of coordinates and the digests, no arrays; zarr warns of what it does not know.
        for name in ("coordinates.zip", "shards.json"):
            warnings.filterwarnings("ignore", f"Object at {name} is not recognized", zarr.errors.ZarrUserWarning)
        found = dict(group.arrays())
    assert set(found) == {*catalogue.data_vars, *catalogue.coords}
    assert found["mask"].metadata == zarr.open_group(store, mode="r")["mask"].metadata


def opened_plainly(place: str) -> xr.Dataset:
    """As anybody opens a store with xarray: whole scenes at a time, or each chunk of a shard would be two requests."""
    return xr.open_zarr(place, chunks={"y": -1, "x": -1, "band": -1})


def test_plain_xarray_sees_the_same_coordinates(place, catalogue):
    plain = opened_plainly(place)
    assert set(plain.coords) == set(catalogue.coords)
    for name, coordinate in catalogue.coords.items():
        stored = plain[name]
        assert stored.dims == coordinate.dims
        assert stored.attrs == coordinate.attrs
        assert stored.dtype.kind == "T" if is_text(coordinate) else stored.dtype == coordinate.dtype
        np.testing.assert_array_equal(stored.astype(coordinate.dtype), coordinate)
    assert catalogue.attrs.items() <= plain.attrs.items()


def test_plain_xarray_sees_the_same_pixels(place, catalogue):
    plain = opened_plainly(place)
    assert plain.reflectance.encoding["scale_factor"] == 1e-4
    np.testing.assert_allclose(plain.reflectance, catalogue.reflectance, rtol=1e-7)
    np.testing.assert_array_equal(np.float32(np.rint(plain.reflectance * 10_000) / 10_000), catalogue.reflectance)
    for name in MASKS:
        np.testing.assert_array_equal(labels(plain[name].values), catalogue[name])
    np.testing.assert_array_equal(plain.thumbnail, catalogue.thumbnail)
    for name in catalogue.data_vars:
        assert catalogue[name].attrs.items() <= plain[name].attrs.items()


def test_plain_xarray_selects_by_name_time_and_tag(store, catalogue):
    """What a store is for: the same questions, asked without s2cmc."""
    plain = opened_plainly(str(store))
    name = catalogue.scene.values[6]
    np.testing.assert_array_equal(labels(plain.mask.sel(scene=name)), catalogue.mask[6])
    np.testing.assert_allclose(
        plain.reflectance.sel(scene=name, band="B11"), catalogue.reflectance.sel(scene=name, band="B11"), rtol=1e-7
    )
    late = np.datetime64("2018-07-01")
    found = plain.scene[((plain.time > late) & plain.thick).values].values.tolist()
    assert found == catalogue.clouds.select("thick", time=slice("2018-07-01", None)).scene.values.tolist()
    assert 0 < len(found) < 10


def test_sides_that_cannot_be_halved_are_read_the_same(odd_store):
    opened = s2cmc.open_catalogue(odd_store)
    dn = of_tensorstore(str(odd_store), "reflectance").read().result()
    assert dn.shape == (11, 63, 63, 13)
    np.testing.assert_array_equal(np.rint(opened.reflectance.values * 10_000.0), dn)
    np.testing.assert_array_equal(labels(of_tensorstore(str(odd_store), "mask").read().result()), opened.mask)
    np.testing.assert_allclose(opened_plainly(str(odd_store)).reflectance, opened.reflectance, rtol=1e-7)


def test_damage_is_an_error_for_tensorstore_too(store, tmp_path):
    """The checksums are a part of the format, not of one library."""
    copy = tmp_path / "reflectance"
    shard = copy / "c" / "0" / "0" / "0" / "0"
    shard.parent.mkdir(parents=True)
    shutil.copy(store / "reflectance" / "zarr.json", copy)
    content = bytearray((store / shard.relative_to(tmp_path)).read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="Digest mismatch"):
        of_tensorstore(str(tmp_path), "reflectance").read().result()
