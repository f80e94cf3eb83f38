"""Lazy pixels of an open store, as dask arrays or indexed by xarray; they are decoded exactly when they are read."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray

from s2cmc._compat import array_and_key, data_of, is_lazily_indexed, lazily_indexed, read_indexed
from s2cmc.schema import DN_PER_REFLECTANCE, MASK_MISSING, MASK_NOT_ONE_HOT
from s2cmc.store.reading import as_stored, read_as
from s2cmc.store.shards import Shards, Transfer

if TYPE_CHECKING:
    import zarr


# Pixels that xarray indexes itself, without dask. They are read when ``.values`` is called, into a plain ndarray.


class Readable(Protocol):
    """An array that is read by one orthogonal index for each dimension: int, slice or array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values that are read."""

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part of the array."""


class Pixels(BackendArray):
    """Wraps a `Readable` for xarray: https://docs.xarray.dev/en/stable/internals/how-to-add-new-backend.html."""

    def __init__(self, source: Readable) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def __getitem__(self, key: Any) -> Any:
        return read_indexed(key, self.shape, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.source[key])


def indexed_variable(source: Readable, dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """Make a variable whose indices are collected until its values are read; values written to it stay in memory."""
    return xr.Variable(dims, lazily_indexed(Pixels(source)), attributes)


def source_and_index(data: object) -> tuple[Readable, tuple[Any, ...]] | None:
    """Return the source of lazily indexed data, and the index of each of its dimensions; None if it is not `Pixels`."""
    array, key = array_and_key(data) or (None, ())
    return (array.source, key) if isinstance(array, Pixels) else None


def is_integer(index: Any) -> bool:
    """Return True if an index is an integer, which drops its dimension."""
    return not isinstance(index, slice) and np.ndim(index) == 0


def take_scenes(dataset: xr.Dataset, positions: np.ndarray, bands: Sequence[int] | None = None) -> xr.Dataset:
    """Take scenes, and bands, of a catalogue by position, like ``dataset.isel(scene=positions, band=bands)``.

    Pixels that are as they were opened get a new lazy array. Through a selection of scenes or of a list of bands by
    dask itself, later slices would not reach the read: one band of the result would cost reading all thirteen.
    """
    chosen = {"scene": positions} | ({} if bands is None else {"band": np.array(bands, int)})
    text = {str(n): (c.dims, c.to_numpy()) for n, c in dataset.coords.items() if not isinstance(c.dtype, np.dtype)}
    sources = {name: source for name, v in dataset.data_vars.items() if (source := source_of(v.variable)) is not None}
    others = dataset.drop_vars(sources)  # dask's own selection takes time that grows with the square of the scenes
    taken = others.assign_coords(text).isel(chosen, missing_dims="ignore")  # xarray cannot index pandas 3's text
    pixels = {
        name: _wrap_like(
            dataset[name].variable, source.take(*(chosen.get(str(dim), slice(None)) for dim in dataset[name].dims))
        )
        for name, source in sources.items()
    }
    return taken.assign({name: pixels.get(name, taken.variables.get(name)) for name in dataset.data_vars})


def take_scene(dataset: xr.Dataset, position: int) -> xr.Dataset:
    """Take one scene of a catalogue, bands first, like ``dataset.isel(scene=position).transpose(..., "y", "x")``.

    Through a transposition by dask, too, later slices would not reach the read.
    """
    taken = take_scenes(dataset, np.array([position])).isel(scene=0).transpose(..., "y", "x")
    reflectance = dataset["reflectance"].variable if "reflectance" in dataset else None
    if reflectance is not None and (source := source_of(reflectance)) is not None:
        scene = _BandFirst(source.take(np.array([position]), *[slice(None)] * 3))
        taken["reflectance"] = _wrap_like(reflectance, scene, ("band", "y", "x"))
    return taken


def in_blocks(dataset: xr.Dataset) -> xr.Dataset:
    """Turn all pixels that have not been read into dask arrays, whether or not they were opened as such."""
    indexed = {name: v.variable for name, v in dataset.data_vars.items() if is_lazily_indexed(v.variable)}
    return dataset.assign({name: _to_dask(variable) for name, variable in indexed.items()}) if indexed else dataset


def _to_dask(variable: xr.Variable) -> xr.Variable:
    """Turn a lazily indexed variable into one of dask, with the chunks of its source."""
    source, key = source_and_index(data_of(variable)) or (None, ())
    if not isinstance(source, Source):
        return variable.chunk({"scene": 1} if "scene" in variable.dims else {})
    # A source keeps all its dimensions, and integers have dropped some of the variable's: these are dropped at the end.
    #   reflectance[3, :, :, 0:3], dims (y, x, band), key (3, :, :, 0:3)
    #   names (dropped 0, y, x, band), source.take(3:4, :, :, 0:3), then isel({"dropped 0": 0})
    dims = iter(variable.dims)
    names = [f"dropped {i}" if is_integer(index) else next(dims) for i, index in enumerate(key)]
    slices = [slice(index, index + 1) if is_integer(index) else index for index in key]
    whole = _lazy(source.take(*slices), tuple(names), variable.attrs)
    return whole.isel({name: 0 for name, index in zip(names, key, strict=True) if is_integer(index)})


def source_of(variable: xr.Variable) -> "Source | None":
    """Return the source of a variable that is as it was opened, or as `take_scenes` made it; None for others.

    The source is found in the lazy data itself and kept nowhere else: loaded data must know no store, and none of its
    credentials.
    """
    data: Any = data_of(variable)
    if variable.chunks is not None:
        original = f"original-{data.name}"  # dask's name for the argument of `from_array`
        data = data.dask.layers.get(original, {}).get(original)
    if isinstance(data, Source):
        return data
    source, key = source_and_index(data) or (None, ())
    return source.take(*key) if isinstance(source, Source) and not any(map(is_integer, key)) else None


def preferred_chunks(variable: xr.Variable) -> dict[str, Any]:
    """Return the encoding from which xarray makes the same chunks as `open_catalogue`."""
    source = source_of(variable)
    chunks = {} if source is None else dict(zip(variable.dims, source.chunks, strict=True))
    return {"preferred_chunks": chunks} if chunks else {}


_STORAGE_ATTRIBUTES = ("coordinates", "scale_factor", "decoding", "source_dtype")


def lazy_variable(array: "zarr.Array[Any]", *, blocks: bool = True) -> xr.Variable:
    """Make a lazy variable of an array in a store, without the attributes that only describe its encoding.

    In blocks, the variable is a dask array with one chunk for each shard; for masks, one for each chunk of scenes.
    Otherwise xarray indexes the variable.
    """
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    make = _lazy if blocks else indexed_variable
    return make(_whole_source(array), dims, attributes)


def digital_numbers(dataset: xr.Dataset) -> xr.DataArray | None:
    """Return reflectance as it is stored: DN, uint16, lazy, with the dims and coordinates of reflectance.

    None if reflectance is no longer as it was opened, or stored as floats.
    """
    stored = stored_pixels(dataset["reflectance"]) if "reflectance" in dataset else None
    return stored if stored is not None and stored.dtype == np.uint16 else None


def stored_pixels(pixels: xr.DataArray) -> xr.DataArray | None:
    """Return pixels, lazy, as they are stored and not converted; None if they are no longer as they were opened."""
    source = source_of(pixels.variable)
    if source is None:
        return None
    stored = replace(source, dtype=np.dtype(source.array.dtype), transfer=as_stored)
    return pixels.copy(data=_lazy(stored, pixels.dims, {}).data)


def _wrap_like(
    variable: xr.Variable, source: "Source | _BandFirst", dims: tuple[Hashable, ...] | None = None
) -> xr.Variable:
    """Make a lazy variable of a source, of dask or not as another variable, with its attributes."""
    make = indexed_variable if is_lazily_indexed(variable) else _lazy
    return make(source, dims or variable.dims, variable.attrs)


def _lazy(source: "Source | _BandFirst", dims: tuple[Hashable, ...], attributes: Mapping[Any, Any]) -> xr.Variable:
    """Make a variable of dask that reads from a source."""
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
    """A part of a Zarr array, converted when it is read; dask and xarray pass their indices on to it.

    Attributes
    ----------
    array : zarr.Array
    shards : Shards, optional
        Reader of the array; without it zarr reads the array.
    dtype : dtype
        Of the converted values.
    transfer : callable
        Conversion of stored values, see `Transfer`.
    positions : tuple of ndarray of int
        Positions in the array of the part, along each dimension.
    """

    array: "zarr.Array[Any]"
    shards: Shards | None
    dtype: np.dtype[Any]
    transfer: Transfer
    positions: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        return tuple(map(len, self.positions))

    @property
    def ndim(self) -> int:
        """Number of dimensions of the array."""
        return self.array.ndim

    @cached_property
    def name(self) -> str:
        """Name for dask: equal for equal pixels."""
        from dask.base import tokenize

        place = str(self.array.store_path), self.array.metadata.to_dict()
        return f"{self.array.basename}-{tokenize(place, self.dtype, self.transfer.__name__, self.positions)}"

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunks for dask, along each dimension: one chunk for each shard, with those of its bands that were chosen.

        For masks, one for each chunk in the store: then a chunk is decoded once, and a few masks take no more memory
        than they need.
        """
        # Masks in chunks of 8 scenes, of which scenes 6, 7, 8, 20 were chosen:
        #   numbers 0, 0, 1, 2; edges 0, 2, 3, 4; chunks along scene (2, 1, 1)
        scenes = self.positions[0]
        step = self.array.chunks[0] if self.array.chunks[0] > 1 else (self.array.shards or self.array.chunks)[0]
        numbers = scenes // step if self.array.chunks[0] > 1 else np.arange(len(scenes)) // step
        edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
        return tuple(np.diff(edges).tolist()) or (0,), *((n,) for n in self.shape[1:])

    def take(self, *indices: Any) -> "Source":
        """Take a part of this part, by one numpy index for each dimension; none of them is an integer."""
        return replace(self, positions=tuple(p[index] for p, index in zip(self.positions, indices, strict=True)))

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
        values = self.source[0, y, x, bands]
        return values if isinstance(bands, int) else np.moveaxis(values, -1, 0)


def _whole_source(array: "zarr.Array[Any]") -> Source:
    """Make the source of a whole array."""
    dtype, transfer = _conversion(array)
    return Source(array, Shards.from_array(array), dtype, transfer, tuple(map(np.arange, array.shape)))


def _conversion(array: "zarr.Array[Any]") -> tuple[np.dtype[Any], Transfer]:
    """Return the dtype of an array as users see it, and the function that converts stored values to it."""
    if array.basename in ("mask", "alt_mask"):
        return np.dtype("uint8"), to_mask
    if array.basename == "reflectance" and array.dtype == np.uint16:
        return np.dtype("float32"), to_reflectance
    return np.dtype(array.dtype), as_stored


def to_reflectance(dn: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Convert digital numbers to TOA reflectance, unitless, float32, bit-equal to the published arrays.

    The quotient is exact for all 65,536 DN; a product with 1e-4 would be off by one ulp for 30 % of them.
    """
    return np.divide(dn, np.float32(DN_PER_REFLECTANCE), out=out, dtype=np.float32)


def to_mask(labels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Convert stored labels, uint8, to those that users see: 255, no label, for a pixel that is not one-hot."""
    mask = as_stored(labels, np.empty_like(labels) if out is None else out)
    if labels.size and labels.max() >= MASK_NOT_ONE_HOT:
        np.putmask(mask, mask >= MASK_NOT_ONE_HOT, np.uint8(MASK_MISSING))
    return mask
