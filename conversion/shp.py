"""The shapes in a .shp, of which only polygons are read in full.

Format: ESRI Shapefile Technical Description, July 1998. Of the other files of a shapefile none says where it lies but
the .prj.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

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
