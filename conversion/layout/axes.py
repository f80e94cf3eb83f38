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


def fixed_coordinates(size: tuple[int, int], thumbnail: tuple[int, int] | None) -> list[Coordinate]:
    """Return the coordinates that do not depend on the scenes.

    Parameters
    ----------
    size : (y, x)
        Pixels of a scene.
    thumbnail : (y, x), optional
        Pixels of a thumbnail; without it there are no coordinates of thumbnails.
    """
    height, width = size
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
        Coordinate("y", "y", -PIXEL_SIZE * _centres(height), _offset("y", "north of upper edge")),
        Coordinate("x", "x", PIXEL_SIZE * _centres(width), _offset("x", "east of left edge")),
    ]
    if thumbnail:
        rows, columns = thumbnail
        own = {"comment": "centre of the thumbnail's pixel, in pixels of the thumbnail"}
        coordinates += [
            Coordinate("thumbnail_y", "thumbnail_y", -_centres(rows), {"long_name": "pixels above upper edge"} | own),
            Coordinate("thumbnail_x", "thumbnail_x", _centres(columns), {"long_name": "pixels from left edge"} | own),
            Coordinate("rgb", "rgb", np.array(RGB_NAMES, object), {"long_name": "colour"}),
        ]
    return coordinates


def _centres(pixels: int) -> np.ndarray:
    """Return the distances of the centres of pixels from the edge of the first one, in pixels: 0.5, 1.5, ..."""
    return np.arange(pixels) + 0.5


def _offset(axis: str, long_name: str) -> dict[str, str]:
    # CF has no name for distances from a scene's corner. They are coordinates in the plane of its UTM projection, with
    # a false easting and northing that make the corner 0, and the name tells readers that y points north.
    return {
        "long_name": long_name,
        "standard_name": f"projection_{axis}_coordinate",
        "units": "m",
        "axis": axis.upper(),
        "comment": f"centre of the pixel; {axis}_origin + {axis} is its UTM coordinate in the zone of epsg",
    }
