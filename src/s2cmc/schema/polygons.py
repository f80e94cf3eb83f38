"""Outlines of the scenes of a catalogue, and their footprints: outlines as polygons in longitude and latitude."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.schema.geometry import Outline, edges

if TYPE_CHECKING:
    from pyproj import Transformer
    from shapely.geometry.base import BaseGeometry

_STEP = 1000.0
"""Metres between the points of an edge, which is straight in its UTM zone and bent in degrees. With these points a
footprint is off by at most 0.2 m, at 84 N; with its corners alone it would be off by 75 m."""


def outlines(catalogue: xr.Dataset) -> list[Outline | None]:
    """Return the outline of the array of every scene; None for a scene whose place is unknown.

    Parameters
    ----------
    catalogue : Dataset
        If only a part of y and x is selected, the outlines are those of that part.
    """
    (west, east), (south, north) = edges(catalogue, "x"), edges(catalogue, "y")
    result: list[Outline | None] = []
    for epsg, left, top in zip(*(catalogue[n].to_numpy() for n in ("epsg", "x_origin", "y_origin")), strict=True):
        known = np.isfinite(left) and np.isfinite(top)
        sides = (left + west, top + south, left + east, top + north)
        result.append(Outline(int(epsg), *map(float, sides)) if known else None)
    return result


def footprints(outlines: Iterable[Outline | None]) -> "list[BaseGeometry | None]":
    """Convert outlines to footprints, degrees on WGS 84.

    Returns
    -------
    list of Polygon
        A MultiPolygon if the antimeridian cuts the outline, as in RFC 7946; None where there is no outline.
    """
    return _in_degrees(outlines, _lonlat_polygon)


def centres(outlines: Iterable[Outline | None]) -> "list[BaseGeometry | None]":
    """Convert outlines to their centres, Points in degrees on WGS 84; None where there is no outline."""
    return _in_degrees(outlines, _lonlat_centre)


def _in_degrees(
    outlines: Iterable[Outline | None], convert: "Callable[[Outline, Transformer], BaseGeometry]"
) -> "list[BaseGeometry | None]":
    from pyproj import Transformer

    transformers: dict[int, Transformer] = {}  # each takes 10 ms to make
    shapes = []
    for outline in outlines:
        if outline is not None and outline.epsg not in transformers:
            transformers[outline.epsg] = Transformer.from_crs(outline.epsg, 4326, always_xy=True)
        shapes.append(None if outline is None else convert(outline, transformers[outline.epsg]))
    return shapes


def _lonlat_centre(outline: Outline, to_lonlat: "Transformer") -> "BaseGeometry":
    import shapely

    x, y = (outline.left + outline.right) / 2, (outline.bottom + outline.top) / 2
    return shapely.Point(to_lonlat.transform(x, y))


def _lonlat_polygon(outline: Outline, to_lonlat: "Transformer") -> "BaseGeometry":
    import antimeridian
    import shapely

    ring = shapely.segmentize(shapely.box(outline.left, outline.bottom, outline.right, outline.top), _STEP)
    lonlat = shapely.transform(ring, lambda points: np.column_stack(to_lonlat.transform(*points.T)))
    west, _, east, _ = lonlat.bounds
    # A width above 180 degrees always means the antimeridian, and no pole: Sentinel-2's tiles end at 84 N and 83 S.
    return antimeridian.fix_polygon(lonlat) if east - west > 180 else lonlat
