"""The outlines of the scenes, from their shapefiles. Edges are taken to the millimetre."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from pyproj import CRS
from pyproj.exceptions import CRSError

from s2cmc.errors import CatalogueError, ReleaseError, SceneError
from s2cmc.files import OUTLINE_BYTES
from s2cmc.schema import Outline, Product, outline_margin

from .listing import SceneSource

# The shapes in a .shp, of which only polygons are read in full.
#
# Format: ESRI Shapefile Technical Description, July 1998. Of the other files of a shapefile none says where it lies but
# the .prj.

Point = tuple[float, float]

_FILE = struct.Struct(">i20xi")  # file code; length of the file in words of 16 bits
_FILE_BYTES = 100
_FILE_CODE = 9994
_RECORD = struct.Struct(">2i")  # number; length of what follows in words
_TYPE = struct.Struct("<i")
_POLYGON = struct.Struct("<i32x2i")  # type, bounds, rings, points
_NAMES = {0: "null", 1: "point", 3: "line", 5: "polygon", 8: "points", 15: "polygon Z", 25: "polygon M"}
_POLYGONS = (5, 15, 25)


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes
    ----------
    name : str
        Its type.
    rings : tuple of tuple of (x, y)
        Of a polygon, closed as published; of anything else none.
    """

    name: str
    rings: tuple[tuple[Point, ...], ...]


def read_shapes(content: bytes) -> list[Shape]:
    """Read all shapes of a .shp.

    Raises
    ------
    ValueError
        If it is none, or cut short, or not as long as its headers say.
    """
    if len(content) < _FILE_BYTES:
        raise ValueError(f".shp has {len(content)} bytes; its header alone takes {_FILE_BYTES}")
    code, words = _FILE.unpack_from(content)
    if code != _FILE_CODE:
        raise ValueError(f".shp begins with {code}; expected {_FILE_CODE}")
    if words * 2 != len(content):
        raise ValueError(".shp is not as long as its header says")
    shapes, start = [], _FILE_BYTES
    while start < len(content):
        header = content[start : start + _RECORD.size]
        words = _RECORD.unpack(header)[1] if len(header) == _RECORD.size else 0
        record = content[start + _RECORD.size : start + _RECORD.size + 2 * max(words, 0)]
        if words < _TYPE.size // 2 or len(record) != 2 * words:
            raise ValueError(f".shp holds a record of {2 * words} bytes where there are {len(record)}")
        shapes.append(_shape(record))
        start += _RECORD.size + len(record)
    return shapes


def _shape(record: bytes) -> Shape:
    (kind,) = _TYPE.unpack_from(record)
    if kind not in _POLYGONS:
        return Shape(_NAMES.get(kind, f"shape of type {kind}"), ())
    if len(record) < _POLYGON.size:
        raise ValueError(f".shp holds a polygon of {len(record)} bytes; it takes at least {_POLYGON.size}")
    _, rings, count = _POLYGON.unpack_from(record)
    needed = _POLYGON.size + 4 * rings + 16 * count
    if rings < 0 or count < 0 or needed > len(record):
        raise ValueError(f".shp holds a polygon of {rings} rings and {count} points in {len(record)} bytes")
    starts = [*struct.unpack_from(f"<{rings}i", record, _POLYGON.size), count]
    if starts[0] != 0 or any(not 0 <= a < b <= count for a, b in pairwise(starts)):
        raise ValueError(f".shp holds a polygon whose rings begin at points {starts[:5]}")
    values = struct.unpack_from(f"<{2 * count}d", record, _POLYGON.size + 4 * rings)
    points = tuple(zip(values[::2], values[1::2], strict=True))
    return Shape(_NAMES[kind], tuple(points[a:b] for a, b in pairwise(starts)))


_SHOWN = 8  # shapes or points in an error
_EXTENT = (0.0, -110_000.0, 1e6, 10_110_000.0)  # m; every UTM zone, and a tile that reaches over the equator
_TOLERANCE = 1e-3  # m; far below a pixel, far above the rounding of doubles


def read_outlines(
    sources: Sequence[SceneSource], size: tuple[int, int]
) -> tuple[tuple[Outline | None, ...], tuple[int, ...]]:
    """Outline of every scene, and the pixels between it and an array of `size` (y, x) on each side.

    Returns
    -------
    outlines : tuple of Outline or None
        None where a scene has none.
    margins : tuple of int
        -1 where a scene has none.

    Raises
    ------
    ReleaseError
        With one line for every outline that is not as published.
    """
    outlines: list[Outline | None] = []
    margins: list[int] = []
    problems: list[str] = []
    for source in sources:
        outline, margin = None, -1
        if source.shapefile:
            try:
                contents = {suffix: member.read(OUTLINE_BYTES) for suffix, member in source.shapefile.items()}
                outline = read_outline(contents, source.product)
                margin = outline_margin(outline, size)
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
        By suffix: ``.shp`` and, if published, ``.prj``; others are not looked at. Without a ``.prj`` the CRS is that of
        the product's tile.
    product : Product
        The product whose tile fixes the UTM zone.

    Raises
    ------
    SceneError
        If there is not exactly one upright rectangle, or its CRS is not the UTM zone of the tile.
    """
    try:
        shapes = read_shapes(contents[".shp"])
    except ValueError as error:
        raise SceneError(product.id, f"its shapefile cannot be read: {error}") from error
    rings = [ring for shape in shapes for ring in shape.rings]
    if len(shapes) != 1 or len(rings) != 1:
        found = [f"{shape.name} of {len(shape.rings)} rings" for shape in shapes[:_SHOWN]]
        raise SceneError(
            product.id,
            f"its shapefile holds {len(shapes)} shapes ({', '.join(found)}); expected one polygon of one ring",
        )
    _check_zone(contents.get(".prj", b""), product)
    points = rings[0]
    xs, ys = ([round(float(point[axis]), 3) for point in points] for axis in (0, 1))
    outline = Outline(product.epsg, min(xs), min(ys), max(xs), max(ys))
    if not _is_upright_rectangle(points, outline):
        raise SceneError(product.id, f"its outline is not an upright rectangle: {_short(points)}")
    left, bottom, right, top = _EXTENT
    if not (left <= outline.left and outline.right <= right and bottom <= outline.bottom and outline.top <= top):
        raise SceneError(product.id, f"its outline lies outside of every UTM zone: {_short(points)}")
    return outline


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
def _epsg(wkt: str) -> int | None:
    return CRS.from_wkt(wkt).to_epsg()


def _is_upright_rectangle(points: Sequence[Point], box: Outline) -> bool:
    corners = []
    for x, y in points:
        on_left, on_right = abs(x - box.left) < _TOLERANCE, abs(x - box.right) < _TOLERANCE
        on_bottom, on_top = abs(y - box.bottom) < _TOLERANCE, abs(y - box.top) < _TOLERANCE
        if not ((on_left or on_right) and (on_bottom or on_top)):
            return False
        corners.append((on_left, on_bottom))
    # Round the ring, one side at a time: one of x and y changes, or none where a corner is repeated.
    sides = [(a[0] != b[0]) + (a[1] != b[1]) for a, b in pairwise([*corners, corners[0]])]
    return len(set(corners)) == 4 and max(sides) == 1


def _short(points: Sequence[Point]) -> str:
    more = len(points) - _SHOWN
    return f"{list(points[:_SHOWN])}" + (f" and {more} more points" if more > 0 else "")
