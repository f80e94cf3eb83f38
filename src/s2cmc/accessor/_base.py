"""Base of the parts of ``ds.clouds``: the Dataset, and the check that it has the coordinates a method needs."""

import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.schema import DIMS, PIXEL_VARIABLES
from s2cmc.store import in_blocks

COUNTED = ("scene", "mask", "shadows_marked", "has_alt_mask", "annotator", "group")
"""Variables that counting and scoring need."""


class AccessorBase:
    """An accessor that keeps nothing but its Dataset."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._obj = dataset

    def _part(self, *needed: str) -> xr.Dataset:
        """Return the Dataset if it has the needed variables and dims; pixels among these as dask arrays."""
        part = self._as_opened(*needed)
        return part if set(PIXEL_VARIABLES).isdisjoint(needed) else in_blocks(part)

    def _as_opened(self, *needed: str) -> xr.Dataset:
        """Return the Dataset unchanged if it has the needed variables and dims."""
        for name in needed:
            if name not in (self._obj.dims if name in DIMS["reflectance"] else self._obj.variables):
                raise CatalogueError(
                    f"this Dataset has no {name!r}, which is needed here; open a catalogue with s2cmc.open_catalogue, "
                    f"keep {name!r} in the part of it, and take scenes by a list or slice, not by a single position"
                )
        return self._obj
