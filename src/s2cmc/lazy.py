"""Pixels of an open store: lazy, decoded exactly as they are read."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.reading import read_array
from s2cmc.schema import DN_PER_REFLECTANCE, MASK_MISSING, MASK_NOT_ONE_HOT

if TYPE_CHECKING:
    import zarr


def take_scenes(dataset: xr.Dataset, positions: np.ndarray) -> xr.Dataset:
    """Scenes of a catalogue by position, like ``dataset.isel(scene=positions)``.

    Reflectance that is still as it was opened is taken from the store anew: dask does not hand a slice down to the read
    through its own selection of scenes, and one band of the result would cost all thirteen.
    """
    taken = dataset.isel(scene=positions)
    if "reflectance" in dataset:
        variable = dataset["reflectance"].variable
        source = variable.encoding.get(_SOURCE)
        if isinstance(source, _Decoded) and getattr(variable.data, "name", None) == source.name:
            taken["reflectance"] = _lazy(source.take(positions), variable.dims, variable.attrs)
    return taken


_SOURCE = "s2cmc_source"
_STORAGE_ATTRIBUTES = ("coordinates", "scale_factor", "decoding", "source_dtype")


def lazy_variable(array: "zarr.Array[Any]") -> xr.Variable:
    """A lazy variable of an array in a store, with one dask chunk for each shard.

    Attributes that only say how it is stored are left out.
    """
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    return _lazy(_decoder(array), dims, attributes)


def _lazy(source: "_Decoded", dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """A dask-backed variable with one chunk for each shard."""
    import dask.array

    lazy = dask.array.from_array(
        source,
        chunks=source.array.shards or source.array.chunks,
        name=source.name,
        asarray=False,
        meta=np.empty((0,) * source.ndim, source.dtype),
    )
    return xr.Variable(dims, lazy, attributes, {_SOURCE: source})


@dataclass(frozen=True)
class _Decoded:
    """Scenes of a Zarr array whose values are decoded as they are read; dask hands its slices down to it."""

    array: "zarr.Array[Any]"
    dtype: np.dtype[Any]
    decode: Callable[[np.ndarray], np.ndarray]
    scenes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.scenes), *self.array.shape[1:])

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def name(self) -> str:
        from dask.base import tokenize

        token = tokenize(str(self.array.store_path), self.array.metadata.to_dict(), self.scenes)
        return f"{self.array.basename}-{token}"

    def take(self, positions: np.ndarray) -> "_Decoded":
        return replace(self, scenes=tuple(self.scenes[i] for i in positions.tolist()))

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key
        return self.decode(read_array(self.array, (_as_slice(self.scenes[first]), *rest)))


def _as_slice(scenes: int | tuple[int, ...]) -> int | slice | np.ndarray:
    """Neighbouring scenes as a slice, which zarr reads in one go."""
    if isinstance(scenes, int):
        return scenes
    start, stop = (scenes[0], scenes[-1] + 1) if scenes else (0, 0)
    return slice(start, stop) if scenes == tuple(range(start, stop)) else np.array(scenes)


def _decoder(array: "zarr.Array[Any]") -> _Decoded:
    scenes = tuple(range(array.shape[0]))
    if array.basename in ("mask", "alt_mask"):
        return _Decoded(array, np.dtype("uint8"), _to_mask, scenes)
    if array.basename == "reflectance" and array.dtype == np.uint16:
        return _Decoded(array, np.dtype("float32"), _to_reflectance, scenes)
    return _Decoded(array, np.dtype(array.dtype), np.asarray, scenes)


def _to_reflectance(dn: np.ndarray) -> np.ndarray:
    """Exact for all 65,536 DN; a product with 1e-4 would be off by one ulp for 30 % of them."""
    return np.divide(dn, np.float32(DN_PER_REFLECTANCE), dtype=np.float32)


def _to_mask(labels: np.ndarray) -> np.ndarray:
    return np.where(labels >= MASK_NOT_ONE_HOT, np.uint8(MASK_MISSING), labels)
