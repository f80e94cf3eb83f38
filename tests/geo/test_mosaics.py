"""Neighbouring scenes on one grid: their very pixels where it is their own, and nothing invented elsewhere."""

import sys

import numpy as np
import pytest
import xarray as xr
from helpers.places import array, catalogue_of
from pyproj import Transformer
from rasterio.transform import Affine

from s2cmc.errors import CatalogueError, QueryError

pytestmark = pytest.mark.slow

SIZE = 16


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Four scenes: two that overlap by 6 columns, one that lies apart below them, one in the next zone."""
    places = {
        "31UCT": array("31UCT", 299_980, 5_700_020),
        "31UDT": array("31UDT", 299_980 + 10 * 20, 5_700_020 + 3 * 20),
        "31UCS": array("31UCS", 299_980 + 5 * 20, 5_700_020 - 30 * 20),
        "30UYC": array("30UYC", 709_980, 5_700_020),
    }
    return catalogue_of(tmp_path_factory.mktemp("neighbours"), places, SIZE)


@pytest.fixture(scope="module")
def neighbours(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(scene=[0, 1, 2])


CORNERS = [(3, 0), (0, 10), (33, 5)]
"""Row and column of the upper left pixel of each neighbour on their common grid, by hand."""


def expected(neighbours: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reflectance (band, y, x), mask and source of the mosaic, put together by plain NumPy."""
    reflectance = np.full((13, 49, 26), np.nan, np.float32)
    mask, source = np.full((49, 26), 255, np.uint8), np.full((49, 26), -1, np.int16)
    for i in (2, 1, 0):
        (row, column), pixels = CORNERS[i], neighbours.reflectance.values[i].transpose(2, 0, 1)
        valid = (pixels > 0).all(0)
        here = np.s_[row : row + SIZE, column : column + SIZE]
        reflectance[:, *here][:, valid] = pixels[:, valid]
        mask[here][valid] = neighbours.mask.values[i][valid]
        source[here][valid] = i
    return reflectance, mask, source


def test_in_their_own_zone_the_pixels_are_those_of_the_scenes(neighbours):
    found = neighbours.clouds.mosaic()
    reflectance, mask, source = expected(neighbours)
    assert found.rio.crs.to_epsg() == 32631
    assert found.rio.transform() == Affine(20, 0, 299_980, 0, -20, 5_700_080)
    assert found.spatial_ref.attrs["GeoTransform"] == "299980.0 20.0 0.0 5700080.0 0.0 -20.0"
    assert found.mask.encoding["grid_mapping"] == "spatial_ref"
    np.testing.assert_array_equal(found.reflectance, reflectance)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.source, source)
    np.testing.assert_array_equal(found.valid == 1, source >= 0)
    assert {name: str(v.dtype) for name, v in found.data_vars.items()} == {
        "reflectance": "float32",
        "mask": "uint8",
        "alt_mask": "uint8",
        "valid": "uint8",
        "source": "int16",
    }
    assert "_FillValue" not in found.mask.attrs


def test_earlier_scenes_lie_on_top(neighbours):
    turned = neighbours.isel(scene=[1, 0, 2]).clouds.mosaic()
    overlap = turned.source.values[3:16, 10:16]
    assert (overlap == 0).all()
    np.testing.assert_array_equal(turned.mask[3:16, 10:16], neighbours.mask[1, 3:16, 0:6])


def test_pixels_without_data_let_those_below_show_through(neighbours):
    holed = neighbours.copy()
    holed["reflectance"] = neighbours.reflectance.where(neighbours.scene != neighbours.scene[0], 0)
    found = holed.clouds.mosaic()
    _, _, source = expected(holed.compute())
    assert not (source == 0).any()
    np.testing.assert_array_equal(found.source, source)
    assert (found.mask.values[source < 0] == 255).all()


def test_it_is_lazy(neighbours, no_compute):
    assert all(variable.chunks for variable in neighbours.clouds.mosaic().data_vars.values())


def test_another_crs_keeps_every_pixel_near_its_place(ds):
    """Each pixel of the mosaic shows a pixel of its source whose centre is at most 0.75 pixel widths away."""
    found = ds.clouds.mosaic(crs="EPSG:32630").compute()
    assert found.rio.crs.to_epsg() == 32630
    assert set(np.unique(found.source)) == {-1, 0, 1, 2, 3}
    rows, columns = np.nonzero(found.source.values >= 0)
    for row, column in list(zip(rows, columns, strict=True))[::97]:
        i = int(found.source[row, column])
        scene = ds.clouds.scene(i)
        to_scene = Transformer.from_crs(32630, scene.rio.crs, always_xy=True)
        x, y = to_scene.transform(float(found.x[column]), float(found.y[row]))
        nearby = scene.reflectance.sel(x=slice(x - 30, x + 30), y=slice(y + 30, y - 30)).values
        shown = found.reflectance.values[:, row, column]
        assert (nearby == shown[:, None, None]).all(0).any()


def test_degrees_and_coarser_pixels(neighbours):
    degrees = neighbours.clouds.mosaic(crs=4326)
    assert degrees.reflectance.dims == ("band", "y", "x")
    assert degrees.rio.crs.to_epsg() == 4326
    assert abs(degrees.rio.resolution()[0]) == pytest.approx(20 / 111_320 / np.cos(np.radians(51.4)), rel=0.3)
    coarse = neighbours.clouds.mosaic(resolution=80, resampling="average")
    assert coarse.rio.resolution() == (80, -80)
    _, _, source = expected(neighbours)
    assert float((coarse.valid == 1).mean()) == pytest.approx((source >= 0).mean(), abs=0.1)
    assert set(np.unique(coarse.mask)) <= {0, 1, 2, 255}


def test_interpolation_stays_within_what_was_measured(neighbours):
    """The zeros of no data do not run into their neighbours."""
    holed = neighbours.copy()
    holed["reflectance"] = neighbours.reflectance.clip(min=0.5).where(neighbours.x > 100, 0)
    smooth = holed.clouds.mosaic(crs=32630, resampling="bilinear").reflectance.values
    assert np.nanmin(smooth) >= 0.5


@pytest.fixture(scope="module")
def pacific(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Two scenes that the antimeridian cuts, from the zones on either side of it; 179.997 E to 179.998 W."""
    places = {"60NZF": array("60NZF", 829_720, 1_001_620), "01NAG": array("01NAG", 169_980, 1_001_620)}
    return catalogue_of(tmp_path_factory.mktemp("pacific"), places, SIZE)


@pytest.mark.parametrize("crs", [32601, 32660, 3832])
def test_a_mosaic_may_lie_across_the_antimeridian(pacific, crs):
    found = pacific.clouds.mosaic(crs=crs).compute()
    assert set(np.unique(found.source)) == {-1, 0, 1}
    for i in (0, 1):
        scene = pacific.clouds.scene(i)
        to_scene = Transformer.from_crs(crs, scene.rio.crs, always_xy=True)
        rows, columns = np.nonzero(found.source.values == i)
        x, y = to_scene.transform(found.x.values[columns], found.y.values[rows])
        nearest = scene.mask.sel(x=xr.DataArray(x), y=xr.DataArray(y), method="nearest").values
        same = nearest == found.mask.values[rows, columns]
        assert same.mean() > 0.95  # GDAL may choose the other one of two pixels that are as near
        assert abs(x - scene.x.values.mean()).max() <= SIZE / 2 * 20 + 1


@pytest.mark.parametrize("crs", [4326, 3857])
def test_a_crs_that_is_cut_through_a_scene_is_refused(pacific, crs):
    with pytest.raises(QueryError, match=rf"EPSG:{crs} is cut through one of the scenes.* e\.g\. 3832"):
        pacific.clouds.mosaic(crs=crs)


def test_a_large_mosaic_is_made_chunk_by_chunk(neighbours, monkeypatch):
    whole = neighbours.clouds.mosaic().compute()
    monkeypatch.setattr("s2cmc.geo.mosaics._CHUNK", 10)
    in_parts = neighbours.clouds.mosaic()
    assert in_parts.mask.chunks == ((10, 10, 10, 10, 9), (10, 10, 6))
    xr.testing.assert_equal(in_parts.compute(), whole)


def test_coarsened_scenes_keep_their_place(neighbours):
    coarse = neighbours.coarsen(y=4, x=4).mean()
    found = coarse.assign(mask=coarse.mask.round().astype("uint8")).clouds.mosaic(resolution=80)
    # By hand: 980 m from 5,700,080 downwards, 520 m across, in pixels of 80 m whose edges are those of the first scene.
    assert found.rio.bounds() == (299_980, 5_699_060, 300_540, 5_700_100)


def test_scenes_of_several_zones_need_a_crs(ds):
    with pytest.raises(QueryError, match=r"lie in 2 UTM zones \(EPSG:32630, 32631\); say which CRS.*crs=3857"):
        ds.clouds.mosaic()


def test_scenes_far_apart_are_refused(catalogue):
    with pytest.raises(QueryError, match=r"has \d+ x \d+ pixels; select neighbouring ones, or a coarser resolution"):
        catalogue.clouds.mosaic(crs=3857)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": "Mars"}, r"crs 'Mars' is no CRS; give an EPSG code, e\.g\. 3857"),
        ({"crs": 999_999}, "crs 999999 is no CRS"),
        ({"resampling": "closest"}, "resampling 'closest' is none of nearest, bilinear"),
        ({"resolution": 0}, r"resolution 0 is no width of a pixel"),
        ({"crs": 4978}, "crs 4978 is no CRS of a map"),
        ({"crs": 4326, "resolution": 20}, "resolution 20 makes a whole scene less than a pixel"),
        ({"resolution": "20"}, "resolution '20' is no width of a pixel"),
        ({"resolution": float("inf")}, "resolution inf is no width of a pixel"),
        ({"resolution": -20}, r"resolution -20 is no width of a pixel"),
    ],
)
def test_what_no_grid_has_is_an_error(neighbours, options, message):
    with pytest.raises(QueryError, match=message):
        neighbours.clouds.mosaic(**options)


def test_no_scene_is_an_error(neighbours):
    with pytest.raises(QueryError, match="there is no scene to put into a mosaic"):
        neighbours.isel(scene=[]).clouds.mosaic()


def test_without_odc_the_error_says_what_to_install(neighbours, monkeypatch):
    monkeypatch.setitem(sys.modules, "odc.geo.xr", None)
    with pytest.raises(CatalogueError, match=r"is missing; install it with: pip install 's2cmc\[geo\]'"):
        neighbours.clouds.mosaic()
