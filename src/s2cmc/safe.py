"""A scene's bands at native resolution, from the files of its original Level-1C product."""

import os
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from s2cmc.bands import BAND_NAMES, bands_of
from s2cmc.errors import QueryError, SceneError
from s2cmc.l1c import RESOLUTIONS, L1CWindow, PixelWindow, l1c_window, native_resolution
from s2cmc.lazy import to_reflectance
from s2cmc.product import Product
from s2cmc.scene import SceneKey
from s2cmc.schema import DN_PER_REFLECTANCE
from s2cmc.tile import TILE_SIZE

_FILE = re.compile(r"(T\w{5}_\d{8}T\d{6})_(B\d[\dA])\.jp2")
_SHOWN = 3


def read_l1c(
    catalogue: xr.Dataset,
    key: SceneKey,
    source: str | Path,
    bands: Sequence[str] | None = None,
    *,
    dn: bool = False,
) -> xr.DataTree:
    """A scene as its original Level-1C product has it: every band at its native resolution; lazy.

    Parameters
    ----------
    catalogue : Dataset
    key : str, int or (tile, date)
        See `s2cmc.scene.position`.
    source : str or Path
        The product's SAFE folder, a zip of it, a folder of SAFE folders, or any folder that holds its JP2 files under
        their own names. Only the scene's window of a file is read.
    bands : sequence of str, optional
        ``["B02", "B11"]``; all 13 by default.
    dn : bool
        Give digital numbers, uint16, with 0 no data and 65535 saturated.

    Returns
    -------
    DataTree
        One group for each native resolution, ``r10m``, ``r20m``, ``r60m`` as in ESA's Zarr products, because a Dataset
        has one grid. Each holds its bands as variables (y, x), float32 TOA reflectance, unitless, decoded exactly as
        the catalogue's; pixel centres ``x``, ``y`` (m) and ``spatial_ref`` for rioxarray:
        ``tree["r10m/B04"].rio.to_raster("red.tif")``. At 60 m these are all pixels that the scene touches.

    Raises
    ------
    SceneError
        If files are missing, of another product, or not on the grid of its tile; the message lists all.
    QueryError
        If there is no such scene or band.
    """
    if isinstance(bands, str) or (bands is not None and not (isinstance(bands, Sequence) and bands)):
        raise QueryError(f"bands {bands!r} is no list of names")
    if not isinstance(source, str | Path):
        raise QueryError(f"source {source!r} is no path; give the product's SAFE folder, a zip of it, or its JP2s")
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
    """Bands of one resolution on their own grid."""
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
    """A dask array of one chunk."""
    import dask.array
    from dask.delayed import delayed

    rows, columns = pixels.slices
    read = delayed(read_pixels)(path, rows, columns, window.product_id)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    digital = dask.array.from_delayed(read, shape, np.uint16)
    return digital if dn else digital.map_blocks(to_reflectance, dtype=np.float32)


def read_pixels(path: str, rows: slice, columns: slice, scene: str) -> np.ndarray:
    """Digital numbers (y, x), uint16, of a window of a band's file."""
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    try:
        # One thread: GDAL drops what the others say, and a file cut short would be read as zeros.
        with rasterio.Env(GDAL_NUM_THREADS="1"), rasterio.open(path) as file:
            pixels: np.ndarray = file.read(1, window=Window.from_slices(rows, columns))
    except RasterioError as error:
        raise SceneError(scene, f"{path} cannot be read: {error}; get this file of the product anew") from error
    return pixels


def find_bands(window: L1CWindow, source: str | Path, bands: Collection[str]) -> dict[str, str]:
    """Paths of a product's bands, as GDAL takes them, found to be on the grid of its tile.

    Raises
    ------
    SceneError
        If files are missing, of another product, there twice, or not on that grid; the message lists all.
    QueryError
        If there is no such band.
    """
    wanted = {window.file_name(band): band for band in bands}
    found: dict[str, list[str]] = {band: [] for band in bands}
    others = set()
    for path in _jp2_files(window, Path(os.path.expanduser(source)).absolute()):
        parts = path.replace("\\", "/").split("/")
        match = _FILE.fullmatch(parts[-1])
        foreign = [part for part in parts if part.upper().endswith(".SAFE") and part != window.product_name]
        if match and (foreign or not window.file_name("B01").startswith(match[1])):
            others.add(foreign[-1] if foreign else match[1])
        elif parts[-1] in wanted:
            found[wanted[parts[-1]]].append(path)
    if missing := [name for name, band in wanted.items() if not found[band]]:
        raise SceneError(window.product_id, _what_is_missing(source, missing, sorted(others)))
    if twice := [path for paths in found.values() if len(paths) > 1 for path in paths]:
        raise SceneError(window.product_id, f"{source} holds bands more than once: {', '.join(twice)}; name one folder")
    files = {band: paths[0] for band, paths in found.items()}
    if problems := [problem for band, path in files.items() if (problem := _misfit(window, band, path))]:
        raise SceneError(window.product_id, "\n  - ".join(["these files are not of its tile:", *problems]))
    return files


def _what_is_missing(source: str | Path, missing: list[str], others: list[str]) -> str:
    said = f"{source} lacks {len(missing)} of its bands: {', '.join(missing)}"
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        said += f"; it holds bands of another product: {', '.join(others[:_SHOWN])}{more}"
    return f"{said}. Files without tile and time in their names, such as B11.jp2, are not taken: rename them"


def _jp2_files(window: L1CWindow, source: Path) -> Iterator[str]:
    """All JP2 files in a folder or zip."""
    if source.is_dir():
        own = source / window.product_name  # spares a walk through all the others
        yield from (str(path) for path in sorted((own if own.is_dir() else source).rglob("*.jp2")))
    elif not source.exists():
        raise SceneError(window.product_id, f"there is no {source}; expected its SAFE folder or a zip of it")
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise SceneError(
                window.product_id, f"{source} is neither a SAFE folder nor a zip of one: {error}"
            ) from error
        yield from (f"/vsizip/{{{source}}}/{name}" for name in names if name.endswith(".jp2"))


def _misfit(window: L1CWindow, band: str, path: str) -> str | None:
    """What is wrong with the grid of a file, if anything."""
    import rasterio
    from rasterio.errors import RasterioError

    resolution = native_resolution(band)
    size = TILE_SIZE // resolution
    expected = (window.epsg, window.tile_x, window.tile_y, resolution, -resolution, size, size, "uint16")
    try:
        with rasterio.open(path) as file:
            epsg = file.crs.to_epsg() if file.crs else None
            grid = file.transform
            found = (epsg, grid.c, grid.f, grid.a, grid.e, file.width, file.height, file.dtypes[0])
    except RasterioError as error:
        return f"{path} cannot be read: {error}"
    if found == expected and (grid.b, grid.d) == (0, 0):
        return None
    return f"{path} is {_described(found)}; expected {_described(expected)}"


def _described(grid: tuple[Any, ...]) -> str:
    epsg, x, y, width, height, columns, rows, dtype = grid
    return f"{dtype}, EPSG:{epsg} from {x:.10g}, {y:.10g} m, {columns} x {rows} pixels of {width:g} x {-height:g} m"
