"""Exact statistics of each band and stratum, from counts of digital numbers (DN). Counts are added up in a tree."""

from collections.abc import Mapping, Sequence
from itertools import batched, pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.histogram import counted_pixels, tallied
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DN_PER_REFLECTANCE
from s2cmc.strata import By, strata

Within = Literal["clear", "cloud", "cloud_shadow"]
"""Class of the pixels that are looked at."""

_MOMENTS = ("count", "mean", "std", "min", "max")
_ADDED_AT_ONCE = 8

_Tallies = Mapping[int, np.ndarray]
"""Counts (band, dn), up to the highest DN, of the strata that have any."""


def band_statistics(
    catalogue: xr.Dataset, histograms: xr.DataArray | None, by: By, within: Within | None, percentiles: Sequence[float]
) -> xr.Dataset:
    """Statistics of each band and stratum, lazily; see `CloudsAccessor.band_statistics`."""
    if within is not None and within not in CLASS_NAMES:
        raise QueryError(f"within {within!r} is none of {', '.join(map(repr, CLASS_NAMES))}, None")
    wanted = _percentages(percentiles)
    member = strata(catalogue, by)
    is_lazy, leaves = (
        _of_pixels(catalogue, within, member.to_numpy())
        if histograms is None
        else _of_histograms(catalogue, histograms, within, member.to_numpy())
    )
    shape = member.sizes["stratum"], catalogue.sizes["band"], len(_MOMENTS) + len(wanted)
    table = _reduced(leaves, shape, wanted)
    dims = ("stratum", "band", "statistic")
    bands = {name: c for name, c in catalogue.coords.items() if c.dims == ("band",)}
    scored = xr.DataArray(table if is_lazy else table.compute(), dims=dims, coords=bands)
    found = {name: scored.isel(statistic=i) for i, name in enumerate(_MOMENTS)}
    found["count"] = found["count"].astype(np.int64).assign_attrs(long_name="pixels", units="1")
    for name in _MOMENTS[1:]:
        found[name].attrs = {"long_name": f"{name} of reflectance", "units": "1"}
    found["percentiles"] = (
        scored.isel(statistic=slice(len(_MOMENTS), None))
        .rename(statistic="percentile")
        .assign_attrs(long_name="percentile of reflectance, interpolated linearly as numpy.percentile does", units="1")
    )
    return xr.Dataset(found).assign_coords(percentile=wanted, stratum=member["stratum"], by=member["by"])


def _percentages(percentiles: Sequence[float]) -> np.ndarray:
    try:
        wanted = np.array(percentiles, float)
    except ValueError:
        wanted = np.array(np.nan)
    if wanted.ndim != 1 or not ((wanted >= 0) & (wanted <= 100)).all():
        raise QueryError(f"percentiles {percentiles!r} are not a list of numbers from 0 to 100")
    return wanted


def _of_pixels(catalogue: xr.Dataset, within: Within | None, member: np.ndarray) -> tuple[bool, list[Any]]:
    """Whether the pixels are lazy, and a task for each block of scenes that counts them by stratum."""
    from dask.delayed import delayed

    given, names = counted_pixels(catalogue)
    pixels = given.variable.transpose("scene", "y", "x", "band").chunk(y=-1, x=-1, band=-1)
    spans = _spans(pixels)
    blocks = pixels.data.to_delayed().ravel()
    masks: Sequence[Any] = [None] * len(blocks)
    if within is not None:
        mask = catalogue["mask"].variable.transpose("scene", "y", "x")
        mask = mask.chunk(scene=pixels.chunksizes["scene"], y=-1, x=-1)
        masks = mask.data.to_delayed().ravel()
    scenes = names[0].to_numpy() if names else np.full(catalogue.sizes["scene"], "")
    count = delayed(_count_pixels, pure=False, traverse=False)
    label = None if within is None else CLASS_NAMES.index(within)
    return given.chunks is not None, [
        count(block, mask, label, scenes[span], member[:, span])
        for block, mask, span in zip(blocks, masks, spans, strict=True)
    ]


def _of_histograms(
    catalogue: xr.Dataset, histograms: xr.DataArray, within: Within | None, member: np.ndarray
) -> tuple[bool, list[Any]]:
    """The same, of histograms that are there."""
    from dask.delayed import delayed

    for dim in ("scene", "band"):
        histograms = _taken(histograms, dim, catalogue[dim].to_numpy())
    histograms = histograms.sel({CLASS_DIM: [within]}) if within else histograms
    chosen = histograms.variable.transpose("scene", CLASS_DIM, "band", "dn").chunk(
        {"scene": 1, CLASS_DIM: -1, "band": -1, "dn": -1}
    )
    add = delayed(_add_histograms, pure=False, traverse=False)
    spans = _spans(chosen)
    return histograms.chunks is not None, [
        add(block, member[:, span]) for block, span in zip(chosen.data.to_delayed().ravel(), spans, strict=True)
    ]


def _taken(histograms: xr.DataArray, dim: str, wanted: np.ndarray) -> xr.DataArray:
    """Histograms of the wanted scenes or bands, in their order."""
    positions = histograms.get_index(dim).get_indexer(pd.Index(wanted))
    if (missing := wanted[positions < 0]).size:
        raise QueryError(f"the histograms lack {missing.size} {dim}s of this Dataset, the first is {missing[0]}")
    unchanged = np.array_equal(positions, np.arange(histograms.sizes[dim]))
    return histograms if unchanged else histograms.isel({dim: positions})


def _spans(blocks: xr.Variable) -> list[slice]:
    """Scenes of each block."""
    ends = np.cumsum((0, *blocks.chunksizes["scene"])).tolist()
    return [slice(first, end) for first, end in pairwise(ends)]


def _count_pixels(
    pixels: np.ndarray, mask: np.ndarray | None, label: int | None, scenes: np.ndarray, member: np.ndarray
) -> _Tallies:
    """Counts of pixels (scene, y, x, band), of one class of `mask` if there is one, by stratum."""
    found: dict[int, np.ndarray] = {}
    for i, scene in enumerate(scenes):
        labels = None if mask is None else (mask[i] == label).view(np.uint8)
        bands = [
            tallied(plane, labels, 1 if labels is None else 2, str(scene))[-1]
            for plane in np.moveaxis(pixels[i], -1, 0)
        ]
        width = max((len(band) for band in bands), default=0)
        tally = (
            np.stack([np.pad(band, (0, width - len(band))) for band in bands]) if bands else np.zeros((0, 0), np.int64)
        )
        found = _added([found, dict.fromkeys(np.flatnonzero(member[:, i]).tolist(), tally)])
    return found


def _add_histograms(histograms: np.ndarray, member: np.ndarray) -> _Tallies:
    """Counts of histograms (scene, class, band, dn), all classes together, by stratum."""
    found: dict[int, np.ndarray] = {}
    for i, classes in enumerate(histograms):
        tally = classes.sum(axis=0, dtype=np.int64)
        found = _added([found, dict.fromkeys(np.flatnonzero(member[:, i]).tolist(), tally)])
    return found


def _added(parts: Sequence[_Tallies]) -> dict[int, np.ndarray]:
    """Counts of several blocks together. None of theirs is changed: they may be asked for again."""
    found: dict[int, np.ndarray] = {}
    for stratum in sorted(set().union(*parts)):
        tallies = [part[stratum] for part in parts if stratum in part]
        if len(tallies) == 1:
            found[stratum] = tallies[0]
            continue
        bands = len(tallies[0])
        found[stratum] = np.zeros((bands, max(tally.shape[1] for tally in tallies)), np.int64)
        for tally in tallies:
            found[stratum][:, : tally.shape[1]] += tally
    return found


def _reduced(leaves: list[Any], shape: tuple[int, int, int], percentiles: np.ndarray) -> Any:
    """Statistics (stratum, band, statistic), lazy, of the counts of all blocks."""
    import dask.array
    from dask.delayed import delayed

    add = delayed(_added, pure=False)
    while len(leaves) > 1:
        leaves = [add(list(some)) for some in batched(leaves, _ADDED_AT_ONCE)]
    tallies = leaves[0] if leaves else {}
    scored = delayed(_scored, pure=False, traverse=False)(tallies, shape, percentiles)
    return dask.array.from_delayed(scored, shape, np.float64)


def _scored(tallies: _Tallies, shape: tuple[int, int, int], percentiles: np.ndarray) -> np.ndarray:
    """Statistics (stratum, band, statistic); NaN, and a count of 0, where nothing was counted."""
    found = np.full(shape, np.nan)
    found[..., 0] = 0
    for stratum, tally in tallies.items():
        for band, counts in enumerate(tally):
            found[stratum, band] = [*_moments(counts), *_percentiles(counts, percentiles)]
    return found


def _moments(counts: np.ndarray) -> list[float]:
    """Count, mean, std, min, max of counts (dn,); NaN where nothing was counted.

    Sums are whole numbers of any size, so that nothing is lost however many pixels there are.
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
    """Percentiles of counts (dn,), interpolated linearly between neighbouring pixels."""
    up_to = np.cumsum(counts, dtype=np.int64)
    count = int(up_to[-1]) if up_to.size else 0
    if not count:
        return np.full(len(percentiles), np.nan)
    rank = percentiles / 100 * (count - 1)
    low = np.floor(rank).astype(np.int64)
    below = np.searchsorted(up_to, low, side="right")
    above = np.searchsorted(up_to, np.minimum(low + 1, count - 1), side="right")
    return (below + (rank - low) * (above - below)) / DN_PER_REFLECTANCE
