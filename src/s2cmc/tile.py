"""The tiles of Level-1C products: squares of the Military Grid Reference System (MGRS), moved to whole pixels."""

from s2cmc.errors import CatalogueError

COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""Letters of the 100 km squares eastward, by zone modulo 3."""

ROWS = ("FGHJKLMNPQRSTUVABCDE", "ABCDEFGHJKLMNPQRSTUV")
"""Letters of the squares northward, every 2000 km again, by zone modulo 2."""

BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWX"
"""Letters of the bands of latitude, 8 degrees each from 80 S; tiles of C and X go on to 84 S and 84 N."""

SQUARE = 100_000
"""Width of an MGRS square, m."""

TILE_SIZE = 109_800
"""Width and height of a Level-1C tile, m (10980 pixels of 10 m)."""

METRES_PER_DEGREE = 111_000
"""Of latitude, about."""

_CYCLE = 2_000_000
_GRID = 60  # m; tiles begin at whole pixels of the coarsest bands, counted from the equator


def square_corner(tile: str) -> tuple[int, int]:
    """Upper left corner (x, y) of the MGRS square of a tile, m in its UTM zone.

    Parameters
    ----------
    tile : str
        ``18SVG``.

    Raises
    ------
    CatalogueError
        If there is no such square in the zone.
    """
    zone = int(tile[:2])
    column, row = COLUMNS[zone % 3].find(tile[3]), ROWS[zone % 2].find(tile[4])
    if column < 0 or row < 0:
        raise CatalogueError(f"there is no MGRS square {tile[3:]} in UTM zone {zone}; {tile!r} is no tile")
    equator = _equator(tile)
    top = (row + 1) * SQUARE - equator
    # Rows have the same letters every 2000 km; the latitude band, 1330 km high at most, says which are meant.
    middle = (BAND_LETTERS.index(tile[2]) * 8 - 76) * METRES_PER_DEGREE
    top += round((middle + SQUARE / 2 - top) / _CYCLE) * _CYCLE
    return (column + 1) * SQUARE, top + equator


def tile_origin(tile: str) -> tuple[int, int]:
    """Outer upper left corner (x, y) of a Level-1C tile, m in its UTM zone.

    A tile covers its MGRS square, with its corner moved outwards to the next multiple of 60 m. Northings are counted
    from the equator, so that southern corners are multiples of 60 m less than 10,000,000 m. Found from ESA's tiling
    grid (https://sentiwiki.copernicus.eu/web/s2-products) and from products of both hemispheres.

    Parameters
    ----------
    tile : str
        ``18SVG``.

    Raises
    ------
    CatalogueError
        If there is no such square in the zone.
    """
    left, top = square_corner(tile)
    equator = _equator(tile)
    return left // _GRID * _GRID, equator - (equator - top) // _GRID * _GRID


def _equator(tile: str) -> int:
    """Northing of the equator in the tile's zone, m."""
    return 0 if tile[2] >= "N" else 10_000_000
