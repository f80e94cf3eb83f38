"""Shapefiles of every UTM zone, and of its edges: the right place on Earth."""

import numpy as np
import pytest
from helpers.shapefiles import shapefile_of
from pyproj import CRS, Geod, Transformer

from s2cmc.conversion.source.coordinates import geo_coordinates
from s2cmc.conversion.source.outlines import read_outline
from s2cmc.errors import SceneError
from s2cmc.schema import footprints
from s2cmc.schema.geometry import Outline
from s2cmc.schema.products import Product

pytestmark = pytest.mark.slow

WIDTH, INSET = 23_040.0, 1300.0
"""Of a published outline, and from it to its array, m."""

DIALECTS = {"ESRI": "WKT1_ESRI", "GDAL": "WKT1_GDAL", "WKT 2": "WKT2_2019"}


def product(zone: int, letter: str) -> Product:
    return Product.parse(f"S2A_MSIL1C_20180101T000000_N0206_R001_T{zone:02d}{letter}AA_20180101T000000")


def outline(zone: int, letter: str, centre: float, northing: float) -> Outline:
    """A published outline around an easting and a northing, at whole pixels."""
    left, top = 20 * round((centre - WIDTH / 2) / 20), 20 * round((northing + WIDTH / 2) / 20)
    return Outline(product(zone, letter).epsg, left, top - WIDTH, left + WIDTH, top)


def placed(found: Outline) -> dict[str, float]:
    """Coordinates of the only scene of a release."""
    return {name: values[0].item() for name, values in geo_coordinates([found], [65]).items()}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("letter", ["N", "M"], ids=["north", "south"])
@pytest.mark.parametrize("zone", range(1, 61))
def test_every_zone_of_both_hemispheres(zone, letter, dialect):
    """On the central meridian, 20 km from the equator: longitude 6 zone - 183 by the definition of UTM."""
    northing = 20_000 if letter == "N" else 10_000_000 - 20_000
    published = outline(zone, letter, 500_000, northing)
    prj = CRS.from_epsg(published.epsg).to_wkt(DIALECTS[dialect]).encode()
    found = read_outline(shapefile_of([published.ring()]) | {".prj": prj}, product(zone, letter))
    assert found == published
    place = placed(found)
    assert (place["x_origin"], place["y_origin"]) == (published.left + INSET, published.top - INSET)
    meridian = 6 * zone - 183
    assert place["lon_min"] + place["lon_max"] == pytest.approx(2 * meridian, abs=1e-9)
    assert place["lon_max"] - place["lon_min"] == pytest.approx(20_440 / (0.9996 * 111_319.49), rel=1e-4)
    # 20 km of 0.9996 of the meridian arc, which has 110,574.4 m a degree at the equator
    latitude = 20_000 / 0.9996 / 110_574.4 * (1 if letter == "N" else -1)
    assert (place["lat_min"] + place["lat_max"]) / 2 == pytest.approx(latitude, abs=1e-4)


PLACES = {
    "western border of a zone, equator": (31, "N", 166_021, 30_000),
    "eastern border of a zone, equator": (31, "N", 833_978, 30_000),
    "beyond the border, as the tiles reach": (31, "N", 850_000, 30_000),
    "equator from the north": (31, "N", 500_000, 5000),
    "equator from the south": (31, "M", 500_000, 9_995_000),
    "antimeridian, zone 1": (1, "K", 192_000, 7_500_000),
    "antimeridian, zone 60": (60, "K", 808_000, 7_500_000),
    "84 N": (33, "X", 500_000, 9_329_000),
    "84 N, antimeridian": (1, "X", 465_000, 9_329_000),
    "80 S": (19, "C", 500_000, 1_117_000),
    "80 S, antimeridian": (60, "C", 558_000, 1_117_000),
    "the wide zone of Norway": (32, "V", 300_000, 6_700_000),
    "the wide zones of Svalbard": (33, "X", 300_000, 8_700_000),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_footprint_is_the_array_on_the_globe(place):
    """Area and every edge point of a footprint against the ellipsoid and the zone it came from."""
    zone, letter, *centre = PLACES[place]
    array = read_outline(
        shapefile_of([(o := outline(zone, letter, *centre)).ring()], epsg=o.epsg), product(zone, letter)
    )
    array = array.grown(-INSET)
    (found,) = footprints([array])
    parts = list(getattr(found, "geoms", [found]))
    assert len(parts) == (2 if "antimeridian" in place else 1)
    west, south, east, north = found.bounds
    assert -180 <= west < east <= 180
    assert -80.5 < south < north < 84.1
    # UTM stretches lengths by 0.9996 on the central meridian, and more towards and beyond the borders.
    scale = 0.9996 * (1 + ((centre[0] - 500_000) / 6_378_137) ** 2 / 2)
    area = sum(Geod(ellps="WGS84").geometry_area_perimeter(part)[0] for part in parts)
    assert area == pytest.approx((20_440 / scale) ** 2, rel=3e-4)  # positive: counterclockwise, as RFC 7946 asks
    back = Transformer.from_crs(4326, array.epsg, always_xy=True)
    for part in parts:
        lon, lat = np.array(part.exterior.coords).T
        x, y = back.transform(lon, lat)
        edges = (x - array.left, x - array.right, y - array.top, y - array.bottom)
        off_edge = np.min(np.abs(edges), axis=0)
        assert (off_edge[abs(lon) < 180] < 0.5).all()


@pytest.mark.parametrize("place", PLACES)
def test_bounds_are_those_of_the_footprint(place):
    zone, letter, *centre = PLACES[place]
    found = outline(zone, letter, *centre)
    bounds = placed(found)
    (shape,) = footprints([found.grown(-INSET)])
    parts = sorted(getattr(shape, "geoms", [shape]), key=lambda part: part.bounds[0])
    west, east = parts[-1].bounds[0], parts[0].bounds[2]  # RFC 7946: west above east across the antimeridian
    expected = (west, shape.bounds[1], east, shape.bounds[3])
    assert [bounds[n] for n in ("lon_min", "lat_min", "lon_max", "lat_max")] == pytest.approx(expected, abs=1e-5)


def test_edges_are_bent_as_they_are_in_the_zone():
    """At 84 N the middle of the northern edge is 75 m off the straight line between its corners in degrees."""
    array = outline(33, "X", 700_000, 9_310_000).grown(-INSET)
    to_lonlat = Transformer.from_crs(array.epsg, 4326, always_xy=True)
    middle = to_lonlat.transform((array.left + array.right) / 2, array.top)
    corners = np.array([to_lonlat.transform(x, array.top) for x in (array.left, array.right)])
    (shape,) = footprints([array])
    on_earth = Geod(ellps="WGS84")
    nearest = np.array(shape.exterior.coords)
    nearest = nearest[np.argmin(np.hypot(*(nearest - middle).T))]
    assert on_earth.line_length(*np.transpose([middle, nearest])) < 600  # a point each kilometre
    assert on_earth.line_length(*np.transpose([middle, corners.mean(axis=0)])) > 30


@pytest.mark.parametrize(
    ("letter", "epsg"), [("N", 32731), ("M", 32631), ("N", 32630), ("N", 32632), ("N", 3857), ("N", 23031)]
)
def test_a_neighbouring_zone_or_the_other_half_is_an_error(letter, epsg):
    published = outline(31, letter, 500_000, 5_000_000)
    with pytest.raises(SceneError, match=rf"its \.prj is EPSG:{epsg}, but its tile 31{letter}AA lies in the UTM zone"):
        read_outline(shapefile_of([published.ring()], epsg=epsg), product(31, letter))
