"""Base of the parts of ``ds.clouds``: the Dataset, in the shape that methods need."""

from typing import Any

import xarray as xr

from s2cmc.accessor._shape import along_scenes, as_catalogue, as_given
from s2cmc.schema import PIXEL_VARIABLES
from s2cmc.store import in_blocks

COUNTED = ("scene", "mask", "y", "x", "shadows_marked", "has_alt_mask", "annotator", "group")
"""Variables and dimensions that counting and scoring need."""


class AccessorBase:
    """An accessor that keeps nothing but its Dataset."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._obj = dataset

    def _part(self, *needed: str) -> xr.Dataset:
        """Return the Dataset as a catalogue with the needed variables and dims; pixels among these as dask arrays."""
        part = self._as_opened(*needed)
        return part if set(PIXEL_VARIABLES).isdisjoint(needed) else in_blocks(part)

    def _as_opened(self, *needed: str) -> xr.Dataset:
        """Return the Dataset as a catalogue with the needed variables and dims."""
        return as_catalogue(self._obj, needed)

    def _as_given[T: (xr.Dataset, xr.DataArray)](self, result: T, *, chosen: bool = False) -> T:
        """Return a result with the dimension that scenes have in the Dataset; see `as_given`."""
        given: T = as_given(result, self._obj, chosen=chosen)
        return given

    def _along_scenes(self, value: Any) -> Any:
        """Return an argument along ``scene``, made of the same Dataset perhaps, and so of its shape."""
        return along_scenes(value, self._obj.sizes.get("scene", 1))
