"""Spectral indices, lazily."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError, name_hint


@dataclass(frozen=True)
class SpectralIndex:
    """A normalised difference of two bands, (first - second) / (first + second), -1 to 1 for positive reflectance.

    Attributes
    ----------
    name, long_name : str
    first, second : str
        Bands.
    source : str
        Publication that defines the index.
    """

    name: str
    long_name: str
    first: str
    second: str
    source: str


INDICES = {
    index.name: index
    for index in (
        SpectralIndex("NDSI", "snow", "B03", "B11", "Hall et al. 1995, doi 10.1016/0034-4257(95)00137-P"),
        SpectralIndex("NDVI", "vegetation", "B08", "B04", "Tucker 1979, doi 10.1016/0034-4257(79)90013-0"),
        SpectralIndex("NDWI", "water", "B03", "B08", "McFeeters 1996, doi 10.1080/01431169608948714"),
        SpectralIndex("NDMI", "moisture", "B8A", "B11", "Gao 1996, doi 10.1016/S0034-4257(96)00067-3"),
        SpectralIndex("NBR", "burn", "B8A", "B12", "Key and Benson 2006, USDA RMRS-GTR-164-CD"),
    )
}


def spectral_index(reflectance: xr.DataArray, name: str) -> xr.DataArray:
    """Compute one index of every pixel, lazily; see `CloudsAccessor.spectral_index`."""
    if name not in INDICES:
        raise QueryError(f"no spectral index {name!r}; {name_hint(name, INDICES)}")
    index = INDICES[name]
    of_band = [str(key) for key, c in reflectance.coords.items() if "band" in c.dims]
    names = reflectance["band"].values.tolist() if "band" in reflectance.dims else []
    for band in (index.first, index.second):
        if band not in names:
            hint = "" if "band" in reflectance.coords else "; keep coordinate 'band', which names them"
            raise CatalogueError(f"{name} needs bands {index.first} and {index.second}; there is no {band}{hint}")
    positions = [names.index(index.first), names.index(index.second)]
    low, high = sorted(positions)
    # One slice with a step, used once: dask hands that down to the read, but not two slices of the same pixels.
    pair = reflectance.drop_vars(of_band).isel(band=slice(low, high + 1, high - low))
    result = xr.apply_ufunc(
        _normalised_difference,
        pair if positions[0] == low else pair.isel(band=slice(None, None, -1)),
        input_core_dims=[["band"]],
        dask="parallelized",
        output_dtypes=[reflectance.dtype],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    result.attrs = {
        "long_name": f"normalised difference {index.long_name} index, ({index.first} - {index.second}) / "
        f"({index.first} + {index.second})",
        "units": "1",
        "source": index.source,
    }
    return result.rename(name)


def _normalised_difference(pair: np.ndarray) -> np.ndarray:
    """Compute the index of two bands (..., band); NaN where their sum is 0."""
    first, second = pair[..., 0], pair[..., 1]
    total = first + second
    return np.divide(first - second, total, out=np.full_like(total, np.nan), where=total != 0)
