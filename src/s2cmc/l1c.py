"""Where a scene lies in its original Level-1C product: pixels, file names, public copies."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from s2cmc.bands import BANDS
from s2cmc.errors import CatalogueError, QueryError, SceneError
from s2cmc.geo import edge_and_step
from s2cmc.product import Product
from s2cmc.scene import SceneKey, position
from s2cmc.schema import PIXEL_SIZE
from s2cmc.tile import TILE_SIZE, tile_origin

if TYPE_CHECKING:
    from rasterio.windows import Window

RESOLUTIONS = (10, 20, 60)
"""Native pixel sizes of the bands, m."""

_TOLERANCE = 1e-3  # m; the precision of the outlines


@dataclass(frozen=True)
class PixelWindow:
    """A window in a band of a Level-1C tile.

    Attributes
    ----------
    resolution : int
        Pixel size, m.
    row, column : float
        From the tile's upper left corner to the window's, pixels. Whole at 10 and 20 m; at 60 m a scene may begin at
        thirds of a pixel.
    height, width : float
        Pixels; at 60 m in thirds too.
    """

    resolution: int
    row: float
    column: float
    height: float
    width: float

    @property
    def whole(self) -> "PixelWindow":
        """The smallest window of whole pixels that covers it; itself at 10 and 20 m."""
        (top, bottom), (left, right) = (self._covered(*span) for span in self._spans())
        return PixelWindow(self.resolution, top, left, bottom - top, right - left)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of `whole`, to index an array with, or as ``window=`` of rasterio's ``read``."""
        (top, bottom), (left, right) = (self._covered(*span) for span in self._spans())
        return slice(top, bottom), slice(left, right)

    def to_rasterio(self) -> "Window":
        """It as a `rasterio.windows.Window`. rasterio resamples where it is not `whole`."""
        from rasterio.windows import Window

        return Window(self.column, self.row, self.width, self.height)

    def _spans(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.row, self.row + self.height), (self.column, self.column + self.width)

    def _covered(self, start: float, stop: float) -> tuple[int, int]:
        """Whole pixels from `start` to `stop`: these are whole metres but for rounding."""
        first, last = round(start * self.resolution), round(stop * self.resolution)
        return first // self.resolution, -(-last // self.resolution)


@dataclass(frozen=True)
class L1CWindow:
    """A scene in its original Level-1C product.

    Attributes
    ----------
    product_id : str
    mgrs_tile : str
        Without the leading T, e.g. ``18SVG``.
    epsg : int
        EPSG code of the tile's UTM zone.
    tile_x, tile_y : int
        Outer upper left corner of the tile, the same for every band, m.
    windows : tuple of PixelWindow
        The scene at 10, 20 and 60 m.
    """

    product_id: str
    mgrs_tile: str
    epsg: int
    tile_x: int
    tile_y: int
    windows: tuple[PixelWindow, ...]

    def window(self, band: str | int) -> PixelWindow:
        """The scene in a band (``"B11"``) at its native resolution, or at a resolution (``60``, m).

        Raises
        ------
        QueryError
            If there is no such band or resolution.
        """
        resolution = native_resolution(band) if isinstance(band, str) else band
        for window in self.windows:
            if window.resolution == resolution:
                return window
        raise QueryError(f"no band has pixels of {band!r} m; the resolutions are {', '.join(map(str, RESOLUTIONS))}")

    @property
    def product_name(self) -> str:
        """Folder of the product: ``<product ID>.SAFE``."""
        return f"{self.product_id}.SAFE"

    def file_name(self, band: str) -> str:
        """Name of a band's file, e.g. ``T18SVG_20180112T155541_B11.jp2``."""
        native_resolution(band)  # refuses what is no band
        return f"T{self.mgrs_tile}_{self._time}_{band}.jp2"

    def file_glob(self, band: str) -> str:
        """Pattern of a band's path in the product.

        Its GRANULE folder is named by the absolute orbit and the tile's own time, which no product ID says.
        """
        return f"GRANULE/*/IMG_DATA/{self.file_name(band)}"

    @property
    def prefixes(self) -> dict[str, str]:
        """Where the usual public object stores keep the product. Not asked whether they still do.

        ``google`` : the SAFE folder; free (https://cloud.google.com/storage/docs/public-datasets/sentinel-2).

        ``aws_tiles`` : the bands as ``B11.jp2`` in ``s3://sentinel-s2-l1c``, requester pays. The last part numbers the
        tile's images of one day and is 0 but for rare cases; its ``tileInfo.json`` names the product. The day is
        that of the product ID; a tile sensed some minutes later may be filed under the next. ``aws_products`` : the
        product's metadata, without pixels (https://roda.sentinel-hub.com/sentinel-s2-l1c/readme.html).

        ``copernicus`` : the SAFE folder in the Copernicus Data Space, with a free account, endpoint
        ``https://eodata.dataspace.copernicus.eu`` (https://documentation.dataspace.copernicus.eu/APIs/S3.html).
        Its list of baselines has 02.06, 02.07 and 02.08 of 2018
        (https://documentation.dataspace.copernicus.eu/Data/Others/Sentinel2_L1C_baseline.html).

        What was sensed until 2021 was processed anew as Collection 1, baseline 05.00, with refined geometry
        (https://sentinel.esa.int/web/sentinel/technical-guides/sentinel-2-msi/copernicus-sentinel-2-collection-1-availability-status).
        The Data Space keeps these in ``s3://eodata/Sentinel-2/MSI/L1C_N0500/``. They have ``N0500`` and another time of
        making in their IDs, but the same file names, and are not what the catalogue was made from.
        """
        square = (self.mgrs_tile[:2], self.mgrs_tile[2], self.mgrs_tile[3:])
        year, month, day = self._time[:4], self._time[4:6], self._time[6:8]
        plain_date = f"{year}/{int(month)}/{int(day)}"
        return {
            "google": f"gs://gcp-public-data-sentinel-2/tiles/{'/'.join(square)}/{self.product_name}/",
            "aws_tiles": f"s3://sentinel-s2-l1c/tiles/{int(square[0])}/{square[1]}/{square[2]}/{plain_date}/0/",
            "aws_products": f"s3://sentinel-s2-l1c/products/{plain_date}/{self.product_id}/",
            "copernicus": f"s3://eodata/Sentinel-2/MSI/L1C/{year}/{month}/{day}/{self.product_name}/",
        }

    @property
    def _time(self) -> str:
        return self.product_id.split("_")[2]

    def __str__(self) -> str:
        lines = [
            f"{self.product_name}, EPSG:{self.epsg}, upper left corner {self.tile_x}, {self.tile_y} m",
            f"  {'pixels of':9} {'row':>9} {'column':>9} {'height':>9} {'width':>9}",
        ]
        for w in self.windows:
            numbers = " ".join(f"{round(n, 3):>9.10g}" for n in (w.row, w.column, w.height, w.width))
            lines.append(f"  {w.resolution:>7} m {numbers}")
        return "\n".join([*lines, *(f"  {name:12} {prefix}" for name, prefix in self.prefixes.items())])


def l1c_window(catalogue: xr.Dataset, key: SceneKey) -> L1CWindow:
    """A scene in its original Level-1C product. No pixel is read.

    Parameters
    ----------
    catalogue : Dataset
        Or any part of one, of whole neighbouring pixels.
    key : str, int or (tile, date)
        See `s2cmc.scene.position`.

    Raises
    ------
    SceneError
        If the scene has no georeference, or one that is not on the grid of its tile or not within it.
    QueryError
        If no scene is named so, or several are.
    """
    found = catalogue.coords.to_dataset().isel(scene=position(catalogue, key))
    product = Product.parse(str(found["scene"].item()))
    left, right = (float(found["x_origin"]) + edge for edge in _edges(found, "x", product))
    top, bottom = (float(found["y_origin"]) - edge for edge in _edges(found, "y", product))
    if math.isnan(left) or math.isnan(top):
        raise SceneError(product.id, "it has no georeference: the release that the store was made from has no outline")
    if int(found["epsg"]) != product.epsg:
        raise SceneError(product.id, f"it is in EPSG:{int(found['epsg'])}, but its tile is in EPSG:{product.epsg}")
    tile_x, tile_y = tile_origin(product.mgrs_tile)
    sides = {"left": left - tile_x, "top": tile_y - top, "right": right - tile_x, "bottom": tile_y - bottom}
    if min(sides.values()) < -_TOLERANCE or max(sides.values()) > TILE_SIZE + _TOLERANCE:
        raise SceneError(
            product.id,
            f"its corners {left:.3f}, {top:.3f} and {right:.3f}, {bottom:.3f} m are not within its tile, which goes "
            f"from {tile_x}, {tile_y} to {tile_x + TILE_SIZE}, {tile_y - TILE_SIZE} m: its georeference is wrong",
        )
    if any(abs(side - round(side / PIXEL_SIZE) * PIXEL_SIZE) > _TOLERANCE for side in sides.values()):
        raise SceneError(
            product.id,
            f"its corner {left:.3f}, {top:.3f} m is not on the {PIXEL_SIZE:g} m grid of its tile, which begins at "
            f"{tile_x}, {tile_y} m: its georeference is wrong",
        )
    metres = {name: round(side) for name, side in sides.items()}
    windows = tuple(_window(metres, resolution) for resolution in RESOLUTIONS)
    return L1CWindow(product.id, product.mgrs_tile, product.epsg, tile_x, tile_y, windows)


def _edges(found: xr.Dataset, axis: str, product: Product) -> tuple[float, float]:
    """Outer edges of the pixels on an axis, m from the corner of the whole array."""
    try:
        first, step = edge_and_step(found[axis].to_numpy(), axis)
    except CatalogueError as error:
        raise SceneError(product.id, f"it has no window: {error}") from error
    if abs(step - PIXEL_SIZE) > _TOLERANCE:
        raise SceneError(
            product.id, f"it has no window: the pixels along {axis} are {step:g} m apart, not {PIXEL_SIZE:g}"
        )
    return first, first + found.sizes[axis] * PIXEL_SIZE


def _window(metres: dict[str, int], resolution: int) -> PixelWindow:
    height, width = metres["bottom"] - metres["top"], metres["right"] - metres["left"]
    return PixelWindow(resolution, *(side / resolution for side in (metres["top"], metres["left"], height, width)))


def native_resolution(band: str) -> int:
    """Pixel size of a band in Level-1C products, m."""
    for known in BANDS:
        if known.name == band:
            return known.resolution
    raise QueryError(f"there is no band {band!r}; the bands are {', '.join(known.name for known in BANDS)}")
