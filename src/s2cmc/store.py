"""Open a store: from a path or URL to a lazy Dataset, decoded exactly."""

import json
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from s2cmc.errors import StoreError, UnfinishedStoreError
from s2cmc.filesystem import filesystem_of, store_options, unreadable
from s2cmc.schema import (
    DN_PER_REFLECTANCE,
    FORMAT_VERSION,
    JOURNAL_PLAN,
    MASK_MISSING,
    MASK_NOT_ONE_HOT,
    PIXEL_VARIABLES,
    SCENE_COORDINATES,
)

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store
    from zarr.core.array_spec import ArrayConfigParams

# zarr and dask are imported where they are needed: importing s2cmc stays as cheap as importing xarray.

_THREADS = 16  # small coordinates are fetched side by side; over a network each costs a round trip


def open_catalogue(store: "str | Path | Store", *, storage_options: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Open a catalogue as a lazy Dataset.

    Coordinates are loaded (well below a megabyte); pixels are dask arrays with one chunk for each shard of the store,
    read when they are computed. Nothing is listed.

    Parameters
    ----------
    store : str, Path or zarr Store
        Local path, or any URL that fsspec knows (``s3://bucket/catalogue.zarr``, ``https://...``).
    storage_options : mapping, optional
        Options of the fsspec file system; ``s3://`` is anonymous unless they say otherwise.

    Returns
    -------
    Dataset
        reflectance : (scene, y, x, band), float32
            Top-of-atmosphere reflectance, unitless, bit-equal to the published arrays.
        mask, alt_mask : (scene, y, x), uint8
            0 clear, 1 cloud, 2 cloud_shadow; 255 where there is no label.
        thumbnail : (scene, thumbnail_y, thumbnail_x, rgb), uint8
            Absent where the release had none.

        All coordinates are described by their attributes. ``ds.clouds`` asks the rest.

    Raises
    ------
    UnfinishedStoreError
        If its conversion is not complete; the message says how to complete it.
    StoreError
        If there is no catalogue, or one of a newer format.
    """
    group = open_group(store, storage_options=storage_options)
    arrays = dict(group.arrays())
    pixels = {name: _opened(arrays.pop(name)) for name in PIXEL_VARIABLES if name in arrays}
    return xr.Dataset(pixels, _coordinates(arrays), dict(group.attrs))


def open_group(store: "str | Path | Store", *, storage_options: Mapping[str, Any] | None = None) -> "zarr.Group":
    """Open the Zarr group of a catalogue as it is stored; see `open_catalogue`."""
    import zarr

    options = store_options(str(store), storage_options)
    opened = _resolve(store, options)
    try:
        group = zarr.open_group(opened, mode="r", zarr_format=3, use_consolidated=True)
    except FileNotFoundError as error:
        raise _explain_absence(store, options) from error
    except unreadable() as error:
        raise StoreError(f"{store} cannot be read: {error}") from error
    except ValueError as error:
        raise StoreError(
            f"{store} is no finished catalogue: its zarr.json is damaged or has no consolidated metadata: {error}"
        ) from error
    found = group.attrs.get("format_version")
    if group.attrs.get("format") != "s2cmc" or not isinstance(found, str):
        raise StoreError(f"{store} is a Zarr group, but no catalogue of s2cmc (its attribute `format` is not 's2cmc')")
    if found.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise StoreError(f"{store} has format {found}; this version of s2cmc reads {FORMAT_VERSION}: update s2cmc")
    return group


def _resolve(store: "str | Path | Store", options: dict[str, Any]) -> "Store":
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, LocalStore

    if isinstance(store, Store):
        return store
    if "://" not in str(store):
        return LocalStore(Path(store), read_only=True)
    try:
        return FsspecStore.from_url(str(store), storage_options=options, read_only=True)
    except (ValueError, ImportError) as error:  # an unknown protocol, or one whose package is not installed
        raise StoreError(f"{store} cannot be opened: {error}") from error


def _explain_absence(store: "str | Path | Store", options: dict[str, Any]) -> StoreError:
    """What a missing root means: no such place, an unfinished conversion, or something else."""
    if isinstance(store, str | Path):
        filesystem, root = filesystem_of(str(store), options)
        try:
            plan = json.loads(filesystem.cat_file(f"{root}/{JOURNAL_PLAN}"))
            return UnfinishedStoreError(
                f"the conversion into {store} is not complete; finish it with `{plan['command']}`"
            )
        except unreadable():  # a place that forbids to look further is as good as empty
            pass
    return StoreError(
        f"{store} holds no catalogue: there is no zarr.json; check the path, or convert a release into it"
    )


def _coordinates(arrays: Mapping[str, "zarr.Array[Any]"]) -> dict[Hashable, xr.Variable]:
    """Every coordinate, decoded and loaded: those of the scenes in the order of the schema, then the others."""
    known = [c.name for c in SCENE_COORDINATES if c.name in arrays]
    names = known + [name for name in arrays if name not in known]
    with ThreadPoolExecutor(_THREADS) as pool:
        loaded = pool.map(lambda name: _loaded(arrays[name]), names)
    return dict(xr.decode_cf(xr.Dataset(dict(zip(names, loaded, strict=True)))).variables)


def _loaded(array: "zarr.Array[Any]") -> xr.Variable:
    values = _read(array.with_config(_NO_FILL), slice(None))
    if values.dtype.kind == "T":
        # NumPy's StringDType, which netCDF, groupby and many others do not take yet.
        values = np.array(values.tolist(), str)
    return xr.Variable(_dims(array), values, dict(array.attrs))


def _dims(array: "zarr.Array[Any]") -> tuple[str, ...]:
    return tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())


def _read(array: "zarr.Array[Any]", key: Any) -> np.ndarray:
    try:
        return np.asarray(array.oindex[key])
    except unreadable(ValueError, RuntimeError) as error:
        # What follows the first line is zarr's advice to read an absent chunk as fill values.
        reason = str(error).partition("\n")[0]
        raise StoreError(f"{array.store_path} cannot be read at {key}: {reason}; see s2cmc verify") from error


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


_NO_FILL: "ArrayConfigParams" = {"read_missing_chunks": False}
"""An absent chunk is an error and no fill value."""

_SOURCE = "s2cmc_source"
_STORAGE_ATTRIBUTES = ("coordinates", "scale_factor", "decoding", "source_dtype")


def _opened(array: "zarr.Array[Any]") -> xr.Variable:
    """A lazy variable of an array in a store."""
    attributes = {key: value for key, value in array.attrs.items() if key not in _STORAGE_ATTRIBUTES}
    return _lazy(_decoder(array.with_config(_NO_FILL)), _dims(array), attributes)


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
        return self.decode(_read(self.array, (_as_slice(self.scenes[first]), *rest)))


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
