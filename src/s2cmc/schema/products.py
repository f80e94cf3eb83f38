"""Sentinel-2 Level-1C product IDs, which are the names of scenes, and the MGRS tiles in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from s2cmc.errors import ArgumentError, CatalogueError, StoreError

_PATTERN = re.compile(
    r"(?P<mission>S2[A-D])_MSIL1C_(?P<time>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>(?P<zone>\d{2})(?P<letter>[C-HJ-NP-X])[A-HJ-NP-Z][A-HJ-NP-V])_(?P<discriminator>\d{8}T\d{6})",
    re.ASCII,
)
_TILE_WITH_T = re.compile(r"T\d{2}[A-Z]{3}", re.ASCII)


@dataclass(frozen=True)
class Product:
    """The facts that are encoded in the ID of a Level-1C product.

    Format: ESA, Sentinel-2 Products Specification Document, section 3.4 (compact naming convention).

    Attributes
    ----------
    id : str
    platform : str
        ``Sentinel-2A`` to ``Sentinel-2D``.
    time : datetime
        Start of sensing, UTC (naive).
    processing_baseline : str
        ``02.06`` for ``N0206``.
    relative_orbit : int
        1 to 143.
    mgrs_tile : str
        Tile without its leading T, e.g. ``18SVG``.
    epsg : int
        EPSG code of the tile's UTM zone; the latitude band of a tile, C to M south and N to X north, fixes the half.
    """

    id: str
    platform: str
    time: datetime
    processing_baseline: str
    relative_orbit: int
    mgrs_tile: str
    epsg: int

    @classmethod
    def parse(cls, product_id: str) -> "Product":
        """Parse a product ID.

        Raises
        ------
        CatalogueError
            If the text is not the ID of a Level-1C product.
        """
        match = _PATTERN.fullmatch(product_id)
        if match is None:
            raise ArgumentError(
                f"{product_id!r} is no Sentinel-2 Level-1C product ID; expected a form like "
                "'S2A_MSIL1C_20180101T010721_N0206_R045_T53HLD_20180101T041600'"
            )
        try:
            time = datetime.strptime(match["time"], "%Y%m%dT%H%M%S")
        except ValueError as error:
            raise ArgumentError(f"{product_id!r} holds an impossible sensing time: {error}") from error
        zone = int(match["zone"])
        if not 1 <= zone <= 60:
            raise ArgumentError(f"{product_id!r} names UTM zone {zone}; zones go from 1 to 60")
        orbit = int(match["orbit"])
        if not 1 <= orbit <= 143:
            raise ArgumentError(f"{product_id!r} names relative orbit {orbit}; orbits go from 1 to 143")
        return cls(
            id=product_id,
            platform=f"Sentinel-{match['mission'][1:]}",
            time=time,
            processing_baseline=f"{match['baseline'][:2]}.{match['baseline'][2:]}",
            relative_orbit=orbit,
            mgrs_tile=match["tile"],
            epsg=(32600 if match["letter"] >= "N" else 32700) + zone,
        )


def is_product_id(text: str) -> bool:
    """Return True if a text has the form of a product ID."""
    return _PATTERN.fullmatch(text) is not None


def check_names(scenes: Sequence[str], store: str) -> None:
    """Check that the scenes of an untrusted store are safe as file names: distinct product IDs.

    Raises
    ------
    StoreError
        If one of them is no product ID, or occurs twice.
    """
    for scene in scenes:
        try:
            Product.parse(scene)
        except CatalogueError as error:
            raise StoreError(f"{store} is no catalogue of s2cmc: its scene {error}") from error
    if len(set(scenes)) < len(scenes):
        twice = next(scene for i, scene in enumerate(scenes) if scene in scenes[:i])
        raise StoreError(f"{store} is no catalogue of s2cmc: its scene {twice} stands there twice")


def dependence_groups(products: Sequence[Product]) -> list[int]:
    """Number the groups of products that are not independent of each other.

    Products of one tile, or of one date and relative orbit (one overpass), are linked, and links chain.

    Returns
    -------
    list of int
        The group of each product, counted from 0 in order of first appearance.
    """
    parent = list(range(len(products)))

    # Disjoint sets: products point to a parent, and those of a group end at the same root.
    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[object, ...], int] = {}
    for i, product in enumerate(products):
        for key in ((product.mgrs_tile,), (product.time.date(), product.relative_orbit)):
            parent[root(i)] = root(first.setdefault(key, i))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(products))]


# The tiles of Level-1C products: squares of the Military Grid Reference System (MGRS), moved to whole pixels.


def tile_name(text: str) -> str:
    """Return the name of a tile as the catalogue has it: ``T18SVG``, as product IDs spell it, is ``18SVG``."""
    return text[1:] if _TILE_WITH_T.fullmatch(text) else text


SQUARE_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""Letters of the 100 km squares eastward, by zone modulo 3."""

SQUARE_ROWS = ("FGHJKLMNPQRSTUVABCDE", "ABCDEFGHJKLMNPQRSTUV")
"""Letters of the squares northward, repeated every 2000 km, by zone modulo 2."""

BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWX"
"""Letters of the bands of latitude, 8 degrees each from 80 S; tiles of C and X reach to 84 S and 84 N."""

SQUARE_SIZE = 100_000
"""Width of an MGRS square, m."""

TILE_SIZE = 109_800
"""Width and height of a Level-1C tile, m (10980 pixels of 10 m)."""

METRES_PER_DEGREE = 111_000
"""Length of a degree of latitude, m, about."""

_CYCLE = 2_000_000
_GRID = 60  # m; tiles begin at whole pixels of the coarsest bands, counted from the equator


def square_corner(tile: str) -> tuple[int, int]:
    """Return the upper left corner (x, y) of the MGRS square of a tile, m in its UTM zone.

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
    column, row = SQUARE_COLUMNS[zone % 3].find(tile[3]), SQUARE_ROWS[zone % 2].find(tile[4])
    if column < 0 or row < 0:
        raise ArgumentError(f"there is no MGRS square {tile[3:]} in UTM zone {zone}; {tile!r} is no tile")
    equator = _equator(tile)
    top = (row + 1) * SQUARE_SIZE - equator
    # Letters of rows are repeated every 2000 km; the latitude band, 1330 km high at most, says which row is meant.
    middle = (BAND_LETTERS.index(tile[2]) * 8 - 76) * METRES_PER_DEGREE
    top += round((middle + SQUARE_SIZE / 2 - top) / _CYCLE) * _CYCLE
    return (column + 1) * SQUARE_SIZE, top + equator


def tile_origin(tile: str) -> tuple[int, int]:
    """Return the outer upper left corner (x, y) of a Level-1C tile, m in its UTM zone.

    A tile covers its MGRS square, with its corner moved outwards to the next multiple of 60 m. Northings are counted
    from the equator, so that southern corners are multiples of 60 m less than 10,000,000 m. Sources: ESA's tiling
    grid (https://sentiwiki.copernicus.eu/web/s2-products) and products of both hemispheres.

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
    """Return the northing of the equator in the zone of a tile, m."""
    return 0 if tile[2] >= "N" else 10_000_000
