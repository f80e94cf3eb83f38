"""Pixels of an open store: lazy, decoded exactly as they are read."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.reading import read_array
from s2cmc.schema import DN_PER_REFLECTANCE, MASK_MISSING, MASK_NOT_ONE_HOT

if TYPE_CHECKING:
    import zarr


def take_scenes(dataset: xr.Dataset, positions: np.ndarray, bands: Sequence[int] | None = None) -> xr.Dataset:
    """Scenes, and bands, of a catalogue by position, like ``dataset.isel(scene=positions, band=bands)``.

    Reflectance that is still as it was opened is taken from the store anew: dask does not hand a slice down to the read
    through its own selection of scenes or of a list of bands, and one band of the result would cost all thirteen.
    """
    chosen = {"scene": positions} | ({} if bands is None else {"band": np.array(bands, int)})
    text = {str(n): (c.dims, c.to_numpy()) for n, c in dataset.coords.items() if not isinstance(c.dtype, np.dtype)}
    taken = dataset.assign_coords(text).isel(chosen)  # xarray cannot index what pandas 3 holds by pyarrow
    if (source := _source(dataset)) is not None:
        reflectance = dataset["reflectance"]
        taken["reflectance"] = _lazy(source.take(positions, bands), reflectance.dims, reflectance.attrs)
    return taken


def take_scene(dataset: xr.Dataset, position: int) -> xr.Dataset:
    """One scene of a catalogue, bands first, like ``dataset.isel(scene=position).transpose(..., "y", "x")``.

    Here too dask would not hand slices down, through the transposition.
    """
    taken = take_scenes(dataset, np.array([position])).isel(scene=0).transpose(..., "y", "x")
    if (source := _source(dataset)) is not None:
        scene = _BandFirst(source.take(np.array([position]), None))
        taken["reflectance"] = _lazy(scene, ("band", "y", "x"), dataset["reflectance"].attrs)
    return taken


def _source(dataset: xr.Dataset) -> "_Decoded | None":
    """Where reflectance comes from, if it is still as it was opened."""
    if "reflectance" not in dataset:
        return None
    variable = dataset["reflectance"].variable
    source = variable.encoding.get(_SOURCE)
    untouched = isinstance(source, _Decoded) and getattr(variable.data, "name", None) == source.name
    return source if untouched else None


_SOURCE = "s2cmc_source"
_STORAGE_ATTRIBUTES = ("coordinates", "scale_factor", "decoding", "source_dtype")


def lazy_variable(array: "zarr.Array[Any]") -> xr.Variable:
    """A lazy variable of an array in a store, with one dask chunk for each shard.

    Attributes that only say how it is stored are left out.
    """
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    return _lazy(_decoder(array), dims, attributes)


def _lazy(source: "_Decoded | _BandFirst", dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """A dask-backed variable with one chunk for each shard."""
    import dask.array

    lazy = dask.array.from_array(
        source,
        chunks=source.chunks,
        name=source.name,
        asarray=False,
        meta=np.empty((0,) * source.ndim, source.dtype),
    )
    return xr.Variable(dims, lazy, attributes, {_SOURCE: source})


@dataclass(frozen=True)
class _Decoded:
    """Scenes and bands of a Zarr array, decoded as they are read; dask hands its slices down to it."""

    array: "zarr.Array[Any]"
    dtype: np.dtype[Any]
    decode: Callable[[np.ndarray], np.ndarray]
    scenes: tuple[int, ...]
    last: tuple[int, ...]  # positions on the last dimension, which is band for reflectance

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.scenes), *self.array.shape[1:-1], len(self.last))

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def name(self) -> str:
        from dask.base import tokenize

        token = tokenize(str(self.array.store_path), self.array.metadata.to_dict(), self.scenes, self.last)
        return f"{self.array.basename}-{token}"

    @property
    def chunks(self) -> tuple[int, ...]:
        """One chunk for each shard, and for the bands of it that were chosen."""
        stored = self.array.shards or self.array.chunks
        return tuple(min(step, length) for step, length in zip(stored, self.shape, strict=True))

    def take(self, scenes: np.ndarray, last: Sequence[int] | None) -> "_Decoded":
        taken = replace(self, scenes=tuple(self.scenes[i] for i in scenes.tolist()))
        return taken if last is None else replace(taken, last=tuple(self.last[i] for i in last))

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *between, last = key
        scenes, bands = self.scenes[first], self.last[last]
        read = self.decode(read_array(self.array, (_as_slice(scenes), *between, _as_slice(bands))))
        if (order := _order(scenes)) is not None:
            read = read[order]
        return read if (order := _order(bands)) is None else read[..., order]


@dataclass(frozen=True)
class _BandFirst:
    """The only scene of a source, as (band, y, x)."""

    source: _Decoded

    @property
    def shape(self) -> tuple[int, ...]:
        _, height, width, bands = self.source.shape
        return bands, height, width

    @property
    def ndim(self) -> int:
        return 3

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def name(self) -> str:
        return f"{self.source.name}-bands-first"

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.shape

    def __getitem__(self, key: Any) -> np.ndarray:
        bands, y, x = key
        read = self.source[0, y, x, bands]
        return read if isinstance(bands, int) else np.moveaxis(read, -1, 0)


def _order(positions: int | tuple[int, ...]) -> np.ndarray | None:
    """Where each position is found among the ascending ones, unless they are just that."""
    if isinstance(positions, int) or all(a < b for a, b in pairwise(positions)):
        return None
    return np.searchsorted(np.unique(positions), positions)


def _as_slice(positions: int | tuple[int, ...]) -> int | slice | np.ndarray:
    """Positions in ascending order, each once; evenly spaced ones as a slice, which zarr reads many times faster."""
    if isinstance(positions, int):
        return positions
    ascending = np.unique(np.array(positions, int))
    if not ascending.size:
        return slice(0, 0)
    steps = np.unique(np.diff(ascending))
    if steps.size > 1:
        return ascending
    return slice(int(ascending[0]), int(ascending[-1]) + 1, int(steps[0]) if steps.size else 1)


def _decoder(array: "zarr.Array[Any]") -> _Decoded:
    whole = tuple(range(array.shape[0])), tuple(range(array.shape[-1]))
    if array.basename in ("mask", "alt_mask"):
        return _Decoded(array, np.dtype("uint8"), to_mask, *whole)
    if array.basename == "reflectance" and array.dtype == np.uint16:
        return _Decoded(array, np.dtype("float32"), to_reflectance, *whole)
    return _Decoded(array, np.dtype(array.dtype), np.asarray, *whole)


def to_reflectance(dn: np.ndarray) -> np.ndarray:
    """TOA reflectance, float32, of digital numbers, as the published arrays have it.

    Exact for all 65,536 DN; a product with 1e-4 would be off by one ulp for 30 % of them.
    """
    return np.divide(dn, np.float32(DN_PER_REFLECTANCE), dtype=np.float32)


def to_mask(labels: np.ndarray) -> np.ndarray:
    """Labels, uint8, as they are shown: 255, no label, where a pixel is not one-hot."""
    return np.where(labels >= MASK_NOT_ONE_HOT, np.uint8(MASK_MISSING), labels)
