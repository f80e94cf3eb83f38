"""Footprints as a table, and scenes chosen by any geometry."""

import json
import sys

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from helpers.places import world_of

from s2cmc import schema
from s2cmc.errors import ArgumentError, CatalogueError, QueryError

pytestmark = pytest.mark.slow

NAMES = ("60NZF", "31UCT", "19HCD", "32TPT")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """See `placed.world_of`."""
    return world_of(tmp_path_factory.mktemp("world"))


def tiles(found: xr.Dataset) -> list[str]:
    return found.mgrs_tile.values.tolist()


def test_the_table_has_every_coordinate_of_the_scenes(world, no_compute):
    table = world.clouds.footprints()
    assert isinstance(table, geopandas.GeoDataFrame)
    assert table.crs.to_epsg() == 4326
    assert table.index.name == "scene"
    assert table.index.tolist() == world.scene.values.tolist()
    assert list(table.columns) == [c.name for c in schema.SCENE_COORDINATES if c.name != "scene"] + ["geometry"]
    for name in ("cirrus", "cloud_percent", "epsg"):
        assert table[name].dtype == world[name].dtype
        np.testing.assert_array_equal(table[name], world[name])
    assert table.mgrs_tile.tolist() == tiles(world)


def test_times_are_text_that_sorts_and_converts(world, no_compute):
    times = world.assign_coords(seen=world.time.where(world.time.dt.month > 3)).clouds.footprints()
    assert times.time.tolist() == [f"{time.isoformat()}Z" for time in world.time.to_index()]
    np.testing.assert_array_equal(pd.to_datetime(times.time).dt.tz_localize(None), world.time)
    assert times.seen.isna().tolist() == (world.time.dt.month <= 3).values.tolist()


@pytest.mark.parametrize(
    ("geometry", "kinds"),
    [("polygon", ["MultiPolygon", "Polygon", "Polygon", None]), ("point", ["Point", "Point", "Point", None])],
)
def test_the_table_is_written_as_geojson_and_drawn(world, geometry, kinds, no_compute):
    table = world.clouds.footprints(geometry=geometry)
    features = json.loads(table.to_json())["features"]
    assert [feature["geometry"] and feature["geometry"]["type"] for feature in features] == kinds
    assert [feature["properties"]["mgrs_tile"] for feature in features] == tiles(world)
    assert features[0]["properties"]["time"] == "2018-03-06T21:05:21Z"
    assert len(table.plot().collections) == 1
    for column in (None, "time", "cloud_percent", "cirrus"):
        assert "60NZF" in table.explore(column).get_root().render()


def test_points_are_the_centres_of_the_scenes(world, no_compute):
    points, shapes = (world.clouds.footprints(geometry=kind).geometry for kind in ("point", "polygon"))
    assert points.crs.to_epsg() == 4326
    assert points.iloc[1].distance(GREENWICH) < 1e-3
    assert points.iloc[1].distance(shapes.iloc[1].centroid) < 1e-5
    assert abs(points.iloc[0].x) > 179.9  # the mean of both halves would be at Greenwich
    assert points.iloc[3] is None
    with pytest.raises(ArgumentError, match="geometry 'line' is none of 'polygon', 'point'"):
        world.clouds.footprints(geometry="line")


def test_a_scene_without_an_outline_has_no_geometry(world):
    assert world.clouds.footprints().geometry.isna().tolist() == [False, False, False, True]


def test_the_antimeridian_splits_a_footprint(world):
    shape = world.clouds.footprints().geometry.iloc[0]
    assert shape.geom_type == "MultiPolygon"
    assert sorted(part.bounds[0] < 0 for part in shape.geoms) == [False, True]
    assert {part.bounds[2] for part in shape.geoms if part.bounds[0] > 0} == {180}
    assert {part.bounds[0] for part in shape.geoms if part.bounds[0] < 0} == {-180}


def test_a_part_of_the_scenes_has_their_footprints(world):
    whole, upper = (
        world.clouds.footprints().geometry.iloc[1],
        world.isel(y=slice(8)).clouds.footprints().geometry.iloc[1],
    )
    assert upper.area == pytest.approx(whole.area / 2, rel=1e-3)
    assert upper.bounds[3] == whole.bounds[3]
    assert upper.bounds[1] > whole.bounds[1]


GREENWICH = shapely.Point(0.05767, 51.42737)
"""In the middle of the scene of 31UCT."""


def test_the_point_is_where_the_scene_is(world):
    placed = world.clouds.scene("31UCT")
    x, y = placed.x.values.mean(), placed.y.values.mean()
    found = geopandas.GeoSeries([shapely.Point(x, y)], crs=32631).to_crs(4326).iloc[0]
    assert found.distance(GREENWICH) < 1e-3


@pytest.mark.parametrize(
    "geometry",
    [
        GREENWICH.buffer(0.01),
        shapely.LineString([(-1, 51.42737), (1, 51.42737)]),
        shapely.geometry.mapping(GREENWICH.buffer(0.01)),
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(GREENWICH.buffer(0.01))},
        {"type": "FeatureCollection", "features": [{"geometry": shapely.geometry.mapping(GREENWICH.buffer(0.01))}]},
        geopandas.GeoSeries([GREENWICH.buffer(0.01)]),
        geopandas.GeoSeries([GREENWICH.buffer(0.01)], crs=4326),
        geopandas.GeoSeries([GREENWICH.buffer(0.01)], crs=4326).to_crs(3857),
        geopandas.GeoDataFrame(geometry=[GREENWICH.buffer(0.01), shapely.Point(5, 50)], crs=4326).to_crs(32631),
    ],
    ids=["polygon", "line", "GeoJSON", "feature", "features", "series", "series 4326", "series 3857", "frame 32631"],
)
def test_geometries_come_in_many_forms(world, geometry, no_compute):
    assert tiles(world.clouds.select(intersects=geometry)) == ["31UCT"]


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        (shapely.box(-180, -90, 180, 90), ["60NZF", "31UCT", "19HCD"]),
        (shapely.box(179, 8, 180, 10), ["60NZF"]),
        (shapely.box(-180, 8, -179, 10), ["60NZF"]),
        (shapely.box(179, 8, 181, 10), ["60NZF"]),
        (shapely.box(180.001, 8, 190, 10), ["60NZF"]),
        (shapely.box(-190, 8, -180.001, 10), ["60NZF"]),
        (shapely.box(170, 20, 190, 80), []),
        (shapely.MultiPoint([(0.05767, 51.42737), (180, 9.04747)]), ["60NZF", "31UCT"]),
        (shapely.box(-80, -40, -60, -30, ccw=False), ["19HCD"]),
    ],
    ids=str,
)
def test_longitudes_may_run_beyond_180(world, geometry, expected):
    assert tiles(world.clouds.select(intersects=geometry)) == expected


LAEA_PACIFIC = "+proj=laea +lat_0=0 +lon_0=180"


@pytest.mark.parametrize(
    ("crs", "geometry", "expected"),
    [
        (32660, shapely.box(820_000, 990_000, 840_000, 1_010_000), ["60NZF"]),
        (32601, shapely.box(160_000, 990_000, 180_000, 1_010_000), ["60NZF"]),
        (32660, shapely.box(600_000, 1_100_000, 1_000_000, 1_200_000), []),
        (LAEA_PACIFIC, shapely.Point(0, 1_000_000).buffer(20_000), ["60NZF"]),
        (3995, shapely.Point(0, 0).buffer(4_500_000), ["31UCT"]),  # around the North Pole
        (3031, shapely.Point(0, 0).buffer(7_000_000), ["19HCD"]),  # around the South Pole
        (3857, shapely.box(-20_037_508, -15e6, 20_037_508, 15e6), ["60NZF", "31UCT", "19HCD"]),
        # Straight in Europe's equal-area CRS this edge passes south of the scene, and north of it in degrees.
        (3035, shapely.LineString([(2_000_000, 3_000_000), (6_000_000, 3_000_000)]), []),
    ],
    ids=["own zone", "next zone", "apart", "Pacific", "North Pole", "South Pole", "world", "straight edge"],
)
def test_a_geometry_is_taken_in_its_own_crs(world, crs, geometry, expected):
    assert tiles(world.clouds.select(intersects=geopandas.GeoSeries([geometry], crs=crs))) == expected


def test_scenes_without_pixels_are_chosen_by_their_bounds(world):
    table = world.drop_dims(["y", "x"])
    assert tiles(table.clouds.select(bbox=(-80, -40, -60, -30))) == ["19HCD"]
    assert tiles(world.isel(y=3).clouds.select(bbox=(-80, -40, -60, -30))) == ["19HCD"]
    with pytest.raises(CatalogueError, match="no 'y', which is needed here"):
        table.clouds.select(intersects=GREENWICH)


def test_coarser_and_reversed_pixels_have_the_same_footprint(world):
    whole = world.clouds.footprints().geometry.iloc[1]
    for part in (world.coarsen(y=4, x=4).mean(), world.isel(y=slice(None, None, -1), x=slice(None, None, -1))):
        assert part.clouds.footprints().geometry.iloc[1].equals_exact(whole, 1e-9)
    for part in (world.isel(y=[0, 1, 9]), world.isel(y=[])):
        with pytest.raises(CatalogueError, match=r"the \d pixels along y are not evenly spaced; take a slice of them"):
            part.clouds.footprints()


def test_a_hole_holds_no_scene(world):
    ring = GREENWICH.buffer(2).difference(GREENWICH.buffer(1))
    assert tiles(world.clouds.select(intersects=ring)) == []
    assert tiles(world.clouds.select(intersects=GREENWICH.buffer(2))) == ["31UCT"]


def test_conditions_meet(world):
    everywhere = shapely.box(-180, -90, 180, 90)
    found = world.clouds.select("epsg > 32700", bbox=(-80, -40, 10, 60), intersects=everywhere)
    assert tiles(found) == ["19HCD"]
    assert tiles(world.clouds.select(bbox=(-80, -40, -60, -30), intersects=GREENWICH)) == []


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ("31UCT", "a str is no valid geometry: .*; give one of shapely or geopandas, or GeoJSON"),
        (5, "a int is no valid geometry"),
        ({"type": "Circle"}, "a dict is no valid geometry"),
        ({"type": "FeatureCollection"}, "a dict is no valid geometry"),
        (shapely.Polygon(), "the geometry is empty"),
        (geopandas.GeoDataFrame({"a": [1]}), "a GeoDataFrame is no valid geometry"),
        (geopandas.GeoSeries([], crs=4326), "the geometry is empty"),
        (
            shapely.Point(500_000, 4_000_000),
            r"lies in x 500000 to 500000, y 4e\+06 to 4e\+06.*give a GeoSeries that says",
        ),
        (shapely.Point(51.4, 100), "are no degrees of longitude and latitude"),
    ],
    ids=repr,
)
def test_what_is_no_geometry_on_earth_is_an_error(world, geometry, message):
    with pytest.raises(QueryError, match=f"intersects: .*{message}"):
        world.clouds.select(intersects=geometry)


def test_without_geopandas_the_error_says_what_to_install(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(CatalogueError, match=r"geopandas is missing; install it with: pip install 's2cmc\[geo\]'"):
        world.clouds.footprints()
    assert tiles(world.clouds.select(intersects=GREENWICH)) == ["31UCT"]
