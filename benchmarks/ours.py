"""s2cmc itself, asked as the README says."""

from collections.abc import Sequence

import data
import numpy as np
import xarray as xr
from peers import Patches, Pick

import s2cmc


class Ours:
    """A catalogue, opened once: without dask for single arrays, with it for questions to all.

    Parameters
    ----------
    scenes : int
        16 with their own reflectance, or 513.
    """

    name = "s2cmc"

    def __init__(self, scenes: int) -> None:
        store = data.scenes_store() if scenes == data.SCENES else data.masks_store()
        self.ds = s2cmc.open_catalogue(store)
        self.reflectance = s2cmc.open_catalogue(store, chunks=None).reflectance

    def scene(self, position: int) -> np.ndarray:
        """Reflectance (y, x, band) float32."""
        return self.reflectance[position].to_numpy()

    def rgb(self, position: int) -> np.ndarray:
        """Bands B02 to B04 of a scene (y, x, band) float32."""
        return self.reflectance.sel(band=slice("B02", "B04")).isel(scene=position).to_numpy()

    def band(self, band: int) -> np.ndarray:
        """One band of all scenes (scene, y, x) float32."""
        return self.reflectance[..., band].to_numpy()

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


class OursByDask(Ours):
    """The same through dask arrays, as a catalogue is opened by default."""

    def __init__(self, scenes: int) -> None:
        super().__init__(scenes)
        self.reflectance = self.ds.reflectance
