"""Histograms of digital numbers (DN) by scene, class and band, and the exact statistics that follow from them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import QueryError, SceneError
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DN_PER_REFLECTANCE
from s2cmc.strata import By, of, strata

Within = Literal["clear", "cloud", "cloud_shadow"]
"""Class of the pixels that are looked at."""

UNLABELLED = "unlabelled"
DN_COUNT = 65_536


def band_histograms(catalogue: xr.Dataset) -> xr.DataArray:
    """Count the pixels of each DN, lazily; see `CloudsAccessor.band_histograms`."""
    found = xr.apply_ufunc(
        _histograms,
        catalogue["reflectance"],
        catalogue["mask"],
        catalogue["scene"].reset_coords(drop=True),
        input_core_dims=[["y", "x", "band"], ["y", "x"], []],
        output_core_dims=[[CLASS_DIM, "band", "dn"]],
        dask="parallelized",
        output_dtypes=[np.uint32],
        dask_gufunc_kwargs={"output_sizes": {CLASS_DIM: len(CLASS_NAMES) + 1, "dn": DN_COUNT}, "allow_rechunk": True},
    )
    labels = {CLASS_DIM: [*CLASS_NAMES, UNLABELLED], "dn": np.arange(DN_COUNT, dtype=np.int32)}
    found.attrs = {"long_name": "pixels with each digital number (10,000 x reflectance)", "units": "1"}
    return found.assign_coords(labels).rename("histogram")


def band_statistics(
    catalogue: xr.Dataset, histograms: xr.DataArray, by: By, within: Within | None, percentiles: Sequence[float]
) -> xr.Dataset:
    """Statistics of each band and stratum, lazily; see `CloudsAccessor.band_statistics`."""
    if within is not None and within not in CLASS_NAMES:
        raise QueryError(f"within {within!r} is none of {', '.join(map(repr, CLASS_NAMES))}, None")
    try:
        wanted = np.array(percentiles, float)
    except ValueError:
        wanted = np.array(np.nan)
    if wanted.ndim != 1 or not ((wanted >= 0) & (wanted <= 100)).all():
        raise QueryError(f"percentiles {percentiles!r} are not a list of numbers from 0 to 100")
    member = strata(catalogue, by)
    for dim in ("scene", "band"):
        histograms = _taken(histograms, dim, catalogue[dim].to_numpy())
    per_scene = histograms.drop_vars([name for name, c in histograms.coords.items() if "scene" in c.dims])
    per_scene = per_scene.sel({CLASS_DIM: within}, drop=True) if within else per_scene.sum(CLASS_DIM, dtype=np.uint32)
    names = member["stratum"].to_numpy()
    merged = [per_scene.isel(scene=of(member, name)).sum("scene", dtype=np.int64) for name in names]
    return xr.concat([_statistics(one, wanted) for one in merged], "stratum", combine_attrs="override").assign_coords(
        stratum=member["stratum"], by=member["by"]
    )


def _taken(histograms: xr.DataArray, dim: str, wanted: np.ndarray) -> xr.DataArray:
    """Histograms of the wanted scenes or bands, in their order."""
    positions = histograms.get_index(dim).get_indexer(pd.Index(wanted))
    if (missing := wanted[positions < 0]).size:
        raise QueryError(f"the histograms lack {missing.size} {dim}s of this Dataset, the first is {missing[0]}")
    unchanged = np.array_equal(positions, np.arange(histograms.sizes[dim]))
    return histograms if unchanged else histograms.isel({dim: positions})


def _histograms(reflectance: np.ndarray, mask: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """Histograms (scene, class, band, dn) of reflectance (scene, y, x, band) and labels (scene, y, x)."""
    bands, classes = reflectance.shape[-1], len(CLASS_NAMES) + 1
    counts = np.empty((len(scenes), classes, bands, DN_COUNT), np.uint32)
    for i, scene in enumerate(scenes):
        labels = np.where(mask[i] < len(CLASS_NAMES), mask[i], len(CLASS_NAMES)).astype(np.int32) * DN_COUNT
        for band in range(bands):
            dn, known = _to_dn(reflectance[i, :, :, band], str(scene))
            found = np.bincount((labels + dn)[known], minlength=classes * DN_COUNT)
            counts[i, :, band] = found.reshape(classes, DN_COUNT)
    return counts


def _to_dn(reflectance: np.ndarray, scene: str) -> tuple[np.ndarray, np.ndarray]:
    """Digital numbers, and where there is one: NaN has none, anything else that is not whole is an error."""
    known = ~np.isnan(reflectance)
    values = np.where(known, reflectance, np.float32(0)).astype(np.float32)
    dn = np.clip(np.rint(values * np.float32(DN_PER_REFLECTANCE)), 0, DN_COUNT - 1).astype(np.int32)
    wrong = dn.astype(np.float32) / np.float32(DN_PER_REFLECTANCE) != values
    if wrong.any():
        raise SceneError(
            scene,
            f"reflectance {values[wrong][0]} is no whole digital number / {DN_PER_REFLECTANCE} in 0..{DN_COUNT - 1}; "
            "histograms count digital numbers, so give them reflectance as it was opened from a store of these",
        )
    return dn, known


def _statistics(histogram: xr.DataArray, percentiles: np.ndarray) -> xr.Dataset:
    """Statistics of each band from its histogram (band, dn)."""
    names = ("count", "mean", "std", "min", "max")
    moments = xr.apply_ufunc(
        _moments,
        histogram,
        input_core_dims=[["dn"]],
        output_core_dims=[["statistic"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"statistic": len(names)}, "allow_rechunk": True},
    )
    found = {name: moments.isel(statistic=i) for i, name in enumerate(names)}
    found["count"] = found["count"].astype(np.int64).assign_attrs(long_name="pixels", units="1")
    for name in names[1:]:
        found[name].attrs = {"long_name": f"{name} of reflectance", "units": "1"}
    found["percentiles"] = xr.apply_ufunc(
        _percentiles,
        histogram,
        kwargs={"percentiles": percentiles},
        input_core_dims=[["dn"]],
        output_core_dims=[["percentile"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"percentile": len(percentiles)}, "allow_rechunk": True},
    ).assign_attrs(long_name="percentile of reflectance, interpolated linearly as numpy.percentile does", units="1")
    return xr.Dataset(found).assign_coords(percentile=percentiles)


def _moments(histograms: np.ndarray) -> np.ndarray:
    """Count, mean, std, min, max (..., statistic) of histograms (..., dn); NaN where nothing was counted.

    Sums are whole numbers of any size, so that nothing is lost however many pixels there are.
    """
    found = np.full((*histograms.shape[:-1], 5), np.nan)
    for index in np.ndindex(histograms.shape[:-1]):
        dn = np.flatnonzero(histograms[index])
        counts = histograms[index][dn].astype(object)
        count = int(counts.sum())
        found[*index, 0] = count
        if count:
            values = dn.astype(object)
            total, squares = int((counts * values).sum()), int((counts * values * values).sum())
            variance = (count * squares - total * total) / count**2
            of_dn = np.array([total / count, variance**0.5, dn[0], dn[-1]])
            found[*index, 1:] = of_dn / DN_PER_REFLECTANCE
    return found


def _percentiles(histograms: np.ndarray, percentiles: np.ndarray) -> np.ndarray:
    """Percentiles (..., percentile) of histograms (..., dn), interpolated linearly between neighbouring pixels."""
    found = np.full((*histograms.shape[:-1], len(percentiles)), np.nan)
    for index in np.ndindex(histograms.shape[:-1]):
        up_to = np.cumsum(histograms[index], dtype=np.int64)
        if count := int(up_to[-1]):
            rank = percentiles / 100 * (count - 1)
            low = np.floor(rank).astype(np.int64)
            below = np.searchsorted(up_to, low, side="right")
            above = np.searchsorted(up_to, np.minimum(low + 1, count - 1), side="right")
            found[index] = (below + (rank - low) * (above - below)) / DN_PER_REFLECTANCE
    return found
