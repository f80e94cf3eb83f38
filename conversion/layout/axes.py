"""Coordinates that are the same in every store: of bands, pixels and colours."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s2cmc.schema import BAND_NAMES, BANDS, PIXEL_SIZE, RGB_NAMES


@dataclass(frozen=True)
class Coordinate:
    """A coordinate along one dimension.

    Attributes
    ----------
    name, dim : str
    values : ndarray (dim,)
    attributes : mapping
    """

    name: str
    dim: str
    values: np.ndarray
    attributes: Mapping[str, str]


def fixed_coordinates(size: tuple[int, int], *, has_thumbnail: bool) -> list[Coordinate]:
    """Return the coordinates that do not depend on the scenes.

    Parameters
    ----------
    size : (y, x)
        Pixels of a scene.
    has_thumbnail : bool
        Add the coordinate of the colours of thumbnails.
    """
    height, width = size
    offset = {"units": "m", "comment": "add to x_origin, subtract from y_origin, for the scene's UTM zone"}
    coordinates = [
        Coordinate("band", "band", np.array(BAND_NAMES, object), {"long_name": "Sentinel-2 band"}),
        Coordinate(
            "common_name",
            "band",
            np.array([band.common_name for band in BANDS], object),
            {"long_name": "common name of the band in STAC's eo extension"},
        ),
        Coordinate(
            "wavelength",
            "band",
            np.array([band.wavelength for band in BANDS]),
            {"long_name": "central wavelength, Sentinel-2A", "standard_name": "radiation_wavelength", "units": "nm"},
        ),
        Coordinate(
            "bandwidth",
            "band",
            np.array([band.bandwidth for band in BANDS]),
            {"long_name": "full width at half maximum, Sentinel-2A", "units": "nm"},
        ),
        Coordinate(
            "native_resolution",
            "band",
            np.array([band.resolution for band in BANDS], "int16"),
            {"long_name": "pixel size of the band in the Level-1C product", "units": "m"},
        ),
        Coordinate("y", "y", _pixel_centers(height), {"long_name": "pixel centre below the upper edge"} | offset),
        Coordinate("x", "x", _pixel_centers(width), {"long_name": "pixel centre from the left edge"} | offset),
    ]
    if has_thumbnail:
        coordinates.append(Coordinate("rgb", "rgb", np.array(RGB_NAMES, object), {"long_name": "colour"}))
    return coordinates


def _pixel_centers(pixels: int) -> np.ndarray:
    return (np.arange(pixels) + 0.5) * PIXEL_SIZE
