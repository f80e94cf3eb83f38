"""The grid that neighbouring scenes are put on."""

from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from s2cmc.errors import QueryError
from s2cmc.geo import Outline
from s2cmc.schema import PIXEL_SIZE

if TYPE_CHECKING:
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

_MOST_PIXELS = 10**10
"""1e10 pixels of 20 m are 2000 x 2000 km. Scenes farther apart are hardly meant as neighbours."""

_TORN = 20
"""Times the usual distance between two points of an outline, beyond which a CRS is cut between them."""

_POINTS = 21  # on each edge: straight edges may be bent in another CRS


def make_grid(found: list[Outline], crs: str | int | None, resolution: float | None) -> "GeoBox":
    """The smallest grid that holds all outlines; pixels are those of the scenes where CRS and resolution are theirs.

    Parameters
    ----------
    found : list of Outline
    crs : str or int, optional
        By default the UTM zone of all of them.
    resolution : float, optional
        Width of a pixel in units of the CRS; by default what 20 m are in it, at the first outline.

    Raises
    ------
    QueryError
        If there is no such grid, or one far larger than neighbours need.
    """
    from odc.geo.geobox import GeoBox
    from odc.geo.types import xy_

    zones = sorted({outline.epsg for outline in found})
    if crs is None and len(zones) > 1:
        raise QueryError(
            f"the scenes lie in {len(zones)} UTM zones (EPSG:{', '.join(map(str, zones))}); say which CRS the mosaic "
            "has, e.g. crs=3857"
        )
    if resolution is not None and not (isinstance(resolution, Real) and 0 < resolution < np.inf):
        raise QueryError(
            f"resolution {resolution!r} is no width of a pixel; it is a number in units of the CRS, above 0"
        )
    wanted = _crs(zones[0] if crs is None else crs)
    every = np.array([bounds(outline, wanted) for outline in found])
    if resolution is not None and resolution > min(right - left for left, _, right, _ in every):
        raise QueryError(
            f"resolution {resolution} makes a whole scene less than a pixel; it is in units of crs {wanted}"
        )
    resolution = resolution or _resolution(found[0], wanted)
    # In their own zone, edges of pixels as those of the first scene; elsewhere at multiples of the resolution.
    own = (found[0].left, found[0].top) if zones == [wanted.epsg] else (0.0, 0.0)
    anchor = xy_(*(edge / resolution % 1 for edge in own))
    edges = (*every[:, :2].min(axis=0).tolist(), *every[:, 2:].max(axis=0).tolist())
    grid = GeoBox.from_bbox(edges, wanted, resolution=resolution, anchor=anchor)
    if grid.shape.y * grid.shape.x > _MOST_PIXELS:
        raise QueryError(
            f"a mosaic of these scenes has {grid.shape.y} x {grid.shape.x} pixels; select neighbouring ones, or a "
            "coarser resolution"
        )
    return grid


def _crs(given: str | int) -> "CRS":
    from odc.geo.crs import CRS
    from pyproj.exceptions import CRSError

    try:
        found = CRS(given)
    except (CRSError, TypeError, ValueError) as error:
        raise QueryError(
            f"crs {given!r} is no CRS; give an EPSG code, e.g. 3857, or a name, e.g. 'EPSG:3857'"
        ) from error
    if not (found.projected or found.geographic):
        raise QueryError(f"crs {given!r} is no CRS of a map; give a projected one, e.g. 3857, or a geographic one")
    return found


def _resolution(outline: Outline, crs: "CRS") -> float:
    """What a pixel of the scenes measures in another CRS, in its units."""
    from odc.geo.geobox import GeoBox

    shape = (outline.top - outline.bottom) / PIXEL_SIZE, (outline.right - outline.left) / PIXEL_SIZE
    edges = outline.left, outline.bottom, outline.right, outline.top
    own = GeoBox.from_bbox(edges, outline.epsg, shape=(round(shape[0]), round(shape[1])))
    return float(abs(own.to_crs(crs).resolution.x))


def bounds(outline: Outline, crs: "CRS") -> tuple[float, float, float, float]:
    """Left, bottom, right, top of an outline in another CRS, in its units.

    Raises
    ------
    QueryError
        If the CRS is cut through the outline, or does not reach it.
    """
    from pyproj import Transformer

    along = np.linspace(0, 1, _POINTS)
    corners = np.array(outline.ring())
    ring = np.concatenate([a + along[:, np.newaxis] * (b - a) for a, b in pairwise(corners)])
    points = np.column_stack(Transformer.from_crs(outline.epsg, crs.proj, always_xy=True).transform(*ring.T))
    steps = np.hypot(*np.diff(points, axis=0).T)
    if not np.isfinite(points).all() or steps.max() > _TORN * np.median(steps):
        raise QueryError(
            f"crs {crs} is cut through one of the scenes, as many are at the antimeridian; give another, e.g. 3832, or "
            "the UTM zone of a scene"
        )
    (left, bottom), (right, top) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, bottom, right, top
