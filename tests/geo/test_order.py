"""Pixels are where their y and x say, in whatever order they are; a y or x that no catalogue has is an error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr
from helpers.places import array, catalogue_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

import s2cmc
from s2cmc.errors import CatalogueError
from s2cmc.schema import outlines

pytestmark = pytest.mark.slow

SIZE = 16
LEFT, TOP = 499_980, 4_180_000


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Two scenes of 18SVG that overlap by half.

    ``northing`` and ``easting`` (scene, y, x) are the centres of their pixels, by hand; they go with the pixels.
    """
    places = {"18SVG": array("18SVG", LEFT, TOP), "18SVH": array("18SVH", LEFT, TOP + 160)}
    opened = catalogue_of(tmp_path_factory.mktemp("order"), places, SIZE)
    offset = 10 + 20 * np.arange(SIZE)
    northing = np.array([TOP, TOP + 160.0])[:, None, None] - offset[:, None] + np.zeros(SIZE)
    easting = np.full((2, SIZE, 1), LEFT) + offset
    dims = ("scene", "y", "x")
    return opened.assign(northing=(dims, northing), easting=(dims, easting.astype(float)))


def saved(ds: xr.Dataset, folder: Path) -> xr.Dataset:
    part = ds[["mask", "northing", "easting"]].isel(y=slice(2, 9))
    part.to_zarr(folder / "part.zarr", zarr_format=3, consolidated=False)
    return xr.open_zarr(folder / "part.zarr", consolidated=False)


def saved_as_netcdf(ds: xr.Dataset, folder: Path) -> xr.Dataset:
    part = ds[["mask", "northing", "easting"]].isel(y=slice(9, 2, -1), x=slice(None, None, 2))
    part.to_netcdf(folder / "part.nc", engine="h5netcdf")
    return xr.open_dataset(folder / "part.nc", engine="h5netcdf")


PARTS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "as opened": lambda ds: ds,
    "sorted": lambda ds: ds.sortby("y"),
    "reversed": lambda ds: ds.isel(y=slice(None, None, -1), x=slice(None, None, -1)),
    "sliced": lambda ds: ds.isel(y=slice(3, 9), x=slice(5, 12)),
    "sliced by label": lambda ds: ds.sel(y=slice(-60, -200), x=slice(100, 240)),
    "strided": lambda ds: ds.isel(y=slice(1, None, 3), x=slice(None, None, 2)),
    "strided, reversed": lambda ds: ds.isel(y=slice(None, None, -3)),
    "coarsened": lambda ds: ds.coarsen(y=4, x=2).mean(),
    "sorted, coarsened": lambda ds: ds.sortby("y").coarsen(y=4, x=4).mean(),
    "one row": lambda ds: ds.isel(y=[5]),
    "one column": lambda ds: ds.isel(x=[15]),
    "one pixel": lambda ds: ds.isel(y=[5], x=[2]),
}


def check_places(part: xr.Dataset) -> None:
    """Hold every scene of a part against the centres that its pixels carry along."""
    for i in range(part.sizes["scene"]):
        scene, carried = part.clouds.scene(i), part.isel(scene=i).transpose(..., "y", "x")
        np.testing.assert_allclose(np.broadcast_to(scene.y.values[:, None], carried.northing.shape), carried.northing)
        np.testing.assert_allclose(np.broadcast_to(scene.x.values, carried.easting.shape), carried.easting)
        transform = scene.rio.transform()
        rows, columns = np.arange(part.sizes["y"]) + 0.5, np.arange(part.sizes["x"]) + 0.5
        np.testing.assert_allclose(transform.f + transform.e * rows, scene.y)
        np.testing.assert_allclose(transform.c + transform.a * columns, scene.x)
        (outline,) = outlines(part.isel(scene=[i]))
        corners = np.sort([transform @ (0, 0), transform @ (len(columns), len(rows))], axis=0)
        assert (outline.left, outline.bottom, outline.right, outline.top) == tuple(corners.ravel())


@pytest.mark.parametrize("take", PARTS.values(), ids=PARTS)
def test_every_pixel_of_a_part_is_where_it_was(ds: xr.Dataset, take: Callable[[xr.Dataset], xr.Dataset]) -> None:
    check_places(take(ds))


@pytest.mark.parametrize("save", [saved, saved_as_netcdf])
def test_what_was_saved_is_where_it_was(ds: xr.Dataset, save: Callable, tmp_path: Path) -> None:
    with save(ds, tmp_path) as opened:
        check_places(opened)


steps = st.integers(1, 4) | st.integers(-4, -1)
cuts = st.integers(0, SIZE)
slices = st.builds(slice, st.none() | cuts, st.none() | cuts, steps)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=slices, columns=slices, again=steps)
def test_any_slices_of_slices_keep_their_place(ds: xr.Dataset, rows: slice, columns: slice, again: int) -> None:
    part = ds[["northing", "easting"]].isel(y=rows, x=columns).isel(y=slice(None, None, again))
    places = part.sizes["y"], part.sizes["x"]
    coarse = max(abs(rows.step * again) if places[0] > 1 else 1, abs(columns.step) if places[1] > 1 else 1) > 1
    if 0 in places or (1 in places and coarse):
        with pytest.raises(CatalogueError, match=r"not evenly spaced|is not known"):
            part.clouds.scene(0)
    else:
        check_places(part)


TURNS = {
    "sorted": lambda ds: ds.sortby("y"),
    "reversed": lambda ds: ds.isel(y=slice(None, None, -1), x=slice(None, None, -1)),
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_turned_pixels_make_the_same_footprints_windows_and_mosaic(ds: xr.Dataset, turn: Callable) -> None:
    turned = turn(ds)
    for found, expected in zip(turned.clouds.footprints().geometry, ds.clouds.footprints().geometry, strict=True):
        assert found.equals(expected)
    assert turned.clouds.l1c_window("18SVG") == ds.clouds.l1c_window("18SVG")
    assert turned.isel(x=slice(4)).clouds.l1c_window("18SVG").window(20).width == 4
    expected = ds.clouds.mosaic()
    assert expected.rio.transform() == Affine(20, 0, LEFT, 0, -20, TOP + 160)
    xr.testing.assert_identical(turned.clouds.mosaic().compute(), expected.compute())


def test_a_part_of_the_rows_is_found_where_it_is(ds: xr.Dataset) -> None:
    """The upper half of the northern scene does not touch the southern one, in whatever order its rows are."""
    upper = ds.sel(y=slice(0, -160), scene=ds.mgrs_tile == "18SVH")
    southern = ds.clouds.footprints().geometry.iloc[0].buffer(-1e-5)
    for part in (upper, upper.sortby("y")):
        assert part.clouds.select(intersects=southern).sizes["scene"] == 0
        assert part.clouds.select(intersects=shapely.box(-76, 37, -74, 39)).sizes["scene"] == 1
    lower = ds.sel(y=slice(-160, None), scene=ds.mgrs_tile == "18SVH")
    assert lower.clouds.select(intersects=southern).sizes["scene"] == 1


ASKED: dict[str, Callable[[xr.Dataset], object]] = {
    "scene": lambda ds: ds.clouds.scene(0),
    "footprints": lambda ds: ds.clouds.footprints(),
    "mosaic": lambda ds: ds.clouds.mosaic(),
    "l1c_window": lambda ds: ds.clouds.l1c_window(0),
    "read_l1c": lambda ds: ds.clouds.read_l1c(0, "products"),
    "check_georeference": lambda ds: ds.clouds.check_georeference(0, "products"),
    "intersects": lambda ds: ds.clouds.select(intersects=shapely.box(-76, 37, -74, 39)),
    "bbox": lambda ds: ds.clouds.select(bbox=(-76, 37, -74, 39)),
}

WRONG: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "y of format 1": (
        lambda ds: ds.assign_coords(y=-ds.y),
        r"coordinate y holds 10, but it is metres north of the upper edge of the array, from 0 down "
        r"\(-10, -30, \.\.\.\), so that y_origin \+ y is UTM; take y as s2cmc\.open_catalogue gives it, or turn its "
        r"sign if it counts downwards: ds\.assign_coords\(y=-ds\.y\)$",
    ),
    "one of them": (lambda ds: ds.assign_coords(y=[*-10 - 20.0 * np.arange(15), 10]), r"y holds 10, .* gives it$"),
    "y of UTM": (lambda ds: ds.assign_coords(y=TOP + ds.y), r"y holds 4\.17999e\+06, .* gives it$"),
    "x turned": (
        lambda ds: ds.assign_coords(x=-ds.x),
        r"coordinate x holds -10, but it is metres east of the left edge of the array, from 0 up \(10, 30, \.\.\.\), "
        r"so that x_origin \+ x is UTM; take x as s2cmc\.open_catalogue gives it$",
    ),
    "x of UTM": (lambda ds: ds.assign_coords(x=LEFT + ds.x), r"as if it was put on Earth already|x holds 499990, "),
    "a row of coarse pixels": (
        lambda ds: ds.coarsen(y=16).mean(),
        r"single pixel along y is not known: coarsened or st",
    ),
    "a row of strided ones": (
        lambda ds: ds.isel(y=[3], x=slice(None, None, 3)),
        r"along y is not known|along x are 60 m apart",
    ),
    "uneven": (lambda ds: ds.isel(x=[0, 1, 5]), r"the 3 pixels along x are not evenly spaced; take a slice of them"),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_coordinates_of_no_catalogue_are_an_error(
    ds: xr.Dataset, ask: Callable, spoil: Callable, message: str, no_compute: None
) -> None:
    with pytest.raises(CatalogueError, match=message):
        ask(spoil(ds))


@pytest.mark.parametrize("ask", [ASKED[name] for name in ASKED if name != "bbox"])
@pytest.mark.parametrize("axis", ["y", "x"])
def test_without_a_coordinate_no_place_is_known(ds: xr.Dataset, ask: Callable, axis: str) -> None:
    with pytest.raises(
        CatalogueError, match=rf"this Dataset has no '{axis}', which is needed here; .* keep '{axis}' in"
    ):
        ask(ds.drop_vars(axis))


def test_counting_needs_no_place(ds: xr.Dataset) -> None:
    turned = ds.sortby("y").assign_coords(y=np.arange(SIZE))
    xr.testing.assert_equal(turned.clouds.class_counts(), ds.clouds.class_counts())


def test_patches_are_of_rows_and_columns_of_the_dataset(ds: xr.Dataset) -> None:
    turned = ds.sortby("y")
    found = turned.clouds.patches_at([(1, 2, 3)], size=4)
    np.testing.assert_array_equal(found["mask"][0], turned["mask"][1, 2:6, 3:7])
    assert (found.y_start.item(), found.x_start.item()) == (2, 3)


def test_a_catalogue_is_north_up_as_opened(store: Path) -> None:
    for opened in (s2cmc.open_catalogue(store), xr.open_zarr(store)):
        assert opened.y.values.tolist() == [-10.0 - 20 * i for i in range(64)]
        assert opened.x.values.tolist() == [10.0 + 20 * i for i in range(64)]
        cut = opened.sel(y=slice(-200, -300), x=slice(200, 300))
        xr.testing.assert_equal(cut["mask"], opened["mask"][:, 10:15, 10:15])
