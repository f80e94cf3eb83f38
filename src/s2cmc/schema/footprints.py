"""Footprints of the scenes in longitude and latitude, and what they intersect."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema.geometry import Box, Outline, boxes_intersect, edge_and_step

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pyproj import Transformer
    from shapely.geometry.base import BaseGeometry

_STEP = 1000.0
"""Metres between the points of an edge, which is straight in the UTM zone and not in degrees. What lies between is off
by at most 0.2 m, at 84 N; between the corners alone it would be off by 75 m."""

_ROUNDING = 1e-4
"""Degrees by which stored bounds may fall short of the footprints: both are edges of points, and not of the same."""

_TORN = 100
"""Times the usual distance between two points of a footprint, beyond which a CRS is cut between them."""

_TURNS = ((-360.0, 0.0), (0.0, 0.0), (360.0, 0.0))


def footprints(catalogue: xr.Dataset) -> "GeoDataFrame":
    """Footprint and coordinates of every scene as a table; see `GeoAccessor.footprints`."""
    try:
        import geopandas
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[geo]'") from error
    columns = {str(name): c.to_numpy() for name, c in catalogue.coords.items() if c.dims == ("scene",)}
    scenes = columns.pop("scene")
    shapes = geopandas.GeoSeries(_shapes(outlines(catalogue)), index=scenes, crs=4326)
    found = geopandas.GeoDataFrame(columns, index=scenes, geometry=shapes)
    return found.rename_axis("scene")


def outlines(catalogue: xr.Dataset) -> list[Outline | None]:
    """Outer edges of the array of every scene; None where its place is unknown.

    Parameters
    ----------
    catalogue : Dataset
        With all of y and x, or a part of them: the outlines are those of that part.
    """
    (x, width), (y, height) = (edge_and_step(catalogue[axis].to_numpy(), axis) for axis in ("x", "y"))
    across, down = (x, x + width * catalogue.sizes["x"]), (y, y + height * catalogue.sizes["y"])
    found: list[Outline | None] = []
    for epsg, left, top in zip(*(catalogue[n].to_numpy() for n in ("epsg", "x_origin", "y_origin")), strict=True):
        known = np.isfinite(left) and np.isfinite(top)
        edges = (left + min(across), top - max(down), left + max(across), top - min(down))
        found.append(Outline(int(epsg), *map(float, edges)) if known else None)
    return found


def footprint(outline: Outline) -> "BaseGeometry":
    """Polygon of an outline in degrees on WGS 84, or MultiPolygon where the antimeridian cuts it, as in RFC 7946."""
    from pyproj import Transformer

    return _footprint(outline, Transformer.from_crs(outline.epsg, 4326, always_xy=True))


def touches_box(catalogue: xr.Dataset, box: Box) -> np.ndarray:
    """Whether the footprint of each scene shares a point with a box (west, south, east, north), degrees.

    Returns
    -------
    ndarray (scene,), bool
        West above east crosses the antimeridian. Without y and x, by the bounds of the scenes.
    """
    import shapely

    bounds = np.column_stack([catalogue[name].to_numpy() for name in ("lon_min", "lat_min", "lon_max", "lat_max")])
    wider = bounds + np.array((-_ROUNDING, -_ROUNDING, _ROUNDING, _ROUNDING))
    near = np.array([boxes_intersect(tuple(found), box) for found in wider], bool)
    if {"y", "x"} <= set(catalogue.dims):
        west, south, east, north = box
        spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        geometry = shapely.MultiPolygon([shapely.box(a, south, b, north) for a, b in spans])
        near[near] = intersects(catalogue.isel(scene=near), geometry)
    return near


def intersects(catalogue: xr.Dataset, geometry: object) -> np.ndarray:
    """Whether the footprint of each scene shares a point with a geometry.

    Parameters
    ----------
    catalogue : Dataset
    geometry : shapely geometry, GeoSeries, GeoDataFrame, or GeoJSON as a mapping
        In degrees, longitude first, unless it says its CRS as geopandas does; then its edges are straight there.

    Returns
    -------
    ndarray (scene,), bool
        False where a scene has no georeference.

    Raises
    ------
    QueryError
        If it is no geometry.
    """
    import shapely

    wanted, crs = _geometry(geometry)
    shapes = _shapes(outlines(catalogue))
    if crs is None:
        # Longitudes beyond 180, as some write them across the antimeridian, and 180 itself, which is -180.
        turned = [shapely.transform(wanted, lambda points, by=by: points + by) for by in _TURNS]
    else:
        # In its own CRS: its edges are straight there, and it may hold a pole or the antimeridian.
        turned, shapes = [wanted], [None if shape is None else _projected(shape, crs) for shape in shapes]
    shapely.prepare(turned)
    return np.array([s is not None and any(wanted.intersects(s) for wanted in turned) for s in shapes], bool)


def _shapes(found: Iterable[Outline | None]) -> "list[BaseGeometry | None]":
    from pyproj import Transformer

    transformers: dict[int, Transformer] = {}  # each takes 10 ms to make
    shapes = []
    for outline in found:
        if outline is not None and outline.epsg not in transformers:
            transformers[outline.epsg] = Transformer.from_crs(outline.epsg, 4326, always_xy=True)
        shapes.append(None if outline is None else _footprint(outline, transformers[outline.epsg]))
    return shapes


def _footprint(outline: Outline, to_lonlat: "Transformer") -> "BaseGeometry":
    import antimeridian
    import shapely

    ring = shapely.segmentize(shapely.box(outline.left, outline.bottom, outline.right, outline.top), _STEP)
    lonlat = shapely.transform(ring, lambda points: np.column_stack(to_lonlat.transform(*points.T)))
    west, _, east, _ = lonlat.bounds
    # It holds no pole: the tiles of Sentinel-2 end at 84 N and 83 S.
    return antimeridian.fix_polygon(lonlat) if east - west > 180 else lonlat


def _projected(shape: "BaseGeometry", crs: Any) -> "BaseGeometry":
    """A footprint in a projected CRS: its polygons, or only their points where the CRS is cut through them."""
    import shapely
    from pyproj import Transformer

    to_crs = Transformer.from_crs(4326, crs, always_xy=True)
    parts = []
    for part in getattr(shape, "geoms", [shape]):
        lonlat = shapely.get_coordinates(part)
        points = np.column_stack(to_crs.transform(*lonlat.T))
        # Far outside its area a CRS may give any place, finite or not: what does not lead back is none.
        back = np.column_stack(to_crs.transform(points[:, 0], points[:, 1], direction="INVERSE"))
        points = points[(np.abs((back - lonlat + 180) % 360 - 180) < _ROUNDING).all(axis=1)]
        steps = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.zeros(1)
        torn = steps.max() > _TORN * max(np.median(steps), 1e-9)
        parts.append(shapely.MultiPoint(points) if torn or len(points) < 4 else shapely.Polygon(points))
    return shapely.union_all(parts)


def _geometry(given: Any) -> tuple["BaseGeometry", Any]:
    """One geometry of shapely, and its CRS, None for degrees."""
    import shapely
    from shapely.geometry import shape

    try:
        crs = getattr(given, "crs", None)
        if crs is not None and not crs.is_projected:
            given, crs = given.to_crs(4326), None
        geometry = given.union_all() if hasattr(given, "union_all") else given
        if isinstance(geometry, Mapping) and geometry.get("type") == "FeatureCollection":
            geometry = {"type": "GeometryCollection", "geometries": [f["geometry"] for f in geometry["features"]]}
        elif isinstance(geometry, Mapping) and geometry.get("type") == "Feature":
            geometry = geometry["geometry"]
        found = geometry if isinstance(geometry, shapely.Geometry) else shape(geometry)
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise QueryError(
            f"intersects: a {type(given).__name__} is no valid geometry: {error}; give one of shapely or geopandas, or "
            "GeoJSON"
        ) from error
    if found.is_empty:
        raise QueryError("intersects: the geometry is empty")
    west, south, east, north = found.bounds
    if crs is None and not (-540 <= west <= east <= 540 and -90 <= south <= north <= 90):
        raise QueryError(
            f"intersects: the geometry lies in x {west:g} to {east:g}, y {south:g} to {north:g}, which are no degrees "
            "of longitude and latitude; give a GeoSeries that says its CRS, or transform it"
        )
    return found, crs
