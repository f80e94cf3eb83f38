"""Scenes that touch a box or a geometry on Earth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.schema import Box, boxes_intersect, footprints, outlines

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_ROUNDING = 1e-4
"""Degrees by which stored bounds may be smaller than the footprints: the two are made from different points."""

_TORN = 100
"""Times the usual distance between two points of a footprint, beyond which a CRS is cut between them."""

_TURNS = ((-360.0, 0.0), (0.0, 0.0), (360.0, 0.0))


def check_placed(catalogue: xr.Dataset) -> None:
    """Check that a place can be asked for: a scene without an outline in its release is nowhere.

    Raises
    ------
    QueryError
        If there are scenes, and none has an outline.
    """
    if catalogue.sizes["scene"] and catalogue["lon_min"].isnull().all():
        raise QueryError(
            f"none of the {catalogue.sizes['scene']} scenes has an outline (x_origin and lon_min are NaN), so that "
            "bbox and intersects find nothing; convert a release with its shapefiles, or leave the place out"
        )


def touches_box(catalogue: xr.Dataset, box: Box) -> np.ndarray:
    """Find the scenes whose footprint shares a point with a box (west, south, east, north), degrees.

    Returns
    -------
    ndarray (scene,), bool
        West above east crosses the antimeridian. Without dims y and x, the bounds of the scenes are used.
    """
    import shapely

    bounds = np.column_stack([catalogue[name].to_numpy() for name in ("lon_min", "lat_min", "lon_max", "lat_max")])
    wider = bounds + np.array((-_ROUNDING, -_ROUNDING, _ROUNDING, _ROUNDING))
    near = np.array([boxes_intersect(tuple(edges), box) for edges in wider], bool)
    if {"y", "x"} <= set(catalogue.dims):
        west, south, east, north = box
        spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        geometry = shapely.MultiPolygon([shapely.box(a, south, b, north) for a, b in spans])
        near[near] = intersects(catalogue.isel(scene=near), geometry)
    return near


def intersects(catalogue: xr.Dataset, geometry: object) -> np.ndarray:
    """Find the scenes whose footprint shares a point with a geometry.

    Parameters
    ----------
    catalogue : Dataset
    geometry : shapely geometry, GeoSeries, GeoDataFrame, or GeoJSON as a mapping
        In degrees, longitude first; or, with a CRS as in geopandas, in that CRS, where its edges are straight.

    Returns
    -------
    ndarray (scene,), bool
        False where a scene has no georeference.

    Raises
    ------
    QueryError
        If `geometry` is no geometry.
    """
    import shapely

    target, crs = _geometry(geometry)
    shapes = footprints(outlines(catalogue))
    if crs is None:
        # Longitudes beyond 180, as some write them across the antimeridian, and 180 itself, which is -180.
        turned = [shapely.transform(target, lambda points, by=by: points + by) for by in _TURNS]
    else:
        # In the CRS of the geometry: its edges are straight there, and it may hold a pole or the antimeridian.
        turned, shapes = [target], [None if shape is None else _projected(shape, crs) for shape in shapes]
    shapely.prepare(turned)
    return np.array([s is not None and any(target.intersects(s) for target in turned) for s in shapes], bool)


def _projected(shape: "BaseGeometry", crs: Any) -> "BaseGeometry":
    """Project a footprint: its polygons, or only their points where the CRS is cut through them."""
    import shapely
    from pyproj import Transformer

    to_crs = Transformer.from_crs(4326, crs, always_xy=True)
    parts = []
    for part in getattr(shape, "geoms", [shape]):
        lonlat = shapely.get_coordinates(part)
        points = np.column_stack(to_crs.transform(*lonlat.T))
        # Far outside its area a CRS may give any point, finite or not: points that do not transform back are dropped.
        back = np.column_stack(to_crs.transform(points[:, 0], points[:, 1], direction="INVERSE"))
        points = points[(np.abs((back - lonlat + 180) % 360 - 180) < _ROUNDING).all(axis=1)]
        steps = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.zeros(1)
        torn = steps.max() > _TORN * max(np.median(steps), 1e-9)
        parts.append(shapely.MultiPoint(points) if torn or len(points) < 4 else shapely.Polygon(points))
    return shapely.union_all(parts)


def _geometry(value: Any) -> tuple["BaseGeometry", Any]:
    """Convert a geometry to shapely; also return its CRS, None for degrees."""
    import shapely
    from shapely.geometry import shape

    try:
        crs = getattr(value, "crs", None)
        if crs is not None and not crs.is_projected:
            value, crs = value.to_crs(4326), None
        geometry = value.union_all() if hasattr(value, "union_all") else value
        if isinstance(geometry, Mapping) and geometry.get("type") == "FeatureCollection":
            geometry = {"type": "GeometryCollection", "geometries": [f["geometry"] for f in geometry["features"]]}
        elif isinstance(geometry, Mapping) and geometry.get("type") == "Feature":
            geometry = geometry["geometry"]
        result = geometry if isinstance(geometry, shapely.Geometry) else shape(geometry)
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise QueryError(
            f"intersects: a {type(value).__name__} is no valid geometry: {error}; give one of shapely or geopandas, or "
            "GeoJSON"
        ) from error
    if result.is_empty:
        raise QueryError("intersects: the geometry is empty")
    west, south, east, north = result.bounds
    if crs is None and not (-540 <= west <= east <= 540 and -90 <= south <= north <= 90):
        raise QueryError(
            f"intersects: the geometry lies in x {west:g} to {east:g}, y {south:g} to {north:g}, which are no degrees "
            "of longitude and latitude; give a GeoSeries that says its CRS, or transform it"
        )
    return result, crs
