"""Boxes on a globe that closes on itself, and the outline of a scene."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s2cmc.errors import CatalogueError
from s2cmc.schema.geometry import Outline, boxes_intersect, lonlat_bounds, outline_margin

Box = tuple[float, float, float, float]

_LONGITUDES = st.integers(-179, 180)
_LATITUDES = st.lists(st.integers(-90, 90), min_size=2, max_size=2).map(sorted)


@st.composite
def _boxes(draw: st.DrawFn) -> Box:
    """Whole degrees, west above east where the box crosses the antimeridian."""
    south, north = draw(_LATITUDES)
    return draw(_LONGITUDES), south, draw(_LONGITUDES), north


def _meridians(box: Box) -> set[int]:
    """Whole meridians of a box, walking eastwards from its western edge."""
    west, _, east, _ = (int(edge) for edge in box)
    return {(west + step + 179) % 360 - 179 for step in range((east - west) % 360 + 1)}


def _parallels(box: Box) -> set[int]:
    _, south, _, north = (int(edge) for edge in box)
    return set(range(south, north + 1))


@settings(deadline=None)
@given(_boxes(), _boxes())
@example((170, -10, -170, 10), (-175, 0, -172, 5))
@example((170, -10, -170, 10), (175, 0, -179, 5))
@example((170, -10, -170, 10), (-169, 0, 169, 5))
def test_boxes_intersect_where_they_share_a_point(a: Box, b: Box) -> None:
    # Edges are whole degrees, so that boxes with a point in common have one where whole degrees cross.
    assert boxes_intersect(a, b) == bool(_meridians(a) & _meridians(b) and _parallels(a) & _parallels(b))


@settings(deadline=None)
@given(_boxes(), _boxes())
def test_intersection_does_not_depend_on_the_order(a: Box, b: Box) -> None:
    assert boxes_intersect(a, b) == boxes_intersect(b, a)


@settings(deadline=None)
@given(_boxes())
def test_the_whole_earth_meets_every_box(box: Box) -> None:
    assert boxes_intersect((-180, -90, 180, 90), box)
    assert boxes_intersect(box, box)


def test_180_degrees_east_is_180_degrees_west() -> None:
    assert boxes_intersect((170, 0, 180, 10), (-180, 0, -170, 10))


def test_bounds_that_are_unknown_meet_nothing() -> None:
    nowhere = (math.nan, math.nan, math.nan, math.nan)
    assert not boxes_intersect((-180, -90, 180, 90), nowhere)
    assert not boxes_intersect(nowhere, (170, -90, -170, 90))


def test_a_ring_is_closed_and_clockwise_from_the_upper_left() -> None:
    outline = Outline(32618, 100.0, 200.0, 500.0, 800.0)
    assert outline.ring() == [(100.0, 800.0), (500.0, 800.0), (500.0, 200.0), (100.0, 200.0), (100.0, 800.0)]
    twice_the_area = sum(
        x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(outline.ring(), outline.ring()[1:], strict=False)
    )
    assert twice_the_area == -2 * 400 * 600  # clockwise is negative, as a shapefile's outer ring must be


def test_grown_moves_every_side_outwards() -> None:
    assert Outline(32618, 100.0, 200.0, 500.0, 800.0).grown(20) == Outline(32618, 80.0, 180.0, 520.0, 820.0)


@settings(deadline=None)
@given(st.integers(-10_000, 10_000))
def test_growing_back_gives_the_same_outline(metres: int) -> None:
    outline = Outline(32718, 300_000.0, 7_000_000.0, 323_040.0, 7_023_040.0)
    assert outline.grown(metres).grown(-metres) == outline


def _square(metres: float, left: float = 300_000.0, bottom: float = 4_000_000.0, epsg: int = 32618) -> Outline:
    return Outline(epsg, left, bottom, left + metres, bottom + metres)


@pytest.mark.parametrize(("metres", "margin"), [(23_040, 65), (20_440, 0), (23_040.00005, 65)])
def test_the_published_outline_exceeds_the_array_by_65_pixels_or_fits(metres: float, margin: int) -> None:
    assert outline_margin(_square(metres), (1022, 1022)) == margin


def test_a_margin_holds_for_height_and_width() -> None:
    assert outline_margin(Outline(32618, 0, 0, (40 + 130) * 20, (30 + 130) * 20), (30, 40)) == 65
    with pytest.raises(CatalogueError, match=r"3200\.000 x 3400\.000 m \(width x height\); an array of 40 x 30 pixels"):
        outline_margin(Outline(32618, 0, 0, (30 + 130) * 20, (40 + 130) * 20), (30, 40))


@pytest.mark.parametrize("metres", [23_020, 23_060, 20_460, 23_040.01, 1022 * 22.54, 0])
def test_an_outline_of_another_size_is_never_stretched(metres: float) -> None:
    with pytest.raises(
        CatalogueError, match=rf"{metres:.3f} x .* 1022 x 1022 pixels of 20 m .* 23040 m wide .* 20440 m"
    ):
        outline_margin(_square(metres), (1022, 1022))


def test_lonlat_bounds_enclose_the_outline_on_the_central_meridian() -> None:
    # Easting 500 km is the central meridian of every zone: 75 W in zone 18.
    west, south, east, north = lonlat_bounds(_square(20_000, left=490_000.0, bottom=0.0))
    assert west == pytest.approx(-75.0899, abs=1e-3)
    assert east == pytest.approx(-74.9101, abs=1e-3)
    assert south == pytest.approx(0, abs=1e-9)
    assert north == pytest.approx(0.1809, abs=1e-3)


@pytest.mark.parametrize(("epsg", "left"), [(32601, 160_000.0), (32660, 820_000.0)])
def test_lonlat_bounds_across_the_antimeridian_run_west_to_east(epsg: int, left: float) -> None:
    west, south, east, north = lonlat_bounds(_square(23_040, left, 1_000_000.0, epsg))
    assert 179 < west <= 180
    assert -180 <= east < -179
    assert 9 < south < north < 10


def test_lonlat_bounds_of_the_south_are_negative() -> None:
    _, south, _, north = lonlat_bounds(_square(23_040, 300_000.0, 6_000_000.0, 32753))
    assert -37 < south < north < -35
