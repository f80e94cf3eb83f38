"""Opening a store: lazy, exact, in few requests, and with a clear word where there is none."""

import json
import pickle
import shutil
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.sealing import reseal
from zarr.storage import LocalStore, LoggingStore, MemoryStore

import s2cmc
from s2cmc import schema
from s2cmc.schema.bands import BAND_NAMES
from s2cmc.store import open as store_open
from s2cmc.store.format import with_checksum
from s2cmc.synthetic.make import make_scene


def test_the_dataset_has_the_variables_and_coordinates_of_the_schema(catalogue):
    assert list(catalogue.data_vars) == list(schema.PIXEL_VARIABLES)
    for name, dims in schema.DIMS.items():
        assert catalogue[name].dims == dims
    for c in schema.SCENE_COORDINATES:
        stored = catalogue[c.name]
        assert stored.dims == ("scene",)
        assert stored.dtype.kind == "U" if c.dtype == "O" else stored.dtype == np.dtype(c.dtype)
        described = {key: value for key, value in c.attributes.items() if c.name != "time" or key != "units"}
        assert described.items() <= stored.attrs.items()
    assert list(catalogue.band.values) == list(BAND_NAMES)
    assert catalogue.band.sel(band="B8A").native_resolution == 20
    np.testing.assert_array_equal(catalogue.y, np.arange(64) * -20.0 - 10)
    np.testing.assert_array_equal(catalogue.x, np.arange(64) * 20.0 + 10)
    np.testing.assert_array_equal(catalogue.thumbnail_y, -0.5 - np.arange(catalogue.sizes["thumbnail_y"]))
    np.testing.assert_array_equal(catalogue.thumbnail_x, 0.5 + np.arange(catalogue.sizes["thumbnail_x"]))


@pytest.mark.parametrize("axis", ["y", "x"])
def test_axes_are_described_for_readers_of_cf_and_for_plots(catalogue, axis):
    attributes = catalogue[axis].attrs
    assert (attributes["axis"], attributes["units"]) == (axis.upper(), "m")
    assert attributes["standard_name"] == f"projection_{axis}_coordinate"
    assert f"{axis}_origin + {axis}" in attributes["comment"]
    placed = catalogue.clouds.scene(0)[axis].attrs
    assert (placed["axis"], placed["units"]) == (axis.upper(), "metre")
    assert placed["standard_name"] == f"projection_{axis}_coordinate"
    for name in (catalogue[axis], catalogue[f"thumbnail_{axis}"], catalogue.clouds.scene(0)[axis]):
        assert len(label(name)) < 30  # xarray breaks longer ones
        assert "\n" not in label(name)


def label(coordinate: xr.DataArray) -> str:
    """What xarray writes beside the axis of a plot."""
    line = xr.DataArray(np.zeros(coordinate.size), {coordinate.name: coordinate.variable}).plot()[0]
    return line.axes.get_xlabel()


def test_tags_carry_their_group_published_name_and_description(catalogue):
    assert catalogue.snow_ice.attrs["tag_group"] == "surface_type"
    assert catalogue.snow_ice.attrs["published_name"] == "snow/ice"
    assert "snow" in catalogue.snow_ice.attrs["description"]


def test_opening_reads_no_pixel_and_nothing_is_computed(store, no_compute):
    opened = s2cmc.open_catalogue(store)
    assert all(dask.is_dask_collection(opened[name].data) for name in schema.PIXEL_VARIABLES)
    repr(opened)
    opened.clouds.select("cirrus")
    opened.clouds.class_fractions()
    opened.clouds.one_hot()
    opened.clouds.rgb()
    opened.isel(scene=[1, 3]).sel(band="B04").where(opened.thick, drop=True)


def test_opening_lists_nothing_and_leaves_pixels_alone(store):
    log = LoggingStore(LocalStore(store, read_only=True))
    s2cmc.open_catalogue(log)
    assert not [name for name in log.counter if "list" in name]


def test_a_chunk_is_a_scene_of_every_variable(catalogue):
    """So that `xr.map_blocks` takes the catalogue as it was opened."""
    assert catalogue.chunks["scene"] == (1,) * 10
    assert catalogue.reflectance.data.chunksize == (1, 64, 64, 13)


def test_reflectance_is_bit_equal_to_the_published_arrays(catalogue):
    """Against the maker of the release, which knows nothing of the store."""
    scene = catalogue.scene.values[9]
    row = {c.published: catalogue[c.name].sel(scene=scene).item() for c in schema.TABLE_COORDINATES}
    made = make_scene(row, 64, seed=0)
    opened = catalogue.reflectance.sel(scene=scene).to_numpy()
    assert opened.dtype == np.float32
    np.testing.assert_array_equal(opened.view("uint32"), made.reflectance.view("uint32"))


@pytest.mark.slow
def test_plain_xarray_opens_it_too(store, catalogue):
    """As float64, from the CF scale factor; coordinates and labels are the same."""
    plain = xr.open_zarr(store)
    assert plain.reflectance.dtype == np.float64
    np.testing.assert_allclose(plain.reflectance, catalogue.reflectance, rtol=1e-7)
    assert plain.mask.dtype == np.uint8
    np.testing.assert_array_equal(np.where(plain.mask >= 240, 255, plain.mask), catalogue.mask)
    assert set(plain.coords) == set(catalogue.coords)
    np.testing.assert_array_equal(plain.time, catalogue.time)
    assert plain.mask.attrs["flag_meanings"] == "clear cloud cloud_shadow"


def test_a_slice_reads_its_chunks_only(store, no_coalescing):
    """One band of one scene of 1 + 52 chunks: dask hands the slice down to the read."""
    sizes = []

    class Counting(LoggingStore):  # type: ignore[type-arg]
        async def get(self, key, prototype, byte_range=None):
            found = await super().get(key, prototype, byte_range)
            if "/c/" in key and found is not None:
                sizes.append(len(found))
            return found

    opened = s2cmc.open_catalogue(Counting(LocalStore(store, read_only=True)))
    whole = (store / "reflectance" / "c" / "5" / "0" / "0" / "0").stat().st_size
    for narrow in (
        opened.reflectance.isel(scene=5, band=3),
        opened.reflectance.isel(scene=slice(5, 6), band=slice(3, 4)),
        opened.reflectance.sel(band="B04")[5],
        opened.clouds.select(bands=["B04"]).reflectance[5],
    ):
        sizes.clear()
        narrow.compute()
        assert sum(sizes) < whole / 13 * 2.5


def test_a_catalogue_survives_pickling(catalogue):
    again = pickle.loads(pickle.dumps(catalogue))  # noqa: S301, our own bytes
    xr.testing.assert_identical(again.mask.compute(), catalogue.mask.compute())


@pytest.mark.slow
def test_a_catalogue_is_saved_again_by_plain_xarray(catalogue, tmp_path):
    catalogue.isel(scene=slice(2)).drop_encoding().to_zarr(tmp_path / "part.zarr", zarr_format=2)
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "part.zarr").mask, catalogue.mask[:2])


@pytest.mark.parametrize(
    "form", [str, Path, lambda path: LocalStore(path, read_only=True), lambda path: f"file://{path}"]
)
def test_a_store_is_given_as_path_url_or_zarr_store(form, store):
    assert s2cmc.open_catalogue(form(store)).sizes["scene"] == 10


def test_a_store_opens_over_http_without_listing(store, serve):
    server = serve(store.parent)
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}")
    xr.testing.assert_identical(opened.mask.compute(), s2cmc.open_catalogue(store).mask.compute())
    assert not [path for _, path, _ in server.log if path.endswith("/")]


def test_a_missing_chunk_is_an_error_and_no_fill_value(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "mask" / "c" / "0" / "0" / "0").unlink()
    opened = s2cmc.open_catalogue(copy)
    with pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/mask/c/0/0/0 is missing"):
        opened.mask.compute()
    opened.reflectance[0].compute()


def test_missing_alternative_masks_are_no_unlabelled_ones(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "alt_mask" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/alt_mask/c/0/0/0 is missing"):
        s2cmc.open_catalogue(copy).alt_mask.compute()


def test_a_missing_coordinate_is_an_error_and_no_fill_value(store, tmp_path):
    """In the bundle that brings them all, and among those beside it."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "difficulty" / "c" / "0").unlink()
    s2cmc.open_catalogue(copy)
    (copy / "coordinates.zip").unlink()
    with pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/coordinates\.zip is missing; nor are the coordinates"):
        s2cmc.open_catalogue(copy)


def test_damage_is_an_error_and_no_wrong_value(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    shard = copy / "reflectance" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    with pytest.raises(
        s2cmc.StoreError, match=r"copy\.zarr/reflectance/c/0/0/0/0 is damaged: Stored and computed checksum"
    ):
        s2cmc.open_catalogue(copy).reflectance[0].compute()


def edit_attributes(store: Path, **changes: object) -> None:
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"] |= changes
    (store / "zarr.json").write_bytes(with_checksum(document))


def test_other_formats_are_refused(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    edit_attributes(copy, format_version="2.7")
    s2cmc.open_catalogue(copy)
    edit_attributes(copy, format_version="3.0")
    with pytest.raises(s2cmc.StoreError, match=r"has format 3\.0; this version of s2cmc reads 2\.0: update s2cmc"):
        s2cmc.open_catalogue(copy)
    xr.Dataset({"a": ("x", [1])}).to_zarr(tmp_path / "other.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(s2cmc.StoreError, match="is a Zarr group, but no catalogue of s2cmc"):
        s2cmc.open_catalogue(tmp_path / "other.zarr")
    edit_attributes(copy, format="other", format_version="2.0")
    with pytest.raises(s2cmc.StoreError, match="is a Zarr group, but no catalogue of s2cmc"):
        s2cmc.open_catalogue(copy)


def test_a_store_without_consolidated_metadata_is_refused(store, tmp_path):
    """It could not be opened without listing."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    reseal(copy, lambda document: document.update(consolidated_metadata=None))
    with pytest.raises(s2cmc.StoreError, match="no consolidated metadata"):
        s2cmc.open_catalogue(copy)


@pytest.mark.parametrize("bands", [["B04", "B03", "B02"], ["B03", "B11"], ["B12", "B01", "B8A"], ["B02", "B02"], []])
def test_selected_bands_are_those_of_plain_indexing(bands, catalogue):
    chosen = catalogue.clouds.select("cumulus", bands=bands)
    expected = catalogue.clouds.select("cumulus").load().isel(band=[BAND_NAMES.index(band) for band in bands])
    xr.testing.assert_identical(chosen.load(), expected)
    turned = {"scene": slice(None, None, -1), "y": slice(None, None, 2), "band": slice(None, None, -1)}
    again = catalogue.clouds.select("cumulus", bands=bands).reflectance.isel(turned)
    np.testing.assert_array_equal(again, expected.reflectance.isel(turned))


@pytest.mark.parametrize(
    ("bands", "message"), [("B04", "is a string; give a list of names"), (["B4"], "no band 'B4'; there are B01, B02")]
)
def test_bands_that_do_not_exist_are_refused(bands, message, catalogue):
    with pytest.raises(s2cmc.QueryError, match=message):
        catalogue.clouds.select(bands=bands)


@pytest.mark.parametrize("place", ["nowhere", "s3cmc.zarr/deeper"])
def test_no_store_is_said_clearly(place, tmp_path):
    with pytest.raises(s2cmc.StoreError, match=r"holds no catalogue: there is no zarr\.json; check the path"):
        s2cmc.open_catalogue(tmp_path / place)
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        s2cmc.open_catalogue(MemoryStore())


def test_a_conversion_that_ends_between_two_looks_is_opened(store, tmp_path, monkeypatch):
    """The reader finds no root, then no journal: the conversion has ended in between."""
    place = shutil.copytree(store, tmp_path / "catalogue.zarr")
    hidden = (place / "zarr.json").rename(tmp_path / "root")
    fetch = store_open._fetch

    def end_the_conversion(looked_in, key):
        if key == schema.JOURNAL_PLAN:
            hidden.rename(place / "zarr.json")
        return fetch(looked_in, key)

    monkeypatch.setattr(store_open, "_fetch", end_the_conversion)
    assert s2cmc.open_catalogue(place).sizes["scene"] == 10
