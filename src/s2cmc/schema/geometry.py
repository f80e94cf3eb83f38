"""Outlines of scenes in their UTM zones, and their bounds in longitude and latitude."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from s2cmc.errors import CatalogueError
from s2cmc.schema.catalogue import PIXEL_SIZE
from s2cmc.schema.products import TILE_SIZE, tile_origin

if TYPE_CHECKING:
    import xarray as xr

Box = tuple[float, float, float, float]
"""West, south, east, north, degrees; west above east crosses the antimeridian."""

OUTLINE_MARGIN = 65
"""Pixels between the published outline and the array on each side.

The outlines are the padded windows that the annotators saw, 1152 pixels wide; the arrays are their centres. This was
found by matching B11 to the original Level-1C products.
"""


@dataclass(frozen=True)
class Outline:
    """An upright rectangle in a projected CRS.

    Attributes
    ----------
    epsg : int
        EPSG code of its CRS.
    left, bottom, right, top : float
        Outer edges, m.
    """

    epsg: int
    left: float
    bottom: float
    right: float
    top: float

    def ring(self) -> list[tuple[float, float]]:
        """Return the closed outer ring, clockwise from the upper left corner."""
        return [
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
            (self.left, self.top),
        ]

    def grown(self, metres: float) -> "Outline":
        """Return the outline that is larger by `metres` on every side."""
        return Outline(self.epsg, self.left - metres, self.bottom - metres, self.right + metres, self.top + metres)


def outline_margin(outline: Outline, size: tuple[int, int]) -> int:
    """Return by how many pixels `outline` exceeds an array of `size` (y, x) on each side: 65, or 0 for an exact fit.

    Raises
    ------
    CatalogueError
        If the outline is of any other size; an outline is never stretched over the array.
    """
    height, width = outline.top - outline.bottom, outline.right - outline.left
    for margin in (OUTLINE_MARGIN, 0):
        expected = tuple((n + 2 * margin) * PIXEL_SIZE for n in size)
        if all(abs(length - e) < 1e-4 for length, e in zip((height, width), expected, strict=True)):
            return margin
    padded, exact = ((size[1] + 2 * margin) * PIXEL_SIZE for margin in (OUTLINE_MARGIN, 0))
    raise CatalogueError(
        f"the outline is {width:.3f} x {height:.3f} m (width x height); an array of {size[1]} x {size[0]} pixels "
        f"of {PIXEL_SIZE:g} m has one that is {padded:g} m wide ({OUTLINE_MARGIN} pixels more on a side) or {exact:g} m"
    )


_TOLERANCE = 1e-3  # m; the precision of the outlines


def edges_in_tile(array: Outline, tile: str) -> dict[str, int]:
    """Return the edges of an array, m from the upper left corner of its tile: right and down from it.

    Parameters
    ----------
    array : Outline
        Outer edges of the pixels, in the UTM zone of the tile.
    tile : str
        ``18SVG``.

    Returns
    -------
    dict of str to int
        ``left``, ``top``, ``right``, ``bottom``; multiples of 20.

    Raises
    ------
    CatalogueError
        If the array is not within the Level-1C tile, or not on its grid of 20 m: no product has such pixels.
    """
    x, y = tile_origin(tile)
    sides = {"left": array.left - x, "top": y - array.top, "right": array.right - x, "bottom": y - array.bottom}
    if min(sides.values()) < -_TOLERANCE or max(sides.values()) > TILE_SIZE + _TOLERANCE:
        raise CatalogueError(
            f"its corners {array.left:.3f}, {array.top:.3f} and {array.right:.3f}, {array.bottom:.3f} m are not within "
            f"its tile, which goes from {x}, {y} to {x + TILE_SIZE}, {y - TILE_SIZE} m: its georeference is wrong"
        )
    if any(abs(side - round(side / PIXEL_SIZE) * PIXEL_SIZE) > _TOLERANCE for side in sides.values()):
        raise CatalogueError(
            f"its corner {array.left:.3f}, {array.top:.3f} m is not on the {PIXEL_SIZE:g} m grid of its tile, which "
            f"begins at {x}, {y} m: its georeference is wrong"
        )
    return {name: round(side) for name, side in sides.items()}


Axis = Literal["y", "x"]

_DIRECTIONS: dict[str, tuple[int, str]] = {
    "y": (-1, "metres north of the upper edge of the array, from 0 down (-10, -30, ...), so that y_origin + y is UTM"),
    "x": (1, "metres east of the left edge of the array, from 0 up (10, 30, ...), so that x_origin + x is UTM"),
}


def edges(catalogue: "xr.Dataset", axis: Axis) -> tuple[float, float]:
    """Return the lower and the upper outer edge of the pixels along an axis, whatever their order.

    Parameters
    ----------
    catalogue : Dataset
    axis : {"y", "x"}

    Returns
    -------
    lower, upper : float
        Metres to be added to ``y_origin`` or ``x_origin``: (-20440.0, 0.0) and (0.0, 20440.0) for a whole array.

    Raises
    ------
    CatalogueError
        See `edge_and_step`.
    """
    edge, step = edge_and_step(catalogue, axis)
    other = edge + step * catalogue.sizes[axis]
    return min(edge, other), max(edge, other)


def edge_and_step(catalogue: "xr.Dataset", axis: Axis) -> tuple[float, float]:
    """Return the outer edge of the first pixel along an axis, and the signed distance to the next pixel.

    Only the values of the coordinate count: rows may run north or south.

    Parameters
    ----------
    catalogue : Dataset
    axis : {"y", "x"}

    Returns
    -------
    edge : float
        Metres to be added to ``y_origin`` or ``x_origin``.
    step : float
        Metres; below 0 along y as a catalogue is opened.

    Raises
    ------
    CatalogueError
        If the Dataset has no such coordinate, its values are not of a catalogue, there is no pixel, or they are not
        evenly spaced: then they have no outline and no transform.
    """
    centres = _centres(catalogue, axis)
    steps = np.diff(centres)
    if not len(centres) or (len(steps) and (not steps[0] or not np.allclose(steps, steps[0], rtol=1e-6, atol=0))):
        raise CatalogueError(f"the {len(centres)} pixels along {axis} are not evenly spaced; take a slice of them")
    step = float(steps[0]) if len(steps) else _step_of_one(catalogue, axis, float(centres[0]))
    return float(centres[0]) - step / 2, step


def _centres(catalogue: "xr.Dataset", axis: Axis) -> np.ndarray:
    """Return the coordinate of an axis; values that no catalogue has are an error, as they would move the scene."""
    sign, meaning = _DIRECTIONS[axis]
    if axis not in catalogue.coords:
        raise CatalogueError(
            f"this Dataset has no coordinate {axis!r}, so that the place of its pixels is not known; keep y and x as "
            "s2cmc.open_catalogue gives them"
        )
    centres = catalogue[axis].to_numpy()
    outside = centres[(centres * sign < 0) | (centres * sign > TILE_SIZE)]
    if len(outside):
        remedy = f"take {axis} as s2cmc.open_catalogue gives it"
        if axis == "y" and ((centres > 0) & (centres < TILE_SIZE)).all():
            remedy += ", or turn its sign if it counts downwards: ds.assign_coords(y=-ds.y)"
        raise CatalogueError(f"coordinate {axis} holds {outside[0]:g}, but it is {meaning}; {remedy}")
    return centres


def _step_of_one(catalogue: "xr.Dataset", axis: Axis, centre: float) -> float:
    """Return the step along an axis of one pixel: 20 m, unless its place or the other axis tell that it is coarser."""
    sign, _ = _DIRECTIONS[axis]
    across = _centres(catalogue, "x" if axis == "y" else "y")
    is_fine = len(across) < 2 or abs(across[1] - across[0]) == PIXEL_SIZE
    if not is_fine or (abs(centre) - PIXEL_SIZE / 2) % PIXEL_SIZE:
        raise CatalogueError(
            f"the size of the single pixel along {axis} is not known: coarsened or strided, it is not of "
            f"{PIXEL_SIZE:g} m; take two or more"
        )
    return sign * PIXEL_SIZE


def lonlat_bounds(outline: Outline) -> Box:
    """Return the bounds (lon_min, lat_min, lon_max, lat_max) of an outline, degrees on WGS 84.

    ``lon_min > lon_max`` if the outline crosses the antimeridian, as in RFC 7946.
    """
    from pyproj import Transformer  # imported in the function: only conversion and geometry need PROJ's database

    transformer = Transformer.from_crs(outline.epsg, 4326, always_xy=True)
    return transformer.transform_bounds(outline.left, outline.bottom, outline.right, outline.top, densify_pts=21)


def boxes_intersect(a: Box, b: Box) -> bool:
    """Return True if two boxes share a point."""
    if a[1] > b[3] or b[1] > a[3]:
        return False
    return any(
        west_a <= east_b and west_b <= east_a
        for west_a, east_a in _longitude_spans(a[0], a[2])
        for west_b, east_b in _longitude_spans(b[0], b[2])
    )


def _longitude_spans(west: float, east: float) -> list[tuple[float, float]]:
    """Cut an interval of longitudes at the antimeridian: 170 to -170 gives 170 to 180 and -180 to -170."""
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    if 180.0 in (west, east):  # the same meridian as -180
        spans.append((-180.0, -180.0))
    return spans
