"""Lazy pixels of an open store, as dask arrays or indexed by xarray; they are decoded exactly when they are read."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray

from s2cmc._compat import array_and_key, data_of, is_lazily_indexed, lazily_indexed, read_indexed
from s2cmc.schema import SOURCE_VALUES
from s2cmc.store.source import Source

if TYPE_CHECKING:
    import zarr


class Pixels(BackendArray):
    """Pixels that xarray indexes itself, without dask; ``.values`` reads them into a plain ndarray.

    See https://docs.xarray.dev/en/stable/internals/how-to-add-new-backend.html.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def __getitem__(self, key: Any) -> Any:
        return read_indexed(key, self.shape, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return self.source[key]


_STORAGE_ATTRIBUTES = (
    "coordinates",
    "scale_factor",
    "decoding",
    "source_dtype",
    "other_source_dtypes",
    SOURCE_VALUES,
)


def lazy_variable(array: "zarr.Array[Any]", *, blocks: bool = True) -> xr.Variable:
    """Make a lazy variable of an array in a store, without the attributes that only describe its encoding.

    In blocks, the variable is a dask array with one block for each scene. Otherwise xarray indexes the variable.
    """
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    return _variable(Source.from_array(array), dims, attributes, blocks=blocks)


def source_of(variable: xr.Variable) -> Source | None:
    """Return the source of a variable that was indexed and transposed since it was opened, and no more; else None.

    The source is found in the lazy data itself and kept nowhere else: loaded data must know no store, and none of its
    credentials.
    """
    data: Any = data_of(variable)
    if variable.chunks is not None:
        from s2cmc.store.lazy_array import LazyArray

        if isinstance(data, LazyArray):
            return data.source
        original = (
            f"original-{data.name}"  # dask's name for the argument of `from_array`, which the engine's users call
        )
        data = data.dask.layers.get(original, {}).get(original)
    if isinstance(data, Source):  # of a LazyArray that was pickled
        return data
    array, key = array_and_key(data) or (None, ())
    return array.source.take(key) if isinstance(array, Pixels) else None


def in_blocks(dataset: xr.Dataset) -> xr.Dataset:
    """Turn all pixels that have not been read into dask arrays, whether or not they were opened as such."""
    indexed = {name: v.variable for name, v in dataset.data_vars.items() if is_lazily_indexed(v.variable)}
    return dataset.assign({name: _to_dask(variable) for name, variable in indexed.items()}) if indexed else dataset


def _to_dask(variable: xr.Variable) -> xr.Variable:
    """Turn a lazily indexed variable into one of dask, with a block for each scene."""
    source = source_of(variable)
    if source is None:
        return variable.chunk({"scene": 1} if "scene" in variable.dims else {})
    return _variable(source, variable.dims, variable.attrs, blocks=True)


def transpose(dataset: xr.Dataset, *dims: Any, **options: Any) -> xr.Dataset:
    """Transpose a Dataset like `xarray.Dataset.transpose`; pixels that xarray indexes are indexed by it afterwards."""
    # xarray itself would from then on collect one index for all dimensions, as large as the array.
    transposed = in_blocks(dataset).transpose(*dims, **options)
    indexed = [name for name, v in dataset.data_vars.items() if is_lazily_indexed(v.variable)]
    sources = {name: source for name in indexed if (source := source_of(transposed[name].variable)) is not None}
    return transposed.assign(
        {
            name: _variable(source, transposed[name].dims, transposed[name].attrs, blocks=False)
            for name, source in sources.items()
        }
    )


def preferred_chunks(variable: xr.Variable) -> dict[str, Any]:
    """Return the encoding from which xarray makes the same chunks as `open_catalogue`."""
    if source_of(variable) is None:
        return {}
    return {"preferred_chunks": {dim: 1 if dim == "scene" else n for dim, n in variable.sizes.items()}}


def digital_numbers(dataset: xr.Dataset) -> xr.DataArray | None:
    """Return reflectance as it is stored: DN, uint16, lazy, with the dims and coordinates of reflectance.

    None if reflectance is no longer as it was opened, or stored as floats.
    """
    stored = stored_pixels(dataset["reflectance"]) if "reflectance" in dataset else None
    return stored if stored is not None and stored.dtype == np.uint16 else None


def stored_pixels(pixels: xr.DataArray) -> xr.DataArray | None:
    """Return pixels, lazy, as they are stored and not converted; None if they are no longer as they were opened."""
    source = source_of(pixels.variable)
    return (
        None if source is None else pixels.copy(data=_variable(source.as_stored(), pixels.dims, {}, blocks=True).data)
    )


def _variable(
    source: Source, dims: tuple[Hashable, ...], attributes: Mapping[Any, Any], *, blocks: bool
) -> xr.Variable:
    """Make a lazy variable of a source, of dask or indexed by xarray; values written to it stay in memory."""
    if not blocks:
        return xr.Variable(dims, lazily_indexed(Pixels(source)), attributes)
    from s2cmc.store.lazy_array import LazyArray

    return xr.Variable(dims, LazyArray.from_source(source), attributes)
