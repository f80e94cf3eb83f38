"""Read the outlines of scenes from their shapefiles. Edges are rounded to the millimetre.

Of the files of a shapefile only the .shp (by pyshp) and the .prj are read; the others say nothing of the place.
"""

import io
import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
import shapefile
from pyproj import CRS
from pyproj.exceptions import CRSError

from s2cmc.errors import CatalogueError, ReleaseError, SceneError
from s2cmc.files import OUTLINE_BYTES
from s2cmc.schema import PIXEL_SIZE, Outline, Product, edges_in_tile, outline_margin

from .listing import SceneSource

Point = tuple[float, float]

_SHP_HEADER_BYTES = 100
_SHP_CODE = 9994
_READ = (".shp", ".prj")
_POLYGONS = (shapefile.POLYGON, shapefile.POLYGONZ, shapefile.POLYGONM)

# What pyshp raises for wrong lengths (struct.error among others) and unknown types of shapes (KeyError).
_DAMAGED_SHP = (ValueError, KeyError, TypeError, OverflowError, struct.error, shapefile.ShapefileException)

_SHOWN = 8  # points or rings in an error
_EXTENT = (0.0, -110_000.0, 1e6, 10_110_000.0)  # m; every UTM zone, and a tile that reaches over the equator
_TOLERANCE = 1e-3  # m; far below a pixel, far above the rounding of doubles
_CODE = re.compile(r"\s*EPSG:(\d{4,5})\s*", re.IGNORECASE)


def read_outlines(
    sources: Sequence[SceneSource], size: tuple[int, int]
) -> tuple[tuple[Outline | None, ...], tuple[int, ...]]:
    """Read the outline of every scene, and measure its margin around the array.

    Parameters
    ----------
    sources : sequence of SceneSource
    size : tuple of int
        Pixels (y, x) of an array.

    Returns
    -------
    outlines : tuple of Outline or None
        None where a scene has no outline.
    margins : tuple of int
        Pixels between outline and array on each side; -1 where a scene has no outline.

    Raises
    ------
    ReleaseError
        With one line for every outline that is not as published, or whose array is not within the tile of its scene, on
        the grid of that tile: it is then another scene's, or was moved.
    """
    outlines: list[Outline | None] = []
    margins: list[int] = []
    problems: list[str] = []
    for source in sources:
        outline, margin = None, -1
        if source.shapefile:
            try:
                contents = {s: member.read(OUTLINE_BYTES) for s, member in source.shapefile.items() if s in _READ}
                outline = read_outline(contents, source.product)
                margin = outline_margin(outline, size)
                edges_in_tile(outline.grown(-margin * PIXEL_SIZE), source.product.mgrs_tile)
            except SceneError as error:
                problems.append(str(error))
            except CatalogueError as error:
                problems.append(f"{source.scene}: {error}")
        outlines.append(outline)
        margins.append(margin)
    if problems:
        raise ReleaseError(f"{len(problems)} scenes have no usable outline", problems)
    return tuple(outlines), tuple(margins)


def read_outline(contents: Mapping[str, bytes], product: Product) -> Outline:
    """Read an outline from the files of a shapefile.

    Parameters
    ----------
    contents : mapping of str to bytes
        By suffix: ``.shp`` and, if published, ``.prj``; others are ignored. Without a ``.prj`` the CRS is that of the
        product's tile. A ``.prj`` is WKT, or ``EPSG:n``.
    product : Product
        The product whose tile fixes the UTM zone.

    Raises
    ------
    SceneError
        If the shapefile does not hold exactly one upright rectangle, or its CRS is not the UTM zone of the tile.
    """
    try:
        shapes = _read_shapes(contents[".shp"])
    except _DAMAGED_SHP as error:
        raise SceneError(product.id, f"its shapefile cannot be read: {_reason(error)}") from error
    points = _only_ring(shapes, product)
    _check_zone(contents.get(".prj", b""), product)
    xs, ys = ([round(float(point[axis]), 3) for point in points] for axis in (0, 1))
    outline = Outline(product.epsg, min(xs), min(ys), max(xs), max(ys))
    if not _is_upright_rectangle(points, outline):
        raise SceneError(product.id, f"its outline is not an upright rectangle: {_short(points)}")
    left, bottom, right, top = _EXTENT
    if not (left <= outline.left and outline.right <= right and bottom <= outline.bottom and outline.top <= top):
        raise SceneError(product.id, f"its outline lies outside of every UTM zone: {_short(points)}")
    return outline


def _read_shapes(shp: bytes) -> list[shapefile.Shape]:
    """Read the first two shapes of a .shp: enough to know whether there is exactly one.

    pyshp's iteration never ends where a record has a negative length, so all shapes are never asked for.
    """
    # pyshp does not look at the code, and only warns of a wrong length.
    if len(shp) < _SHP_HEADER_BYTES:
        raise ValueError(f".shp has {len(shp)} bytes; its header alone takes {_SHP_HEADER_BYTES}")
    code, words = struct.unpack_from(">i20xi", shp)
    if code != _SHP_CODE:
        raise ValueError(f".shp begins with {code}; expected {_SHP_CODE}")
    if words * 2 != len(shp):
        raise ValueError(".shp is not as long as its header says")
    # pyshp 3 never frees a Reader; closing the file frees at least its content.
    with io.BytesIO(shp) as file, shapefile.Reader(shp=file) as reader:
        return list(islice(reader.iterShapes(), 2))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else repr(error)


def _only_ring(shapes: Sequence[shapefile.Shape], product: Product) -> Sequence[Point]:
    """Return the points of the only ring of the only shape, which is a polygon."""
    # A ring that begins behind the first point would leave points out.
    if len(shapes) == 1 and shapes[0].shapeType in _POLYGONS and _starts(shapes[0]) == [0] and shapes[0].points:
        points: Sequence[Point] = shapes[0].points
        return points
    number = "2 or more shapes" if len(shapes) > 1 else f"{len(shapes)} shapes"
    kinds = "; ".join(f"{s.shapeTypeName.lower()}, rings begin at points {_starts(s)[:_SHOWN]}" for s in shapes)
    raise SceneError(product.id, f"its shapefile holds {number} ({kinds}); expected one polygon of one ring")


def _starts(shape: shapefile.Shape) -> list[int]:
    return list(getattr(shape, "parts", []))  # points and null shapes have no rings


def _check_zone(prj: bytes, product: Product) -> None:
    if not prj.strip():
        return
    try:
        epsg = _epsg(prj.decode("utf-8-sig"))
    except (CRSError, UnicodeDecodeError) as error:
        raise SceneError(product.id, f"its .prj cannot be read: {error}") from error
    if epsg != product.epsg:
        raise SceneError(
            product.id,
            f"its .prj is EPSG:{epsg}, but its tile {product.mgrs_tile} lies in the UTM zone EPSG:{product.epsg}",
        )


@lru_cache(maxsize=128)
def _epsg(text: str) -> int | None:
    code = _CODE.fullmatch(text)
    return int(code[1]) if code else CRS.from_wkt(text).to_epsg()


def _is_upright_rectangle(points: Sequence[Point], box: Outline) -> bool:
    """Return True if the ring runs once along the edges of `box`; it may have points between the corners."""
    xs, ys = np.array([*points, points[0]], float).T
    width, height = box.right - box.left, box.top - box.bottom
    if not (np.isfinite([xs, ys]).all() and width > _TOLERANCE and height > _TOLERANCE):
        return False
    edges = np.array([abs(xs - box.left), abs(xs - box.right), abs(ys - box.bottom), abs(ys - box.top)]) < _TOLERANCE
    left, right, bottom, top = edges
    corners = all((x & y).any() for x in (left, right) for y in (bottom, top))
    along_edges = (edges[:, :-1] & edges[:, 1:]).any(axis=0).all()  # both ends of each side are on one edge
    x, y = xs - box.left, ys - box.bottom
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    return bool(corners and along_edges and abs(area - width * height) <= _TOLERANCE * 2 * (width + height))


def _short(points: Sequence[Point]) -> str:
    more = len(points) - _SHOWN
    return f"{list(points[:_SHOWN])}" + (f" and {more} more points" if more > 0 else "")
