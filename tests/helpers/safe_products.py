"""Level-1C products for the tests: a SAFE folder of full-size JP2 files without loss, noise around a scene."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from s2cmc.geo.level1c import TILE_SIZE, L1CWindow, native_resolution
from s2cmc.schema.geometry import OUTLINE_MARGIN


def make_tile(window: L1CWindow, band: str, own: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
    """DN (y, x) of a whole tile: `own` or noise in the scene's window, noise up to 70 pixels of 20 m around, else 0."""
    size = TILE_SIZE // native_resolution(band)
    tile = np.zeros((size, size), np.uint16)
    rows, columns = window.window(band).slices
    margin = (OUTLINE_MARGIN + 5) * 20 // native_resolution(band) + 1
    around = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in (rows, columns))
    tile[around] = np.random.default_rng([seed, *band.encode()]).integers(1, 9_000, tile[around].shape)
    if own is not None:
        tile[rows, columns] = own
    return tile


def write_band(folder: Path, window: L1CWindow, band: str, tile: np.ndarray, **changes: Any) -> Path:
    """Write one band's file; `changes` of the profile make it a wrong one."""
    resolution = native_resolution(band)
    path = folder / window.file_name(band)
    profile = {
        "driver": "JP2OpenJPEG",
        "height": tile.shape[0],
        "width": tile.shape[1],
        "count": 1,
        "dtype": tile.dtype,
        "crs": window.epsg,
        "transform": from_origin(window.tile_x, window.tile_y, resolution, resolution),
        "QUALITY": 100,
        "REVERSIBLE": "YES",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile | changes) as file:
        file.write(tile, 1)
    return path


def write_safe(folder: Path, window: L1CWindow, tiles: Mapping[str, np.ndarray]) -> Path:
    """Write a SAFE folder with these bands, as ``<folder>/<product ID>.SAFE``."""
    safe = folder / window.product_name
    granule = safe / "GRANULE" / f"L1C_T{window.mgrs_tile}_A013359_20180112T155536"
    for band, tile in tiles.items():
        write_band(granule / "IMG_DATA", window, band, tile)
    (granule / "QI_DATA").mkdir()
    (granule / "QI_DATA" / f"T{window.mgrs_tile}_20180112T155541_PVI.jp2").write_bytes(b"a preview, never opened")
    return safe
