"""One scene on its own grid: found by name, placed to the millimetre, taken by rioxarray, read only when asked."""

from datetime import date, datetime

import numpy as np
import pytest
import rasterio
import rioxarray
import shapely
import xarray as xr
from helpers.places import array, catalogue_of
from pyproj import Transformer
from rasterio.transform import Affine

from s2cmc.errors import CatalogueError, QueryError

pytestmark = pytest.mark.slow

MILLIMETRE = 1e-3
SIZE = 16


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Three scenes: north on its central meridian, south, and without an outline."""
    places = {
        "18SVG": array("18SVG", 499_980, 4_202_300),
        "19HCD": array("19HCD", 340_000, 6_200_020),
        "32TPT": None,
    }
    return catalogue_of(tmp_path_factory.mktemp("scene"), places, SIZE)


@pytest.fixture(scope="module")
def placed(ds: xr.Dataset) -> xr.Dataset:
    return ds.clouds.scene("18SVG")


def test_a_scene_is_what_the_catalogue_holds_of_it(ds, placed):
    whole = ds.isel(scene=0)
    np.testing.assert_array_equal(placed.reflectance, whole.reflectance.transpose("band", "y", "x"))
    np.testing.assert_array_equal(placed.mask, whole.mask)
    np.testing.assert_array_equal(placed.alt_mask, whole.alt_mask)
    assert placed.scene.item() == whole.scene.item()
    assert placed["thin"].item() == whole["thin"].item()
    assert dict(placed.sizes) == {"band": 13, "y": SIZE, "x": SIZE}
    assert placed.reflectance.encoding["grid_mapping"] == placed.mask.encoding["grid_mapping"] == "spatial_ref"


def test_nothing_is_read_before_it_is_asked(ds, no_compute):
    found = ds.clouds.scene(1)
    assert all(variable.chunks for variable in found.data_vars.values())
    with pytest.raises(AssertionError, match="a pixel was read"):
        found.mask.load()


def test_only_the_chosen_bands_are_those_of_the_scene(ds):
    found = ds.clouds.select(bands=["B11", "B02"]).clouds.scene(0)
    expected = ds.isel(scene=0).reflectance.sel(band=["B11", "B02"]).transpose("band", "y", "x")
    np.testing.assert_array_equal(found.reflectance, expected)


def test_coordinates_are_the_centres_of_the_pixels(placed):
    """By hand: the outer corner is (499980, 4202300), a centre lies half a pixel of 20 m inside it."""
    assert placed.x.values.tolist() == [499_990 + 20 * i for i in range(SIZE)]
    assert placed.y.values.tolist() == [4_202_290 - 20 * i for i in range(SIZE)]
    assert placed.x.attrs["standard_name"] == "projection_x_coordinate"
    assert placed.y.attrs["units"] == "metre"
    assert "comment" not in {*placed.x.attrs, *placed.y.attrs}  # the catalogue's speaks of offsets


def test_the_transform_is_of_outer_corners_and_exact(ds, placed):
    assert placed.rio.transform() == Affine(20, 0, 499_980, 0, -20, 4_202_300)
    assert placed.rio.bounds() == (499_980, 4_202_300 - 320, 500_300, 4_202_300)
    assert placed.rio.crs.to_epsg() == 32618
    assert placed.spatial_ref.attrs["GeoTransform"] == "499980.0 20.0 0.0 4202300.0 0.0 -20.0"
    assert placed.spatial_ref.attrs["grid_mapping_name"] == "transverse_mercator"
    southern = ds.clouds.scene("19HCD")
    assert southern.rio.transform() == Affine(20, 0, 340_000, 0, -20, 6_200_020)
    assert southern.rio.crs.to_epsg() == 32719


def test_a_place_on_earth_by_hand(placed):
    """Easting 500 km is the central meridian, 75 W in zone 18: the edge between the first and the second column."""
    to_lonlat = Transformer.from_crs(placed.rio.crs, 4326, always_xy=True)
    edge = placed.rio.transform() @ (1, 0)
    lon, lat = to_lonlat.transform(*edge)
    assert lon == pytest.approx(-75, abs=1e-9)  # 1e-9 degrees are 0.1 mm
    # On the central meridian northing is 0.9996 of the meridian arc, here by Helmert's series on WGS 84 in third
    # flattening n (e.g. Karney 2011, eq. 5 in reverse).
    n = 1 / (2 * 298.257223563 - 1)
    phi = np.radians(lat)
    terms = [
        (1 + n**2 / 4 + n**4 / 64) * phi,
        -1.5 * (n - n**3 / 8) * np.sin(2 * phi),
        15 / 16 * (n**2 - n**4 / 4) * np.sin(4 * phi),
        -35 / 48 * n**3 * np.sin(6 * phi),
        315 / 512 * n**4 * np.sin(8 * phi),
    ]
    assert 0.9996 * 6_378_137 / (1 + n) * sum(terms) == pytest.approx(4_202_300, abs=MILLIMETRE)


def test_a_part_of_a_scene_stays_where_it_is(ds, placed):
    inner = ds.isel(y=slice(3, 9), x=slice(5, 12)).clouds.scene(0)
    assert inner.rio.transform() == Affine(20, 0, 499_980 + 5 * 20, 0, -20, 4_202_300 - 3 * 20)
    xr.testing.assert_equal(inner.mask, placed.mask.isel(y=slice(3, 9), x=slice(5, 12)))
    assert ds.isel(y=[2], x=[4]).clouds.scene(0).rio.transform() == Affine(20, 0, 500_060, 0, -20, 4_202_260)
    coarse = ds.coarsen(y=4, x=4).mean().clouds.scene(0)
    assert coarse.rio.transform() == Affine(80, 0, 499_980, 0, -80, 4_202_300)


@pytest.mark.parametrize("name", ["reflectance", "mask", "alt_mask", "valid"])
def test_a_geotiff_and_back(placed, name, tmp_path):
    path = tmp_path / f"{name}.tif"
    placed[name].rio.to_raster(path)
    with rasterio.open(path) as file:
        assert file.transform == Affine(20, 0, 499_980, 0, -20, 4_202_300)
        assert file.xy(0, 0) == (499_990, 4_202_290)
        assert file.crs.to_epsg() == 32618
        assert str(file.nodata) == {"reflectance": "nan", "valid": "0.0"}.get(name, "255.0")
        values = file.read()
    np.testing.assert_array_equal(values.reshape(placed[name].shape), placed[name])
    with rioxarray.open_rasterio(path) as back:
        np.testing.assert_allclose(back.x, placed.x, rtol=0, atol=MILLIMETRE)
        np.testing.assert_allclose(back.y, placed.y, rtol=0, atol=MILLIMETRE)


def test_it_is_clipped_by_a_geometry(placed):
    wanted = shapely.box(500_020, 4_202_100, 500_100, 4_202_200)  # 4 x 5 whole pixels
    clipped = placed.rio.clip([wanted])
    assert dict(clipped.sizes) == {"band": 13, "y": 5, "x": 4}
    np.testing.assert_array_equal(clipped.mask, placed.mask[5:10, 2:6])


def test_what_reprojection_adds_is_not_valid_and_has_no_label(placed):
    turned = placed.rio.reproject("EPSG:32619")
    outside = np.isnan(turned.reflectance.isel(band=0).values)
    assert outside.any()
    assert not outside.all()
    assert (turned.mask.values[outside] == 255).all()
    assert (turned.valid.values[outside] == 0).all()
    assert set(np.unique(turned.mask.values[~outside])) <= set(np.unique(placed.mask))


def test_valid_is_where_every_band_has_data(catalogue):
    for i in range(catalogue.sizes["scene"]):
        found = catalogue.clouds.scene(i)
        reflectance = catalogue.reflectance.isel(scene=i).values
        np.testing.assert_array_equal(found.valid == 1, (reflectance > 0).all(-1))
        assert set(found.valid.attrs) == {"long_name", "flag_values", "flag_meanings", "nodata"}
    assert not all(catalogue.clouds.scene(i).valid.all() for i in range(catalogue.sizes["scene"]))
    one_band = catalogue.isel(band=11).clouds.scene(0)
    np.testing.assert_array_equal(one_band.valid == 1, catalogue.reflectance[0, :, :, 11] > 0)


@pytest.mark.parametrize("rows", [[0, 1, 9], [1, 5, 2, 9], [3, 3], []])
def test_pixels_that_are_no_grid_are_refused(ds, rows):
    with pytest.raises(CatalogueError, match=r"the \d pixels along y are not evenly spaced; take a slice of them"):
        ds.isel(y=rows).clouds.scene(0)


def test_every_other_pixel_and_reversed_ones_are_a_grid(ds):
    thinned = ds.isel(y=slice(None, None, 2)).clouds.scene(0)
    assert thinned.rio.transform() == Affine(20, 0, 499_980, 0, -40, 4_202_310)
    upwards = ds.isel(y=slice(None, None, -1)).clouds.scene(0)
    assert upwards.rio.transform() == Affine(20, 0, 499_980, 0, 20, 4_202_300 - 320)


def test_it_is_saved_and_opened_by_plain_xarray(placed, tmp_path):
    placed.to_zarr(tmp_path / "scene.zarr", consolidated=False)
    back = xr.open_zarr(tmp_path / "scene.zarr", consolidated=False, decode_coords="all")
    assert back.mask.dtype == placed.mask.dtype == np.uint8
    assert back.rio.transform() == placed.rio.transform()
    assert back.rio.crs == placed.rio.crs
    xr.testing.assert_equal(back.reflectance.compute(), placed.reflectance.compute())


def test_a_store_opened_by_plain_xarray_has_its_scenes_too(store, opened):
    plain = xr.open_zarr(store).clouds.scene(0)
    placed = opened.clouds.scene(0)
    assert plain.rio.transform() == placed.rio.transform()
    np.testing.assert_allclose(plain.reflectance, placed.reflectance, rtol=1e-7)


def test_what_the_user_added_goes_with_it(ds):
    mine = ds.assign(score=ds.reflectance.mean("band")).clouds.scene(0)
    np.testing.assert_allclose(mine.score, mine.reflectance.mean("band"), rtol=1e-5)
    assert mine.score.rio.crs.to_epsg() == 32618


def keys(ds: xr.Dataset) -> list[tuple[object, int]]:
    scene, time = ds.scene.values[1], ds.time.values[1]
    day = np.datetime_as_string(time, unit="D")
    return [
        (scene, 1),
        (str(scene)[:-3], 1),
        (np.str_(scene), 1),
        (1, 1),
        (np.int64(-2), 1),
        ("19HCD", 1),
        ("T19HCD", 1),
        (f"T19HCD {day}", 1),
        (f"T19HCD_{day.replace('-', '')}", 1),
        (f"19HCD {day[:7]}", 1),
        (f"19HCD {int(day[:4])}-{int(day[5:7])}-{int(day[8:])}", 1),
        (("T19HCD", day), 1),
        (("19HCD", date.fromisoformat(day)), 1),
        (("19HCD", time), 1),
        (ds.scene[1], 1),
        (np.array(1), 1),
        (f"{scene}.SAFE", 1),
        (("19HCD", datetime.fromisoformat(np.datetime_as_string(time, unit="s"))), 1),
    ]


def test_a_scene_goes_by_many_names(ds):
    for key, position in keys(ds):
        assert ds.clouds.scene(key).scene.item() == ds.scene.values[position], key


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("S2", r"'S2' names 3 scenes: S2\w+, S2\w+, S2\w+; say more of it"),
        ("19HCE", "no scene '19HCE' among 3"),
        ("19HCD 1999", "no scene '19HCD 1999' among 3"),
        (("19HCD", "1999-01-01"), "no scene '19HCD 1999-01-01'"),
        ("19HCD soon", "'soon' is no date; write it like '2018-06'"),
        (3, "there is no scene 3; positions go from 0 to 2"),
        (-4, "there is no scene -4"),
        (True, "True names no scene; give a product ID, a prefix of one, a position, or tile and date"),
        (1.0, r"1\.0 names no scene"),
        ("", "'' names no scene"),
        (("19HCD",), r"\('19HCD',\) names no scene"),
    ],
)
def test_what_names_no_scene_or_several_is_an_error(ds, key, message):
    with pytest.raises(QueryError, match=message):
        ds.clouds.scene(key)


def test_months_and_days_may_be_written_short(ds):
    """2018-1-2 is the second of January, and no beginning of December."""
    december = ds.assign_coords(time=("scene", np.array(["2018-12-02T10:00:00"] * 3, "datetime64[ns]")))
    with pytest.raises(QueryError, match="no scene '19HCD 2018-1-2'"):
        december.clouds.scene("19HCD 2018-1-2")
    assert december.clouds.scene("19HCD 2018-12-2").mgrs_tile == "19HCD"


def test_a_misspelt_product_id_is_offered_right(ds):
    scene = str(ds.scene.values[0])
    with pytest.raises(QueryError, match=f"did you mean {scene}"):
        ds.clouds.scene(scene.replace("MSIL1C", "MSIL2A"))


def test_of_no_scenes_none_is_found(ds):
    with pytest.raises(QueryError, match="there is no scene 0; there are none at all"):
        ds.isel(scene=[]).clouds.scene(0)


def test_many_scenes_are_named_in_part(catalogue):
    with pytest.raises(QueryError, match=r"'S2' names 10 scenes: (\w+, ){4}\w+ and 5 more; say more of it"):
        catalogue.clouds.scene("S2")


def test_a_scene_without_an_outline_is_an_error_that_says_so(ds):
    with pytest.raises(CatalogueError, match=r"32TPT.* has no georeference.*had no outline"):
        ds.clouds.scene("32TPT")


def test_a_dataset_that_is_no_catalogue_is_an_error(ds):
    with pytest.raises(CatalogueError, match="no 'scene', which is needed here"):
        ds.drop_vars("scene").clouds.scene(0)
    with pytest.raises(CatalogueError, match="as if it was put on Earth already; ask the catalogue"):
        ds.clouds.scene(0).clouds.scene(0)
    with pytest.raises(CatalogueError, match="no 'x_origin'"):
        ds.drop_vars("x_origin").clouds.scene(0)
