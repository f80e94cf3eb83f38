"""Histograms of digital numbers (DN) by scene, class and band."""

import numpy as np
import xarray as xr

from s2cmc.counter import DN_COUNT, count_dn
from s2cmc.errors import SceneError
from s2cmc.lazy import digital_numbers
from s2cmc.sceneblocks import map_scenes
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DN_PER_REFLECTANCE

UNLABELLED = "unlabelled"


def band_histograms(catalogue: xr.Dataset) -> xr.DataArray:
    """Count the pixels of each DN, lazily; see `CloudsAccessor.band_histograms`."""
    pixels, names = counted_pixels(catalogue)
    mask = catalogue["mask"].variable.transpose("scene", "y", "x")
    arrays = [pixels.variable.transpose("scene", "y", "x", "band"), mask, *(name.variable for name in names)]
    tail = len(CLASS_NAMES) + 1, pixels.sizes["band"], DN_COUNT
    coordinates = {name: c for name, c in pixels.coords.items() if not {"y", "x"} & set(c.dims)}
    counts = map_scenes(_histograms, arrays, tail, np.uint32)
    found = xr.DataArray(counts, dims=("scene", CLASS_DIM, "band", "dn"), coords=coordinates)
    labels = {CLASS_DIM: [*CLASS_NAMES, UNLABELLED], "dn": np.arange(DN_COUNT, dtype=np.int32)}
    found.attrs = {"long_name": "pixels with each digital number (10,000 x reflectance)", "units": "1"}
    return found.assign_coords(labels).rename("histogram")


def counted_pixels(catalogue: xr.Dataset) -> tuple[xr.DataArray, list[xr.DataArray]]:
    """What is counted: DN as they are stored; else reflectance, and with it the scenes' names for errors."""
    stored = digital_numbers(catalogue)
    if stored is not None:
        return stored, []
    return catalogue["reflectance"], [catalogue["scene"].reset_coords(drop=True)]


def _histograms(pixels: np.ndarray, mask: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
    """Histograms (scene, class, band, dn) of pixels (scene, y, x, band) and labels (scene, y, x)."""
    bands, classes = pixels.shape[-1], len(CLASS_NAMES) + 1
    counts = np.zeros((len(pixels), classes, bands, DN_COUNT), np.uint32)
    for i, labels in enumerate(np.minimum(mask, len(CLASS_NAMES)).astype(np.uint8)):
        for band in range(bands):
            tally = tallied(pixels[i, :, :, band], labels, classes, "" if names is None else str(names[i]))
            counts[i, :, band, : tally.shape[1]] = tally
    return counts


def tallied(pixels: np.ndarray, labels: np.ndarray | None, classes: int, scene: str) -> np.ndarray:
    """Count the pixels of each DN, by class.

    Parameters
    ----------
    pixels : ndarray (y, x)
        DN, uint16, or reflectance; NaN is not counted.
    labels : ndarray (y, x) of whole numbers below `classes`, optional
        All pixels are of class 0 without.
    classes : int
    scene : str
        For the error.

    Returns
    -------
    ndarray (class, dn), uint32
        Up to the highest DN that there is.

    Raises
    ------
    SceneError
        If a reflectance is no whole DN.
    """
    dn, unknown = (pixels, None) if pixels.dtype == np.uint16 else _to_dn(pixels, scene)
    if unknown is None:
        return count_dn(dn, labels, classes)
    labels = np.where(unknown, np.uint8(classes), np.uint8(0) if labels is None else labels)
    return count_dn(dn, labels, classes + 1)[:classes]


def _to_dn(reflectance: np.ndarray, scene: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Digital numbers, and where there is none (NaN), if so anywhere; anything else that is not whole is an error."""
    unknown = np.isnan(reflectance)
    values = np.where(unknown, reflectance.dtype.type(0), reflectance).astype(np.float32)
    dn = np.clip(np.rint(values * np.float32(DN_PER_REFLECTANCE)), 0, DN_COUNT - 1).astype(np.uint16)
    wrong = dn / np.float32(DN_PER_REFLECTANCE) != values
    if wrong.any():
        raise SceneError(
            scene,
            f"reflectance {values[wrong][0]} is no whole digital number / {DN_PER_REFLECTANCE} in 0..{DN_COUNT - 1}; "
            "histograms count digital numbers, so give them reflectance as it was opened from a store of these",
        )
    return dn, unknown if unknown.any() else None
