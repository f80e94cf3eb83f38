"""Put one scene on its own UTM grid, lazily, ready for rioxarray."""

import re
import reprlib
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema import DIMS, MASK_MISSING, edge_and_step, interval
from s2cmc.store import transpose

if TYPE_CHECKING:
    from affine import Affine

SceneKey = str | int | tuple[str, str | date | np.datetime64]
"""Key of a scene: product ID, unique prefix of one, position, or tile and date."""

_TILE_AND_DATE = re.compile(r"T?(\d{2}[C-X][A-Z]{2})(?:[\s_/]+(\S.*))?")
_MAX_NAMED = 5  # scenes in a message


def scene(catalogue: xr.Dataset, key: SceneKey) -> xr.Dataset:
    """Take one scene, with its true coordinates; see `GeoAccessor.scene`."""
    from affine import Affine

    taken = catalogue.isel(scene=position(catalogue, key))
    taken = transpose(taken, ..., "y", "x", missing_dims="ignore")  # rioxarray takes no other order
    epsg, x_origin, y_origin = (taken[name].to_numpy().item() for name in ("epsg", "x_origin", "y_origin"))
    if np.isnan(x_origin) or np.isnan(y_origin):
        raise CatalogueError(
            f"{taken['scene'].to_numpy()} has no georeference: the release that the store was made from had no outline "
            "for it; its pixels are in the catalogue, e.g. catalogue.sel(scene=...)"
        )
    (left, width), (top, height) = edge_and_step(taken, "x"), edge_and_step(taken, "y")
    x, y = x_origin + taken["x"].to_numpy(), y_origin + taken["y"].to_numpy()
    placed = taken.assign_coords(x=("x", x), y=("y", y))
    placed = placed.drop_dims([name for name in DIMS["thumbnail"][1:] if name in placed.dims])
    for name in ("mask", "alt_mask"):
        if name in placed:  # rioxarray's `nodata`: a CF _FillValue would turn saved labels into floats when decoded
            placed[name].attrs["nodata"] = MASK_MISSING
    if "reflectance" in placed:
        placed["reflectance"].encoding["_FillValue"] = np.nan  # of pixels added around a warped scene, also in rasters
        placed["valid"] = _valid(placed["reflectance"])
    return _with_crs(placed, int(epsg), Affine(width, 0.0, x_origin + left, 0.0, height, y_origin + top))


def position(catalogue: xr.Dataset, key: SceneKey) -> int:
    """Return the position of a scene on dimension ``scene``.

    Parameters
    ----------
    catalogue : Dataset
    key : str, int or (tile, date)
        Product ID or a unique prefix of one; position, from the end if negative; ``"T18SVG 2018-01-12"`` or
        ``("T18SVG", "2018-01-12")``. The date may be coarser, such as ``2018-01``, if one scene matches.

    Raises
    ------
    QueryError
        If no scene matches, or several do.
    """
    if isinstance(key, np.ndarray | xr.DataArray) and key.ndim == 0:
        key = key.item()  # an element of an array of IDs or positions
    ids = [str(name) for name in catalogue["scene"].to_numpy()]
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        if not ids:
            raise QueryError(f"there is no scene {key}; there are none at all")
        if not -len(ids) <= key < len(ids):
            raise QueryError(f"there is no scene {key}; positions go from 0 to {len(ids) - 1}")
        return int(key) % len(ids)
    if isinstance(key, tuple) and len(key) == 2:
        key = f"{key[0]} {key[1]}"
    if not isinstance(key, str) or not key:
        raise QueryError(
            f"{reprlib.repr(key)} names no scene; give a product ID, a prefix of one, a position, or tile and date"
        )
    key = key.removesuffix(".SAFE")
    if key in ids:
        return ids.index(key)
    matches = [i for i, name in enumerate(ids) if name.startswith(key)] or _find_by_tile(catalogue, key)
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = f" and {len(matches) - _MAX_NAMED} more" if len(matches) > _MAX_NAMED else ""
        names = ", ".join(ids[i] for i in matches[:_MAX_NAMED])
        raise QueryError(f"{key!r} names {len(matches)} scenes: {names}{more}; say more of it")
    near = get_close_matches(key, ids, n=1)
    raise QueryError(f"no scene {key!r} among {len(ids)}" + (f"; did you mean {near[0]}?" if near else ""))


def _find_by_tile(catalogue: xr.Dataset, key: str) -> list[int]:
    """Find the positions of the scenes of a tile, and of a date if the key has one."""
    match = _TILE_AND_DATE.fullmatch(key.strip())
    if match is None:
        return []
    start, stop = interval(match[2])
    is_of_tile = catalogue["mgrs_tile"].to_numpy() == match[1]
    times = catalogue["time"].to_numpy()
    return np.flatnonzero(is_of_tile & (times >= start) & (times <= stop)).tolist()


def _valid(reflectance: xr.DataArray) -> xr.DataArray:
    """Make the variable ``valid`` (y, x), uint8: 1 for a pixel with data in every band."""
    has_data = (reflectance > 0) & np.isfinite(reflectance)
    # Not bool, which no raster format holds and rioxarray does not take.
    valid = (has_data.all("band") if "band" in has_data.dims else has_data).astype(np.uint8)
    valid.attrs = {
        "long_name": "every band has data: finite, and no DN 0, which is no-data in Level-1C",
        "flag_values": [0, 1],
        "flag_meanings": "no_data valid",
        "nodata": 0,  # rioxarray's value for pixels that it adds around a reprojected scene
    }
    return valid.rename("valid")


def _with_crs(placed: xr.Dataset, epsg: int, transform: "Affine") -> xr.Dataset:
    import rioxarray  # noqa: F401, registers .rio

    placed = placed.rio.write_crs(epsg).rio.write_transform(transform).rio.write_coordinate_system()
    for axis, long_name in (("x", "easting"), ("y", "northing")):  # rioxarray's are too long for the axis of a plot
        placed[axis].attrs["long_name"] = long_name
    return placed
