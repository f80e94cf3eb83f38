"""s2cmc itself, asked as the README says."""

from collections.abc import Sequence

import data
import numpy as np
import xarray as xr
from peers import Patches, Pick

import s2cmc


class Ours:
    """A catalogue, opened once.

    Parameters
    ----------
    scenes : int
        16 with their own reflectance, or 513.
    """

    name = "s2cmc"

    def __init__(self, scenes: int) -> None:
        self.ds = s2cmc.open_catalogue(data.scenes_store() if scenes == data.SCENES else data.masks_store())

    def scene(self, position: int) -> np.ndarray:
        """Reflectance (y, x, band) float32."""
        return self.ds.reflectance[position].to_numpy()

    def rgb(self, position: int) -> np.ndarray:
        """Bands B02 to B04 of a scene (y, x, band) float32."""
        return self.ds.reflectance.sel(band=slice("B02", "B04")).isel(scene=position).to_numpy()

    def band(self, band: int) -> np.ndarray:
        """One band of all scenes (scene, y, x) float32."""
        return self.ds.reflectance[..., band].to_numpy()

    def band_statistics(self) -> xr.Dataset:
        """Statistics of each band over all pixels, from exact histograms."""
        return self.ds.clouds.band_statistics().compute()

    def prevalence(self) -> xr.Dataset:
        """Fractions of the classes by tag."""
        return self.ds.clouds.prevalence(by="surface_type").compute()

    def patches(self, picks: Sequence[Pick]) -> Patches:
        """Patches (patch, y, x, band) float32 with their labels (patch, y, x) uint8."""
        found = self.ds.clouds.patches_at([(pick.scene, pick.y.start, pick.x.start) for pick in picks])
        return found["reflectance"].to_numpy(), found["mask"].to_numpy()
