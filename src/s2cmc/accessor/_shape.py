"""The one shape that all methods of ``ds.clouds`` work on, made of whatever xarray makes of a catalogue.

Methods, and the packages below, take for granted that scenes are along ``scene``, that what is known of a scene is a
coordinate along it, in memory, as numbers or as text of NumPy, and that pixels are float32 reflectance and uint8
labels. A catalogue as it was opened is all that, and is returned as it is, in less than a millisecond for 513 scenes.
"""

from collections.abc import Collection, Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc._compat import data_of
from s2cmc.errors import CatalogueError
from s2cmc.schema import (
    CLASS_NAMES,
    DIMS,
    FIXED_COORDINATES,
    MASK_MISSING,
    PIXEL_VARIABLES,
    SCENE_COORDINATES,
    TILE_SIZE,
)
from s2cmc.store import in_blocks, to_reflectance

_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "fiu", "M": "M"}
"""Kinds of dtype that serve for a coordinate of each kind in the schema; text may be replaced by anything."""

_DTYPES = {c.name: np.dtype(c.dtype) for c in SCENE_COORDINATES}
_LABELLED = ("mask", "alt_mask")


def as_catalogue(dataset: xr.Dataset, needed: Collection[str]) -> xr.Dataset:
    """Return a Dataset in the shape of a catalogue, unchanged if it has this shape. No pixel is read.

    Parameters
    ----------
    dataset : Dataset
    needed : collection of str
        Variables and dimensions that it must have.

    Raises
    ------
    CatalogueError
        If one of these is missing, or the shape cannot be made without a guess.
    """
    catalogue = dataset
    if scene_dim(dataset) != "scene":
        # xarray reads what is indexed without dask when it gets another dimension.
        catalogue = along_scenes(in_blocks(dataset))
        if "scene" not in catalogue.dims:  # a scene without a name
            catalogue = catalogue.expand_dims("scene")
    _check_presence(catalogue, needed)
    catalogue = _with_coordinates(catalogue)
    _check_dims(catalogue, {name: ("scene",) for name in needed if name in _DTYPES})
    if "x_origin" in needed:
        _check_offsets(catalogue)
    both = (*needed, "alt_mask") if "mask" in needed and "alt_mask" in catalogue.variables else needed
    _check_dims(catalogue, {name: DIMS[name] for name in PIXEL_VARIABLES if name in both})
    return _with_pixels(catalogue)


def scene_dim(data: xr.Dataset | xr.DataArray) -> Hashable | None:
    """Return the dimension that scenes are along; None for a single scene.

    Raises
    ------
    CatalogueError
        If several dimensions or coordinates are joined to one with ``scene``.
    """
    scene = data.coords.variables.get("scene")
    if isinstance(index := data.xindexes.get("scene"), xr.indexes.PandasMultiIndex):
        if index.dim == "scene":
            raise CatalogueError(
                "the product IDs of the scenes are gone: `scene` is a MultiIndex of other coordinates; keep the IDs, "
                "and set the index on a dimension of another name: "
                f"ds.rename_dims(scene='sample').set_index(sample={[n for n in _names(data, 'scene') if n != 'scene']})"
            )
        raise CatalogueError(
            f"`scene` is a part of the MultiIndex {index.dim!r}; take it apart with ds.unstack({index.dim!r}), or with "
            f"ds.reset_index({index.dim!r}) if only coordinates of scenes are in it"
        )
    if "scene" in data.dims:
        return "scene"
    if scene is None or not scene.dims:
        return None
    dim = scene.dims[0]
    if scene.ndim > 1 or any(dim in v.dims for name, v in data.coords.variables.items() if name in FIXED_COORDINATES):
        raise CatalogueError(
            f"`scene` lies along {', '.join(map(str, scene.dims))} together with pixels or bands; unstack the "
            "dimensions before you ask"
        )
    return dim


def along_scenes(value: Any, scenes: int | None = None) -> Any:
    """Return Datasets and DataArrays along ``scene``, one by itself or in lists and tuples; anything else unchanged.

    Parameters
    ----------
    value : object
        A single scene becomes one of length 1. Text is as NumPy has it.
    scenes : int, optional
        Length of an array that is a single number or label.
    """
    if isinstance(value, list | tuple):
        return type(value)(along_scenes(one, scenes) for one in value)
    if not isinstance(value, xr.Dataset | xr.DataArray):
        return value
    if (dim := scene_dim(value)) is None:
        if "scene" in value.coords:
            value = value.expand_dims("scene")
        elif scenes is not None and not value.dims:
            value = value.expand_dims(scene=scenes)
    elif dim != "scene":
        value = value.reset_index(dim) if len(_names(value, dim)) > 1 else value
        # `rename_dims` leaves an index with the old dimension.
        value = (value.drop_indexes("scene") if "scene" in value.xindexes else value).swap_dims({dim: "scene"})
    if isinstance(value, xr.DataArray) and value.dtype.kind == "T":
        return value.copy(data=_as_text(value.to_numpy()))
    return value


def as_given(result: Any, dataset: xr.Dataset, *, chosen: bool = False) -> Any:
    """Return a result along ``scene`` with the dimension that scenes have in `dataset`.

    Parameters
    ----------
    result : Dataset or DataArray
    dataset : Dataset
    chosen : bool
        Scenes may be left out, so that a single one keeps its dimension.
    """
    dim = scene_dim(dataset)
    if dim == "scene":
        return result
    if dim is None:
        return result if chosen else result.isel(scene=0)
    names = [name for name in _names(dataset, dim) if name != dim] or ([dim] if dim in dataset.coords else [])
    absent = {name: ("scene", dataset[name].to_numpy()) for name in names if name not in result.coords}
    swapped = result.assign_coords(absent).swap_dims(scene=dim)
    return swapped.set_index({dim: names}) if names and names != [dim] else swapped


def _names(data: xr.Dataset | xr.DataArray, dim: Hashable) -> list[Hashable]:
    """Return the names of the coordinates in the index of a dimension: several for a MultiIndex."""
    index = data.xindexes.get(dim)
    return [] if index is None else [name for name, other in data.xindexes.items() if other is index]


def _check_presence(catalogue: xr.Dataset, needed: Iterable[str]) -> None:
    """Check that variables and dimensions are there; positions on Earth need coordinates y and x too."""
    labelled = {"scene", "band", "y", "x"} if "x_origin" in needed else {"scene", "band"}
    for name in needed:
        absent = name not in catalogue.variables
        if name in DIMS["reflectance"]:
            absent = name not in catalogue.dims or (absent and name in labelled)
        if absent:
            raise CatalogueError(
                f"this Dataset has no {name!r}, which is needed here; open a catalogue with s2cmc.open_catalogue, keep "
                f"{name!r} in the part of it, under this name (ds.rename gives it back), and take rows, columns and "
                "bands by a list or slice, not by a single position"
            )


def _check_dims(catalogue: xr.Dataset, expected: dict[str, tuple[str, ...]]) -> None:
    """Check that variables have no other dimensions than expected, and that scenes are along ``scene``."""
    for name, dims in expected.items():
        found = catalogue.variables[name].dims
        if not {"scene"} <= set(found) <= set(dims):
            raise CatalogueError(
                f"{name!r} has dims ({', '.join(map(str, found))}); expected ({', '.join(dims)}): give dimensions "
                "their names back with ds.rename or ds.unstack, and select one position along others with ds.isel"
            )


def _check_offsets(catalogue: xr.Dataset) -> None:
    """Check that x is counted from the corner of a scene: no scene is wider than its tile."""
    if np.abs(catalogue["x"].to_numpy()).max(initial=0) > TILE_SIZE:
        raise CatalogueError(
            "x and y of this Dataset are not counted from the corner of a scene, as if it was put on Earth already; "
            "ask the catalogue that it was taken from"
        )


def _with_coordinates(catalogue: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose coordinates of scenes are along ``scene``, in memory, and of the kinds of the schema."""
    if demoted := {*_DTYPES, *FIXED_COORDINATES} & set(catalogue.data_vars):
        catalogue = catalogue.set_coords(demoted)
    odd = {}
    for name, variable in catalogue.coords.variables.items():
        if variable.dims == ("scene",) or name in FIXED_COORDINATES:
            if not _is_plain(name, variable):
                odd[name] = variable
        elif not variable.dims and "grid_mapping_name" not in variable.attrs:
            odd[name] = variable
    if not odd:
        return catalogue
    _check_scalars(catalogue, [name for name, v in odd.items() if not v.dims and name in _DTYPES])
    values = _loaded(odd)
    shape, coordinates = catalogue.sizes["scene"], {}
    for name, variable in odd.items():
        plain = _as_plain(name, values[name])
        broadcast = not variable.dims and name not in FIXED_COORDINATES
        dims, plain = (("scene",), np.full(shape, plain)) if broadcast else (variable.dims, plain)
        coordinates[name] = (dims, plain, variable.attrs)
    return catalogue.assign_coords(coordinates)


def _check_scalars(catalogue: xr.Dataset, names: list[Hashable]) -> None:
    """Check that coordinates with one value for several scenes are those of every scene.

    `xr.concat` keeps a coordinate that is equal in all parts as a scalar, but by its new default the first one of any.
    Rows of the table differ from scene to scene, and times from product to product, unless they were lost so.
    """
    if not names or catalogue.sizes["scene"] <= 1:
        return
    witnesses = [v for n in ("index", "time") if (v := catalogue.variables.get(n)) is not None]
    if not witnesses or not witnesses[0].dims:
        shown = ", ".join(map(str, sorted(map(str, names))[:3]))
        raise CatalogueError(
            f"coordinates ({shown}, ...) have one value for {catalogue.sizes['scene']} scenes, which may be that of "
            "the first alone, as xr.concat keeps it by its new defaults; take parts by lists, ds.isel(scene=[i]), or "
            "join them with xr.concat(parts, 'scene', coords='different', compat='equals')"
        )


def _is_plain(name: Hashable, variable: xr.Variable) -> bool:
    dtype = variable.dtype
    return (
        isinstance(dtype, np.dtype)
        and (dtype.kind in _KINDS.get(_DTYPES[name].kind, "biufmMUO") if name in _DTYPES else dtype.kind != "T")
        and (isinstance(data_of(variable), np.ndarray) or variable.chunks is None)  # `chunks` takes 20 us
    )


def _loaded(variables: dict[Hashable, xr.Variable]) -> dict[Hashable, np.ndarray]:
    """Return the values of variables; those of dask are computed together."""
    if all(v.chunks is None for v in variables.values()):
        return {name: v.to_numpy() for name, v in variables.items()}
    from dask.base import compute

    values = compute(*(v.to_numpy() if v.chunks is None else v.data for v in variables.values()))
    return dict(zip(variables, map(np.asarray, values), strict=True))


def _as_plain(name: Hashable, values: np.ndarray) -> np.ndarray:
    """Return values of a coordinate as the schema has them; a missing one cannot be."""
    if values.dtype.kind == "T":
        return _as_text(values)
    dtype = _DTYPES.get(str(name), values.dtype)
    if dtype.kind not in _KINDS or values.dtype.kind in _KINDS[dtype.kind]:
        return values
    if pd.isna(values).any() or values.dtype.kind not in "biufO" or not np.array_equal(values.astype(dtype), values):
        raise CatalogueError(
            f"coordinate {name!r} has values that are missing or of another type ({values.dtype}); leave these scenes "
            f"out, e.g. by ds.isel(scene=ds[{name!r}].notnull()), or assign the catalogue's own {name!r} again"
        )
    return values.astype(dtype)


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return text of NumPy's StringDType, which many libraries do not take, as fixed-width text."""
    return np.array(values.tolist(), str)


def _with_pixels(catalogue: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose pixels are decoded as `open_catalogue` does it, lazily.

    `xr.open_zarr` keeps labels of pixels that are not one-hot, and has float64; ``ds.where`` makes floats of labels.
    """
    odd = {name: decode for name in PIXEL_VARIABLES if (decode := _decoder(catalogue.variables.get(name), name))}
    if not odd:
        return catalogue
    catalogue = in_blocks(catalogue)
    decoded = {
        name: xr.apply_ufunc(
            decode, catalogue.variables[name], dask="parallelized", output_dtypes=[dtype], keep_attrs=True
        )
        for name, (decode, dtype) in odd.items()
    }
    return catalogue.assign(decoded)


def _decoder(variable: xr.Variable | None, name: str) -> tuple[Any, type] | None:
    """Return the function that decodes pixels, and the dtype of its result; None if they are decoded."""
    if variable is None:
        return None
    if name in _LABELLED and (variable.dtype != np.uint8 or "source_dtype" in variable.attrs):
        return _as_labels, np.uint8
    if name == "reflectance" and variable.dtype == np.uint16:
        return to_reflectance, np.float32
    if name == "reflectance" and "decoding" in variable.attrs and variable.dtype != np.float32:
        return _as_float32, np.float32  # equal to `to_reflectance` for every DN: the float64 is close enough
    if name == "thumbnail" and variable.dtype != np.uint8:
        return _as_bytes, np.uint8
    return None


def _as_labels(values: np.ndarray) -> np.ndarray:
    """Return labels, uint8: 255 for whatever is no class, NaN included."""
    known = np.isin(values, range(len(CLASS_NAMES)))
    return np.where(known, values, MASK_MISSING).astype(np.uint8)


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Return colors, uint8: black where there is none."""
    return np.nan_to_num(values).astype(np.uint8)


def _as_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
