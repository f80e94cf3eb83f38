"""Find and read the window of a scene in its original Level-1C product: file names, public copies, pixels."""

import math
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, MissingProductError, QueryError, SceneError
from s2cmc.geo.scenes import SceneKey, position
from s2cmc.schema import (
    BAND_NAMES,
    BANDS,
    DN_PER_REFLECTANCE,
    PIXEL_SIZE,
    TILE_SIZE,
    Axis,
    Outline,
    Product,
    bands_of,
    edge_and_step,
    edges,
    edges_in_tile,
    tile_origin,
)
from s2cmc.storage import Location, locate
from s2cmc.store import to_reflectance

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
        """The smallest window of whole pixels that covers this one; at 10 and 20 m, this one."""
        (top, bottom), (left, right) = (self._covered(*span) for span in self._spans())
        return PixelWindow(self.resolution, top, left, bottom - top, right - left)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of `whole`, to index an array with, or as ``window=`` of rasterio's ``read``."""
        (top, bottom), (left, right) = (self._covered(*span) for span in self._spans())
        return slice(top, bottom), slice(left, right)

    def to_rasterio(self) -> "Window":
        """Convert to a `rasterio.windows.Window`. rasterio resamples if the window is not `whole`."""
        from rasterio.windows import Window

        return Window(self.column, self.row, self.width, self.height)

    def _spans(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.row, self.row + self.height), (self.column, self.column + self.width)

    def _covered(self, start: float, stop: float) -> tuple[int, int]:
        """Return the first and one past the last whole pixel between `start` and `stop`, fractions of pixels."""
        # Edges are whole metres except for rounding errors, so that floor and ceiling are taken of metres:
        #   at 60 m, 10.3333 to 350.9999 is 620 to 21,060 m, pixels 10 to 351
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
        """Return the window of the scene in a band (``"B11"``) at native resolution, or at a resolution (``60``, m).

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
        """Return the name of a band's file, e.g. ``T18SVG_20180112T155541_B11.jp2``."""
        native_resolution(band)  # raises an error for an unknown band
        return f"T{self.mgrs_tile}_{self._time}_{band}.jp2"

    def file_glob(self, band: str) -> str:
        """Return a glob pattern of the path of a band in the product.

        The name of the GRANULE folder has the absolute orbit and the tile's own time, which are not in the product ID.
        """
        return f"GRANULE/*/IMG_DATA/{self.file_name(band)}"

    @property
    def prefixes(self) -> dict[str, str]:
        """URL prefixes of the product in public object stores, by store; none of them is checked.

        ``google`` : the SAFE folder; free (https://cloud.google.com/storage/docs/public-datasets/sentinel-2).

        ``aws_tiles`` : the bands as ``B11.jp2`` in ``s3://sentinel-s2-l1c``, requester pays. The last part numbers the
        tile's images of one day and is 0 except in rare cases; its ``tileInfo.json`` names the product. The day is
        that of the product ID; a tile sensed some minutes later may be filed under the next. ``aws_products`` : the
        product's metadata, without pixels (https://roda.sentinel-hub.com/sentinel-s2-l1c/readme.html).

        ``copernicus`` : the SAFE folder in the Copernicus Data Space, with a free account, endpoint
        ``https://eodata.dataspace.copernicus.eu`` (https://documentation.dataspace.copernicus.eu/APIs/S3.html).
        Its list of baselines has 02.06, 02.07 and 02.08 of 2018
        (https://documentation.dataspace.copernicus.eu/Data/Others/Sentinel2_L1C_baseline.html).

        Products sensed until 2021 were reprocessed as Collection 1, baseline 05.00, with refined geometry
        (https://sentinel.esa.int/web/sentinel/technical-guides/sentinel-2-msi/copernicus-sentinel-2-collection-1-availability-status).
        The Data Space keeps these in ``s3://eodata/Sentinel-2/MSI/L1C_N0500/``. They have ``N0500`` and another
        processing time in their IDs, but the same file names. The catalogue was not made from them.
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
    """Find a scene in its original Level-1C product. No pixel is read.

    Parameters
    ----------
    catalogue : Dataset
        A catalogue, or a part of one that consists of neighbouring pixels, in any order.
    key : str, int or (tile, date)
        See `position`.

    Raises
    ------
    SceneError
        If the scene has no georeference, or is not on the grid of its tile, or not within its tile.
    QueryError
        If no scene matches, or several do.
    """
    scene = catalogue.coords.to_dataset().isel(scene=position(catalogue, key))
    product = Product.parse(str(scene["scene"].item()))
    left, right = (float(scene["x_origin"]) + edge for edge in _edges(scene, "x", product))
    bottom, top = (float(scene["y_origin"]) + edge for edge in _edges(scene, "y", product))
    if math.isnan(left) or math.isnan(top):
        raise SceneError(product.id, "it has no georeference: the release that the store was made from has no outline")
    if int(scene["epsg"]) != product.epsg:
        raise SceneError(product.id, f"it is in EPSG:{int(scene['epsg'])}, but its tile is in EPSG:{product.epsg}")
    tile_x, tile_y = tile_origin(product.mgrs_tile)
    try:
        metres = edges_in_tile(Outline(product.epsg, left, bottom, right, top), product.mgrs_tile)
    except CatalogueError as error:
        raise SceneError(product.id, str(error)) from error
    windows = tuple(_window(metres, resolution) for resolution in RESOLUTIONS)
    return L1CWindow(product.id, product.mgrs_tile, product.epsg, tile_x, tile_y, windows)


def _edges(scene: xr.Dataset, axis: Axis, product: Product) -> tuple[float, float]:
    """Compute the outer edges of the pixels along an axis, lower and upper, m from the corner of the whole array."""
    try:
        step = abs(edge_and_step(scene, axis)[1])
        lower, upper = edges(scene, axis)
    except CatalogueError as error:
        raise SceneError(product.id, f"it has no window: {error}") from error
    if abs(step - PIXEL_SIZE) > _TOLERANCE:
        raise SceneError(
            product.id, f"it has no window: the pixels along {axis} are {step:g} m apart, not {PIXEL_SIZE:g}"
        )
    return lower, upper


def _window(metres: dict[str, int], resolution: int) -> PixelWindow:
    """Make the window of a scene at a resolution, from its edges in metres from the corner of the tile."""
    height, width = metres["bottom"] - metres["top"], metres["right"] - metres["left"]
    return PixelWindow(resolution, *(side / resolution for side in (metres["top"], metres["left"], height, width)))


def native_resolution(band: str) -> int:
    """Return the pixel size of a band in Level-1C products, m; a QueryError if there is no such band."""
    for known in BANDS:
        if known.name == band:
            return known.resolution
    raise QueryError(f"there is no band {band!r}; the bands are {', '.join(known.name for known in BANDS)}")


# A scene's bands at native resolution, from the files of its original Level-1C product.

_FILE = re.compile(r"(T\w{5}_\d{8}T\d{6})_(B\d[\dA])\.jp2")
_SHOWN = 3  # products in a message


def read_l1c(
    catalogue: xr.Dataset,
    key: SceneKey,
    source: Location,
    bands: Sequence[str] | None = None,
    *,
    dn: bool = False,
) -> xr.DataTree:
    """Read a scene from its original Level-1C product, lazily: every band at its native resolution.

    Parameters
    ----------
    catalogue : Dataset
    key : str, int or (tile, date)
        See `position`.
    source : str or Path
        The product's SAFE folder, a zip of it, a folder of SAFE folders, or any folder with its JP2 files under their
        original names. Only the window of the scene is read from a file.
    bands : sequence of str, optional
        ``["B02", "B11"]``; all 13 by default.
    dn : bool
        Return digital numbers, uint16, with 0 no data and 65535 saturated.

    Returns
    -------
    DataTree
        One group for each native resolution, ``r10m``, ``r20m``, ``r60m`` as in ESA's Zarr products, because a Dataset
        has one grid. Each group has its bands as variables (y, x), float32 TOA reflectance, unitless, decoded like the
        catalogue's; pixel centres ``x``, ``y`` (m) and ``spatial_ref`` for rioxarray:
        ``tree["r10m/B04"].rio.to_raster("red.tif")``. The group of 60 m has all pixels that the scene touches.

    Raises
    ------
    SceneError
        If files are missing, of another product, or not on the grid of its tile; the message lists all.
    QueryError
        If there is no such scene or band.
    """
    if isinstance(bands, str) or (bands is not None and not (isinstance(bands, Sequence) and bands)):
        raise QueryError(f"bands {bands!r} is no list of names")
    if not isinstance(source, str | bytes | os.PathLike):
        raise QueryError(f"source {source!r} is no path; give the product's SAFE folder, a zip of it, or its JP2s")
    source = locate(source)
    names = list(BAND_NAMES if bands is None else bands)
    window = l1c_window(catalogue, key)
    files = find_bands(window, source, names)
    groups = {}
    for resolution in RESOLUTIONS:
        chosen = {name: files[name] for name in names if native_resolution(name) == resolution}
        if chosen:
            groups[f"r{resolution}m"] = _read_group(window, window.window(resolution).whole, chosen, dn=dn)
    root = xr.Dataset(attrs={"scene": window.product_id, "mgrs_tile": window.mgrs_tile, "source": str(source)})
    return xr.DataTree.from_dict({"/": root, **groups})


def _read_group(window: L1CWindow, pixels: PixelWindow, files: dict[str, str], *, dn: bool) -> xr.Dataset:
    """Make the Dataset of the bands of one resolution, on their own grid."""
    import rioxarray  # noqa: F401, registers .rio
    from affine import Affine

    size = pixels.resolution
    left, top = window.tile_x + pixels.column * size, window.tile_y - pixels.row * size
    described = {band.name: band for band in bands_of(Product.parse(window.product_id).platform)}
    variables = {}
    for name, path in files.items():
        band = described[name]
        attributes: dict[str, Any] = {"long_name": "top-of-atmosphere reflectance", "units": "1"}
        if dn:
            attributes = {"long_name": "digital number", "units": "1", "scale_factor": 1 / DN_PER_REFLECTANCE}
        attributes |= {"common_name": band.common_name, "wavelength": band.wavelength, "bandwidth": band.bandwidth}
        variables[name] = (("y", "x"), _lazy(window, pixels, path, dn=dn), attributes)
    coordinates = {
        "y": top - size * (np.arange(pixels.height) + 0.5),
        "x": left + size * (np.arange(pixels.width) + 0.5),
    }
    group = xr.Dataset(variables, coordinates).rio.write_crs(window.epsg)
    return group.rio.write_transform(Affine(size, 0, left, 0, -size, top)).rio.write_coordinate_system()


def _lazy(window: L1CWindow, pixels: PixelWindow, path: str, *, dn: bool) -> Any:
    """Make a dask array (y, x) of one chunk that reads a band when it is computed."""
    import dask.array
    from dask.delayed import delayed

    rows, columns = pixels.slices
    read = delayed(read_pixels)(path, rows, columns, window.product_id)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    digital = dask.array.from_delayed(read, shape, np.uint16)
    return digital if dn else digital.map_blocks(to_reflectance, dtype=np.float32)


def read_pixels(path: str, rows: slice, columns: slice, scene: str) -> np.ndarray:
    """Read digital numbers (y, x), uint16, of a window of a band's file."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    try:
        # One thread: GDAL drops the errors of other threads, and would read a truncated file as zeros.
        with rasterio.Env(GDAL_NUM_THREADS="1"), rasterio.open(path) as file:
            pixels: np.ndarray = file.read(1, window=Window.from_slices(rows, columns))
    except RasterioError as error:
        raise SceneError(scene, f"{path} cannot be read: {error}; get this file of the product anew") from error
    return pixels


def find_bands(window: L1CWindow, source: Location, bands: Collection[str]) -> dict[str, str]:
    """Find the files of a product's bands, check that they are on the grid of its tile, return their paths for GDAL.

    Raises
    ------
    SceneError
        If files are missing, of another product, there twice, or not on that grid; the message lists all.
    QueryError
        If there is no such band.
    """
    source = locate(source)
    band_of_file = {window.file_name(band): band for band in bands}
    paths: dict[str, list[str]] = {band: [] for band in bands}
    others = set()  # other products
    for path in _jp2_files(window, Path(source).absolute()):
        parts = path.replace("\\", "/").split("/")
        match = _FILE.fullmatch(parts[-1])
        foreign = [part for part in parts if part.upper().endswith(".SAFE") and part != window.product_name]
        if match and (foreign or not window.file_name("B01").startswith(match[1])):
            others.add(foreign[-1] if foreign else match[1])
        elif parts[-1] in band_of_file:
            paths[band_of_file[parts[-1]]].append(path)
    if missing := [name for name, band in band_of_file.items() if not paths[band]]:
        raise MissingProductError(window.product_id, _missing_files_message(source, missing, sorted(others)))
    if twice := [path for same_band in paths.values() if len(same_band) > 1 for path in same_band]:
        raise SceneError(window.product_id, f"{source} holds bands more than once: {', '.join(twice)}; name one folder")
    files = {band: same_band[0] for band, same_band in paths.items()}
    if problems := [problem for band, path in files.items() if (problem := _grid_problem(window, band, path))]:
        raise SceneError(window.product_id, "\n  - ".join(["these files are not of its tile:", *problems]))
    return files


def _missing_files_message(source: str, missing: list[str], others: list[str]) -> str:
    message = f"{source} lacks {len(missing)} of its bands: {', '.join(missing)}"
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        message += f"; it holds bands of another product: {', '.join(others[:_SHOWN])}{more}"
    return f"{message}. Files without tile and time in their names, such as B11.jp2, are not taken: rename them"


def _jp2_files(window: L1CWindow, source: Path) -> Iterator[str]:
    """Yield the paths of all JP2 files in a folder or zip, for GDAL."""
    if source.is_dir():
        own = source / window.product_name  # in a folder of SAFE folders, only this one is searched
        yield from (str(path) for path in sorted((own if own.is_dir() else source).rglob("*.jp2")))
    elif not source.exists():
        raise MissingProductError(window.product_id, f"there is no {source}; expected its SAFE folder or a zip of it")
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise SceneError(
                window.product_id, f"{source} is neither a SAFE folder nor a zip of one: {error}"
            ) from error
        yield from (f"/vsizip/{{{source}}}/{name}" for name in names if name.endswith(".jp2"))


def _grid_problem(window: L1CWindow, band: str, path: str) -> str | None:
    """Describe how the grid of a file differs from that of the tile; None if they agree."""
    import rasterio
    from rasterio.errors import RasterioError

    resolution = native_resolution(band)
    size = TILE_SIZE // resolution
    expected = (window.epsg, window.tile_x, window.tile_y, resolution, -resolution, size, size, "uint16")
    try:
        with rasterio.open(path) as file:
            epsg = file.crs.to_epsg() if file.crs else None
            grid = file.transform
            actual = (epsg, grid.c, grid.f, grid.a, grid.e, file.width, file.height, file.dtypes[0])
    except RasterioError as error:
        return f"{path} cannot be read: {error}"
    if actual == expected and (grid.b, grid.d) == (0, 0):
        return None
    return f"{path} is {_describe_grid(actual)}; expected {_describe_grid(expected)}"


def _describe_grid(grid: tuple[Any, ...]) -> str:
    epsg, x, y, width, height, columns, rows, dtype = grid
    return f"{dtype}, EPSG:{epsg} from {x:.10g}, {y:.10g} m, {columns} x {rows} pixels of {width:g} x {-height:g} m"
