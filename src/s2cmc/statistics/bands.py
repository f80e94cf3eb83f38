"""Exact statistics of each band and stratum, from counts of digital numbers (DN) that are added up in a tree."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import batched
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.query import By, strata
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DN_PER_REFLECTANCE
from s2cmc.statistics.histograms import counted_pixels, is_worth_compiling, tallied
from s2cmc.store import along_scenes, graph_of_blocks, is_lazy, scene_spans, tasks_of_blocks

Within = Literal["clear", "cloud", "cloud_shadow"]
"""Class of the pixels that are counted."""

_MOMENTS = ("count", "mean", "std", "min", "max")
_ADDED_AT_ONCE = 4
"""Parts that one task adds up, and so has in memory, at each level of the tree."""

_Tallies = Mapping[int, np.ndarray]
"""Counts (band, dn), up to the highest DN, of the strata that have any."""


def band_statistics(
    catalogue: xr.Dataset, histograms: xr.DataArray | None, by: By, within: Within | None, percentiles: Sequence[float]
) -> xr.Dataset:
    """Compute statistics of each band and stratum, lazily; see `CloudsAccessor.band_statistics`."""
    if within is not None and within not in CLASS_NAMES:
        raise QueryError(f"within {within!r} is none of {', '.join(map(repr, CLASS_NAMES))}, None")
    ranks = _percentages(percentiles)
    member = strata(catalogue, by)
    count, arrays = (
        _of_pixels(catalogue, within) if histograms is None else _of_histograms(catalogue, histograms, within)
    )
    arrays.append(member.transpose("scene", "stratum").variable)
    shape = member.sizes["stratum"], catalogue.sizes["band"], len(_MOMENTS) + len(ranks)
    bands = {name: c for name, c in catalogue.coords.items() if c.dims == ("band",)}
    table = _reduced(count, arrays, shape, ranks)
    scored = xr.DataArray(table, dims=("stratum", "band", "statistic"), coords=bands)
    statistics = {name: scored.isel(statistic=i) for i, name in enumerate(_MOMENTS)}
    statistics["count"] = statistics["count"].astype(np.int64).assign_attrs(long_name="pixels", units="1")
    for name in _MOMENTS[1:]:
        statistics[name].attrs = {"long_name": f"{name} of reflectance", "units": "1"}
    statistics["percentiles"] = (
        scored.isel(statistic=slice(len(_MOMENTS), None))
        .rename(statistic="percentile")
        .assign_attrs(long_name="percentile of reflectance, interpolated linearly as numpy.percentile does", units="1")
    )
    return xr.Dataset(statistics).assign_coords(percentile=ranks, stratum=member["stratum"], by=member["by"])


def _percentages(percentiles: Sequence[float]) -> np.ndarray:
    """Check percentiles, 0 to 100, and return them as an array."""
    try:
        ranks = np.array(percentiles, float)
    except ValueError:
        ranks = np.array(np.nan)
    if ranks.ndim != 1 or not ((ranks >= 0) & (ranks <= 100)).all():
        raise QueryError(f"percentiles {percentiles!r} are not a list of numbers from 0 to 100")
    return ranks


def _of_pixels(catalogue: xr.Dataset, within: Within | None) -> tuple[Callable[..., _Tallies], list[xr.Variable]]:
    """Return a function that counts the pixels of blocks of scenes, and its arguments, except the strata."""
    pixels, names = counted_pixels(catalogue)
    arrays = [pixels.variable.transpose("scene", "y", "x", "band")]
    if within is not None:
        arrays.append(catalogue["mask"].variable.transpose("scene", "y", "x"))
    label = None if within is None else CLASS_NAMES.index(within)
    count = partial(_count_pixels, label=label, named=bool(names), fast=is_worth_compiling(pixels.size))
    return count, [*arrays, *(name.variable for name in names)]


def _of_histograms(
    catalogue: xr.Dataset, histograms: xr.DataArray, within: Within | None
) -> tuple[Callable[..., _Tallies], list[xr.Variable]]:
    """Return a function that adds up histograms of blocks of scenes, and its arguments, except the strata."""
    for dim in ("scene", "band"):
        histograms = _select_names(histograms, dim, catalogue[dim].to_numpy())
    histograms = histograms.sel({CLASS_DIM: [within]}) if within else histograms
    return _add_histograms, [histograms.variable.transpose("scene", CLASS_DIM, "band", "dn")]


def _select_names(histograms: xr.DataArray, dim: str, names: np.ndarray) -> xr.DataArray:
    """Select histograms by the names of scenes or bands, in their order."""
    positions = histograms.get_index(dim).get_indexer(pd.Index(names))
    if (missing := names[positions < 0]).size:
        raise QueryError(f"the histograms lack {missing.size} {dim}s of this Dataset, the first is {missing[0]}")
    unchanged = np.array_equal(positions, np.arange(histograms.sizes[dim]))
    return histograms if unchanged else histograms.isel({dim: positions})


def _count_pixels(pixels: np.ndarray, *others: np.ndarray, label: int | None, named: bool, fast: bool) -> _Tallies:
    """Count pixels (scene, y, x, band), with `label` only those that have it, by stratum.

    `others` are the masks (scene, y, x) with `label`, the scenes' names (scene,) with `named`, and always last the
    strata (scene, stratum), bool.
    """
    member = others[-1]
    names = others[-2] if named else np.full(len(pixels), "")
    counts: dict[int, np.ndarray] = {}
    for i, scene in enumerate(pixels):
        labels = None if label is None else (others[0][i] == label).view(np.uint8)
        classes = 1 if label is None else 2
        name = str(names[i])
        bands = [tallied(band, labels, classes, name, fast=fast)[-1] for band in np.moveaxis(scene, -1, 0)]
        tally = np.zeros((len(bands), max(map(len, bands), default=0)), np.uint32)
        for row, band in zip(tally, bands, strict=True):
            row[: len(band)] = band
        counts = _added([counts, dict.fromkeys(np.flatnonzero(member[i]).tolist(), tally)])
    return counts


def _add_histograms(histograms: np.ndarray, member: np.ndarray) -> _Tallies:
    """Add up histograms (scene, class, band, dn), all classes together, by stratum."""
    counts: dict[int, np.ndarray] = {}
    for classes, strata_of_scene in zip(histograms, member, strict=True):
        tally = classes.sum(axis=0, dtype=np.int64)
        tally = tally[:, : int(np.flatnonzero(tally.any(axis=0)).max(initial=-1)) + 1].copy()
        counts = _added([counts, dict.fromkeys(np.flatnonzero(strata_of_scene).tolist(), tally)])
    return counts


def _added(parts: Sequence[_Tallies]) -> dict[int, np.ndarray]:
    """Add up the counts of several blocks. These are not changed: dask may use them again."""
    sums: dict[int, np.ndarray] = {}
    for stratum in sorted(set().union(*parts)):
        tallies = [part[stratum] for part in parts if stratum in part]
        if len(tallies) == 1:
            sums[stratum] = tallies[0]
            continue
        pixels = sum(int(tally.sum(axis=1, dtype=np.int64).max(initial=0)) for tally in tallies)
        shape = len(tallies[0]), max(tally.shape[1] for tally in tallies)
        sums[stratum] = np.zeros(shape, np.uint32 if pixels < 2**32 else np.int64)
        for tally in tallies:
            sums[stratum][:, : tally.shape[1]] += tally.astype(sums[stratum].dtype)
    return sums


def _reduced(
    count: Callable[..., _Tallies], arrays: list[xr.Variable], shape: tuple[int, int, int], percentiles: np.ndarray
) -> Any:
    """Reduce blocks to statistics (stratum, band, statistic), lazily if an array is lazy: count, add, score."""
    import dask.array
    from dask.base import tokenize

    if not any(is_lazy(array) for array in arrays):
        return _scored(count(*(array.values for array in arrays)), shape, percentiles)
    whole = [along_scenes(array) for array in arrays]
    name = f"band-statistics-{tokenize(count, shape, percentiles, *(array.data for array in whole))}"
    layer: dict[Any, Any] = {
        (f"{name}-count", i): task for i, task in enumerate(tasks_of_blocks(count, whole, scene_spans(whole)))
    }
    keys, level = list[Any](layer), 0
    while len(keys) > 1:
        added: dict[Any, Any] = {
            (f"{name}-add", level, i): (_added, list(k)) for i, k in enumerate(batched(keys, _ADDED_AT_ONCE))
        }
        layer, keys, level = layer | added, list(added), level + 1
    layer[name, 0, 0, 0] = (_scored, keys[0], shape, percentiles)
    return dask.array.Array(graph_of_blocks(name, layer, whole), name, tuple((n,) for n in shape), np.float64)


def _scored(tallies: _Tallies, shape: tuple[int, int, int], percentiles: np.ndarray) -> np.ndarray:
    """Compute statistics (stratum, band, statistic); NaN, and a count of 0, where nothing was counted."""
    table = np.full(shape, np.nan)
    table[..., 0] = 0
    for stratum, tally in tallies.items():
        for band, counts in enumerate(tally):
            table[stratum, band] = [*_moments(counts), *_percentiles(counts, percentiles)]
    return table


def _moments(counts: np.ndarray) -> list[float]:
    """Compute count, mean, std, min, max from counts (dn,); NaN where nothing was counted.

    Sums are whole numbers of any size, so that they are exact for any number of pixels.
    """
    dn = np.flatnonzero(counts)
    if not dn.size:
        return [0, *[np.nan] * (len(_MOMENTS) - 1)]
    values, weights, count = dn.astype(np.int64), counts[dn].astype(np.int64), int(counts.sum(dtype=np.int64))
    if count * int(dn[-1]) ** 2 >= 2**63:
        values, weights = values.astype(object), weights.astype(object)
    total, squares = int((weights * values).sum()), int((weights * values * values).sum())
    variance = (count * squares - total * total) / count**2
    return [count, *(np.array([total / count, variance**0.5, dn[0], dn[-1]]) / DN_PER_REFLECTANCE)]


def _percentiles(counts: np.ndarray, percentiles: np.ndarray) -> np.ndarray:
    """Compute percentiles from counts (dn,), interpolated linearly between neighbouring pixels."""
    up_to = np.cumsum(counts, dtype=np.int64)
    count = int(up_to[-1]) if up_to.size else 0
    if not count:
        return np.full(len(percentiles), np.nan)
    rank = percentiles / 100 * (count - 1)
    low = np.floor(rank).astype(np.int64)
    below = np.searchsorted(up_to, low, side="right")
    above = np.searchsorted(up_to, np.minimum(low + 1, count - 1), side="right")
    return (below + (rank - low) * (above - below)) / DN_PER_REFLECTANCE
