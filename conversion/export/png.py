"""PNGs of a scene, and the sidecar with CRS and category names for GDAL."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import xarray as xr
from affine import Affine
from PIL import Image
from pyproj import CRS

from s2cmc.report import rgb
from s2cmc.schema import BAND_NAMES, CLASS_COLORS, CLASS_NAMES, MASK_MISSING, PIXEL_SIZE, RGB_NAMES
from s2cmc.store import read_array, to_mask, to_reflectance

from ..verify import Readback

TRUE_COLOUR = ("B02", "B03", "B04")


def png_files(stored: Readback, i: int) -> dict[str, Callable[[], bytes]]:
    """Files of scene `i`, by name: true colour, its masks, and what tells GDAL where they are, if anybody knows.

    That is a ``.aux.xml`` and no world file, which holds no CRS. Nothing is read before one of them is made.
    """
    scene, transform = stored.scenes[i], transform_of(stored, i)
    place: dict[str, Any] = {}
    if not np.isnan(transform.c):
        place = {"epsg": int(stored.coordinates["epsg"][i]), "transform": transform}

    def true_colour() -> bytes:
        visible = slice(BAND_NAMES.index(TRUE_COLOUR[0]), BAND_NAMES.index(TRUE_COLOUR[-1]) + 1)
        pixels = read_array(stored.array("reflectance"), (i, slice(None), slice(None), visible))
        return encode_true_colour(pixels)

    def labels(name: str) -> bytes:
        return encode_labels(read_array(stored.array(name), i))

    files: dict[str, Callable[[], bytes]] = {}
    if place:
        files[f"{scene}.png.aux.xml"] = partial(encode_sidecar, categories=False, **place)
    files[f"{scene}.png"] = true_colour
    for name in masks_of(stored, i):
        files[f"{scene}_{name}.png.aux.xml"] = partial(encode_sidecar, categories=True, **place)
        files[f"{scene}_{name}.png"] = partial(labels, name)
    return files


def masks_of(stored: Readback, i: int) -> list[str]:
    """Variables in which scene `i` has a mask."""
    return ["mask", "alt_mask"] if stored.coordinates["has_alt_mask"][i] else ["mask"]


def transform_of(stored: Readback, i: int) -> Affine:
    """From pixels of scene `i` (column, row) to its CRS (m); NaN where nobody knows."""
    left, top = (float(stored.coordinates[name][i]) for name in ("x_origin", "y_origin"))
    return Affine(PIXEL_SIZE, 0.0, left, 0.0, -PIXEL_SIZE, top)


def encode_true_colour(pixels: np.ndarray) -> bytes:
    """PNG in true colour, by the formula of `ds.clouds.rgb`.

    Parameters
    ----------
    pixels : ndarray (y, x, band)
        Of `TRUE_COLOUR`: uint16 DN, or float32 reflectance. What is not finite is black.
    """
    if pixels.dtype == np.uint16:
        pixels = to_reflectance(pixels)
    reflectance = xr.DataArray(
        np.nan_to_num(pixels, posinf=0, neginf=0), dims=("y", "x", "band"), coords={"band": list(TRUE_COLOUR)}
    )
    stretched = rgb(reflectance).transpose("y", "x", "rgb")
    return _png(Image.fromarray(np.rint(255 * stretched.sel(rgb=list(RGB_NAMES)).to_numpy()).astype(np.uint8)))


def encode_labels(stored: np.ndarray) -> bytes:
    """PNG with a palette, whose numbers are the labels."""
    image = Image.fromarray(to_mask(stored)).convert("L")
    palette = np.zeros((256, 3), np.uint8)
    for label, color in CLASS_COLORS.items():
        palette[label] = color
    image.putpalette(palette.tobytes())
    return _png(image, transparency=MASK_MISSING)


def _png(image: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def encode_sidecar(*, categories: bool, epsg: int | None = None, transform: Affine | None = None) -> bytes:
    """Encode what GDAL reads from ``FILE.aux.xml`` beside a file: names of labels, CRS and transform.

    Format: GDAL, Persistent Auxiliary Metadata, https://gdal.org/en/stable/user/raster_data_model.html.
    """
    root = ET.Element("PAMDataset")
    if epsg is not None and transform is not None:
        ET.SubElement(root, "SRS").text = CRS.from_epsg(epsg).to_wkt("WKT1_GDAL")
        ET.SubElement(root, "GeoTransform").text = ", ".join(f"{value:.17g}" for value in transform.to_gdal())
    if categories:
        names = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
        for name in CLASS_NAMES:
            ET.SubElement(names, "Category").text = name
    ET.indent(root)
    return ET.tostring(root) + b"\n"
