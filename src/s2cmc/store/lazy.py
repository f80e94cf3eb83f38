"""Pixels of an open store: lazy, decoded exactly as they are read."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import IndexingSupport, VectorizedIndexer, explicit_indexing_adapter

from s2cmc._compat import array_and_key, data_of, is_lazily_indexed, lazily_indexed
from s2cmc.schema import DN_PER_REFLECTANCE, MASK_MISSING, MASK_NOT_ONE_HOT
from s2cmc.store.reading import as_stored, read_as
from s2cmc.store.shards import Shards, Transfer

if TYPE_CHECKING:
    import zarr


# Pixels that xarray indexes itself, without dask: read when their values are asked for, into a plain ndarray.


class Readable(Protocol):
    """What is read by one orthogonal index for each dimension: int, slice or array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what it gives."""

    def __getitem__(self, key: Any) -> np.ndarray:
        """A part of it."""


class Pixels(BackendArray):
    """What can be read, for xarray: https://docs.xarray.dev/en/stable/internals/how-to-add-new-backend.html."""

    def __init__(self, source: Readable) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, VectorizedIndexer):
            return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)
        return self._read(key.tuple)  # the adapter would turn slices round, and fails at empty ones

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.source[key])


def indexed_variable(source: Readable, dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """A variable that keeps what is asked of it until values are; what is written to it stays in memory."""
    return xr.Variable(dims, lazily_indexed(Pixels(source)), attributes)


def asked_of(data: object) -> tuple[Readable, tuple[Any, ...]] | None:
    """What lazily indexed data reads and its index for each dimension of that; None where it is not `Pixels`."""
    array, key = array_and_key(data) or (None, ())
    return (array.source, key) if isinstance(array, Pixels) else None


def is_one(index: Any) -> bool:
    """Whether an index is a whole number, which drops its dimension."""
    return not isinstance(index, slice) and np.ndim(index) == 0


def take_scenes(dataset: xr.Dataset, positions: np.ndarray, bands: Sequence[int] | None = None) -> xr.Dataset:
    """Scenes, and bands, of a catalogue by position, like ``dataset.isel(scene=positions, band=bands)``.

    Pixels that are still as they were opened are taken from the store anew: dask does not hand a slice down to the read
    through its own selection of scenes or of a list of bands, and one band of the result would cost all thirteen.
    """
    chosen = {"scene": positions} | ({} if bands is None else {"band": np.array(bands, int)})
    text = {str(n): (c.dims, c.to_numpy()) for n, c in dataset.coords.items() if not isinstance(c.dtype, np.dtype)}
    sources = {name: source for name, v in dataset.data_vars.items() if (source := source_of(v.variable)) is not None}
    others = dataset.drop_vars(sources)  # dask takes scenes in time that grows with their square
    taken = others.assign_coords(text).isel(chosen, missing_dims="ignore")  # xarray cannot index pandas 3's text
    pixels = {
        name: _like(dataset[name].variable, source.take(*(chosen.get(str(d), slice(None)) for d in dataset[name].dims)))
        for name, source in sources.items()
    }
    return taken.assign({name: pixels.get(name, taken.variables.get(name)) for name in dataset.data_vars})


def take_scene(dataset: xr.Dataset, position: int) -> xr.Dataset:
    """One scene of a catalogue, bands first, like ``dataset.isel(scene=position).transpose(..., "y", "x")``.

    Here too dask would not hand slices down, through the transposition.
    """
    taken = take_scenes(dataset, np.array([position])).isel(scene=0).transpose(..., "y", "x")
    reflectance = dataset["reflectance"].variable if "reflectance" in dataset else None
    if reflectance is not None and (source := source_of(reflectance)) is not None:
        scene = _BandFirst(source.take(np.array([position]), *[slice(None)] * 3))
        taken["reflectance"] = _like(reflectance, scene, ("band", "y", "x"))
    return taken


def in_blocks(dataset: xr.Dataset) -> xr.Dataset:
    """The Dataset with dask arrays for all pixels that have not been read, however it was opened."""
    indexed = {name: v.variable for name, v in dataset.data_vars.items() if is_lazily_indexed(v.variable)}
    return dataset.assign({name: _in_blocks(variable) for name, variable in indexed.items()}) if indexed else dataset


def _in_blocks(variable: xr.Variable) -> xr.Variable:
    source, key = asked_of(data_of(variable)) or (None, ())
    if not isinstance(source, Source):
        return variable.chunk({"scene": 1} if "scene" in variable.dims else {})
    dims = iter(variable.dims)
    names = [f"dropped {i}" if is_one(index) else next(dims) for i, index in enumerate(key)]
    kept = [slice(index, index + 1) if is_one(index) else index for index in key]
    whole = _lazy(source.take(*kept), tuple(names), variable.attrs)
    return whole.isel({name: 0 for name, index in zip(names, key, strict=True) if is_one(index)})


def source_of(variable: xr.Variable) -> "Source | None":
    """Where a variable comes from, if it is still as it was opened, or as `take_scenes` gave it.

    It is found in what is lazy and kept nowhere else: what is loaded knows no store, and no credentials of one.
    """
    data: Any = data_of(variable)
    if variable.chunks is not None:
        original = f"original-{data.name}"  # as dask calls what `from_array` is given
        data = data.dask.layers.get(original, {}).get(original)
    if isinstance(data, Source):
        return data
    indexed, key = asked_of(data) or (None, ())
    return indexed.take(*key) if isinstance(indexed, Source) and not any(map(is_one, key)) else None


def preferred_chunks(variable: xr.Variable) -> dict[str, Any]:
    """Encoding by which xarray makes the chunks of a catalogue that is opened in blocks."""
    source = source_of(variable)
    chunks = {} if source is None else dict(zip(variable.dims, source.chunks, strict=True))
    return {"preferred_chunks": chunks} if chunks else {}


_STORAGE_ATTRIBUTES = ("coordinates", "scale_factor", "decoding", "source_dtype")


def lazy_variable(array: "zarr.Array[Any]", *, blocks: bool = True) -> xr.Variable:
    """A lazy variable of an array in a store.

    In blocks it is a dask array with one chunk for each shard; of masks, for each chunk of scenes. Else xarray indexes
    it. Attributes that only say how it is stored are left out.
    """
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    return _lazy(_stored(array), dims, attributes) if blocks else indexed_variable(_stored(array), dims, attributes)


def digital_numbers(dataset: xr.Dataset) -> xr.DataArray | None:
    """Reflectance as it is stored: DN, uint16, lazy, with the dims and coordinates of reflectance.

    None if it is no longer as it was opened, or stored as floats.
    """
    stored = stored_pixels(dataset["reflectance"]) if "reflectance" in dataset else None
    return stored if stored is not None and stored.dtype == np.uint16 else None


def stored_pixels(pixels: xr.DataArray) -> xr.DataArray | None:
    """Pixels without the conversion that opening them adds, lazy; None if they are no longer as they were opened."""
    source = source_of(pixels.variable)
    if source is None:
        return None
    stored = replace(source, dtype=np.dtype(source.array.dtype), transfer=as_stored)
    return pixels.copy(data=_lazy(stored, pixels.dims, {}).data)


def _like(
    variable: xr.Variable, source: "Source | _BandFirst", dims: tuple[Hashable, ...] | None = None
) -> xr.Variable:
    """What is read of a source, in blocks if another variable is."""
    make = indexed_variable if is_lazily_indexed(variable) else _lazy
    return make(source, dims or variable.dims, variable.attrs)


def _lazy(source: "Source | _BandFirst", dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """A dask-backed variable of a source."""
    import dask.array

    lazy = dask.array.from_array(
        source,
        chunks=source.chunks,
        name=source.name,
        asarray=False,
        meta=np.empty((0,) * source.ndim, source.dtype),
    )
    return xr.Variable(dims, lazy, attributes)


@dataclass(frozen=True, eq=False)
class Source:
    """A part of a Zarr array, converted as it is read; dask and xarray hand their indices down to it."""

    array: "zarr.Array[Any]"
    shards: Shards | None
    dtype: np.dtype[Any]
    transfer: Transfer
    positions: tuple[np.ndarray, ...]  # in the array, along each dimension

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it gives."""
        return tuple(map(len, self.positions))

    @property
    def ndim(self) -> int:
        """Dimensions of the array."""
        return self.array.ndim

    @cached_property
    def name(self) -> str:
        """For dask: the same for the same pixels."""
        from dask.base import tokenize

        place = str(self.array.store_path), self.array.metadata.to_dict()
        return f"{self.array.basename}-{tokenize(place, self.dtype, self.transfer.__name__, self.positions)}"

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """One for each shard, and for the bands of it that were chosen.

        Of masks one for each chunk in the store, so that it is decoded once, and a few masks take no more memory than
        they need.
        """
        scenes = self.positions[0]
        step = self.array.chunks[0] if self.array.chunks[0] > 1 else (self.array.shards or self.array.chunks)[0]
        kept = scenes // step if self.array.chunks[0] > 1 else np.arange(len(scenes)) // step
        edges = np.flatnonzero(np.diff(kept, prepend=-1, append=-1))
        return tuple(np.diff(edges).tolist()) or (0,), *((n,) for n in self.shape[1:])

    def take(self, *chosen: Any) -> "Source":
        """A part of it, by one index of numpy for each dimension, none of which drops it."""
        return replace(self, positions=tuple(p[index] for p, index in zip(self.positions, chosen, strict=True)))

    def __getitem__(self, key: Any) -> np.ndarray:
        selection = tuple(p[index] for p, index in zip(self.positions, key, strict=True))
        return read_as(self.array, self.shards, selection, self.transfer, self.dtype)


@dataclass(frozen=True, eq=False)
class _BandFirst:
    """The only scene of a source, as (band, y, x)."""

    source: Source

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
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        return tuple((n,) for n in self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        bands, y, x = key
        read = self.source[0, y, x, bands]
        return read if isinstance(bands, int) else np.moveaxis(read, -1, 0)


def _stored(array: "zarr.Array[Any]") -> Source:
    """All that an array holds."""
    dtype, transfer = _conversion(array)
    return Source(array, Shards.of(array), dtype, transfer, tuple(map(np.arange, array.shape)))


def _conversion(array: "zarr.Array[Any]") -> tuple[np.dtype[Any], Transfer]:
    if array.basename in ("mask", "alt_mask"):
        return np.dtype("uint8"), to_mask
    if array.basename == "reflectance" and array.dtype == np.uint16:
        return np.dtype("float32"), to_reflectance
    return np.dtype(array.dtype), as_stored


def to_reflectance(dn: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """TOA reflectance, float32, of digital numbers, as the published arrays have it.

    Exact for all 65,536 DN; a product with 1e-4 would be off by one ulp for 30 % of them.
    """
    return np.divide(dn, np.float32(DN_PER_REFLECTANCE), out=out, dtype=np.float32)


def to_mask(labels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Labels, uint8, as they are shown: 255, no label, where a pixel is not one-hot."""
    shown = as_stored(labels, np.empty_like(labels) if out is None else out)
    if labels.size and labels.max() >= MASK_NOT_ONE_HOT:
        np.putmask(shown, shown >= MASK_NOT_ONE_HOT, np.uint8(MASK_MISSING))
    return shown
