"""Read a store back in the form in which it was published, scene by scene."""

from typing import Any

import numpy as np
import pandas as pd
import zarr

from s2cmc.schema import (
    DN_PER_REFLECTANCE,
    FIXED_COORDINATES,
    PIXEL_SIZE,
    SCENE_COORDINATES,
    SOURCE_VALUES,
    TABLE_COORDINATES,
    Outline,
    SceneCoordinate,
    bundled_names,
    check_names,
)
from s2cmc.store import read_array

from ..source import published_dtype, to_one_hot

_KNOWN = {*(c.name for c in SCENE_COORDINATES), *FIXED_COORDINATES}


class Readback:
    """Published arrays, outlines and table of a store.

    Parameters
    ----------
    group : zarr.Group
        Group that `s2cmc.store.open_group` returned.

    Attributes
    ----------
    coordinates : dict of str to ndarray
        Values of all coordinates, as stored.
    own : list of SceneCoordinate
        Coordinates of columns of the user's own.
    scenes : list of str
        Product IDs.

    Raises
    ------
    StoreError
        If the scenes are not product IDs, each once: files are named by them.
    """

    def __init__(self, group: zarr.Group) -> None:
        arrays = dict(group.arrays())
        self._arrays = {name: array for name, array in arrays.items() if array.ndim > 1}
        self.coordinates = {name: read_array(array, slice(None)) for name, array in arrays.items() if array.ndim == 1}
        self.own = [
            _own_coordinate(arrays[name])
            for name in bundled_names(self.coordinates)
            if name not in _KNOWN and arrays[name].shape == arrays["scene"].shape
        ]
        self.scenes = [str(scene) for scene in self.coordinates["scene"]]
        check_names(self.scenes, str(group.store))

    def array(self, name: str) -> "zarr.Array[Any]":
        """Return an array of pixels as it is stored, for `s2cmc.store.read_array`."""
        return self._arrays[name]

    @property
    def pixel_variables(self) -> list[str]:
        """Names of the arrays of pixels."""
        return list(self._arrays)

    @property
    def is_from_dn(self) -> bool:
        """True if the published arrays held DN as float32."""
        return self.array("reflectance").attrs.get(SOURCE_VALUES) == "DN"

    def reflectance(self, i: int) -> np.ndarray:
        """Return the subscene (y, x, band) of scene `i` as it was published, float32."""
        stored = self._scene("reflectance", i)
        if stored.dtype == np.float32 or self.is_from_dn:
            return stored.astype(np.float32, copy=False)
        return stored / np.float32(DN_PER_REFLECTANCE)

    def mask(self, i: int) -> np.ndarray:
        """Return the one-hot mask (y, x, class) of scene `i`."""
        return self._one_hot("mask", i)

    def alt_mask(self, i: int) -> np.ndarray | None:
        """Return the other annotator's one-hot mask (y, x, class) of scene `i`; None if there is none."""
        return self._one_hot("alt_mask", i) if self.coordinates["has_alt_mask"][i] else None

    def thumbnail(self, i: int) -> np.ndarray | None:
        """Return the thumbnail (y, x, rgb) of scene `i`; None if there is none."""
        return self._scene("thumbnail", i) if self.coordinates["has_thumbnail"][i] else None

    @property
    def thumbnail_size(self) -> tuple[int, int]:
        """Pixels (y, x) of the thumbnails."""
        _, height, width, _ = self.array("thumbnail").shape
        return height, width

    def outline(self, i: int) -> Outline | None:
        """Return the outline of scene `i` as published; None if there is none."""
        margin = int(self.coordinates["outline_margin"][i])
        if margin < 0:
            return None
        _, height, width = self.array("mask").shape
        left, top = float(self.coordinates["x_origin"][i]), float(self.coordinates["y_origin"][i])
        epsg = int(self.coordinates["epsg"][i])
        array = Outline(epsg, left, top - height * PIXEL_SIZE, left + width * PIXEL_SIZE, top)
        return array.grown(margin * PIXEL_SIZE)

    def table(self) -> pd.DataFrame:
        """Return the published table, tags and ``shadows_marked`` as bool, and columns of the user's own behind it."""
        columns = (*TABLE_COORDINATES, *self.own)
        return pd.DataFrame({c.published: self.coordinates[c.name].astype(c.dtype) for c in columns})

    def mask_dtype(self, name: str, i: int) -> str:
        """Return the dtype in which ``mask`` or ``alt_mask`` of scene `i` was published."""
        return published_dtype(self.array(name).attrs, self.scenes[i])

    def _one_hot(self, name: str, i: int) -> np.ndarray:
        return to_one_hot(self._scene(name, i), np.dtype(self.mask_dtype(name, i)))

    def _scene(self, name: str, i: int) -> np.ndarray:
        return read_array(self.array(name), i)


def _own_coordinate(array: "zarr.Array[Any]") -> SceneCoordinate:
    attributes = {name: str(value) for name, value in array.attrs.items()}
    dtype = np.dtype(array.dtype)
    return SceneCoordinate(
        array.basename,
        dtype.str if dtype.kind in "bif" else "O",
        attributes.get("long_name", ""),
        published=attributes.get("published_name", array.basename),
    )
