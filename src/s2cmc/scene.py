"""One scene on its own UTM grid, ready for rioxarray; lazy until it is asked."""

import re
from datetime import date
from difflib import get_close_matches

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.lazy import take_scene
from s2cmc.schema import DIMS, MASK_MISSING, PIXEL_SIZE

SceneKey = str | int | tuple[str, str | date | np.datetime64]
"""Names a scene: product ID, a prefix of only one, position, or tile and date."""

_TILE_AND_DATE = re.compile(r"T?(\d{2}[C-X][A-Z]{2})(?:[\s_/]+(\d[\d\s:T.-]*))?")
_MOST_NAMED = 5  # scenes in a message


def scene(catalogue: xr.Dataset, key: SceneKey) -> xr.Dataset:
    """One scene with true coordinates; see `GeoAccessor.scene`."""
    found = take_scene(catalogue, position(catalogue, key))  # bands first: rioxarray takes no other order
    epsg, x_origin, y_origin = (found[name].item() for name in ("epsg", "x_origin", "y_origin"))
    if np.isnan(x_origin) or np.isnan(y_origin):
        raise CatalogueError(
            f"{found['scene'].item()} has no georeference: the release that the store was made from had no outline for "
            "it; its pixels are in the catalogue, e.g. catalogue.sel(scene=...)"
        )
    # The offsets of the catalogue are those of any part of it too.
    placed = found.assign_coords(x=x_origin + found["x"], y=y_origin - found["y"])
    placed = placed.drop_dims([name for name in DIMS["thumbnail"][1:] if name in placed.dims])
    for name in ("mask", "alt_mask"):
        if name in placed:  # rioxarray's `nodata`; a CF _FillValue would make floats of saved labels
            placed[name].attrs["nodata"] = MASK_MISSING
    if "reflectance" in placed:
        placed["valid"] = _valid(placed["reflectance"])
    return _with_crs(placed, int(epsg))


def position(catalogue: xr.Dataset, key: SceneKey) -> int:
    """Where a scene stands on dimension ``scene``.

    Parameters
    ----------
    catalogue : Dataset
    key : str, int or (tile, date)
        Product ID or a prefix that only one has; position, from the end if negative; ``"T18SVG 2018-01-12"`` or
        ``("T18SVG", "2018-01-12")``. The date may be as coarse as it is clear.

    Raises
    ------
    QueryError
        If no scene is named so, or several are.
    """
    ids = [str(name) for name in catalogue["scene"].to_numpy()]
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        if not -len(ids) <= key < len(ids):
            raise QueryError(f"there is no scene {key}; positions go from 0 to {len(ids) - 1}")
        return int(key) % len(ids)
    if isinstance(key, tuple) and len(key) == 2:
        key = f"{key[0]} {key[1]}"
    if not isinstance(key, str) or not key:
        raise QueryError(f"{key!r} names no scene; give a product ID, a prefix of one, a position, or tile and date")
    if key in ids:
        return ids.index(key)
    found = [i for i, name in enumerate(ids) if name.startswith(key)] or _of_tile(catalogue, key)
    if len(found) == 1:
        return found[0]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        names = ", ".join(ids[i] for i in found[:_MOST_NAMED])
        raise QueryError(f"{key!r} names {len(found)} scenes: {names}{more}; say more of it")
    near = get_close_matches(key, ids, n=1)
    raise QueryError(f"no scene {key!r} among {len(ids)}" + (f"; did you mean {near[0]}?" if near else ""))


def _of_tile(catalogue: xr.Dataset, key: str) -> list[int]:
    """Positions of the scenes of a tile, and of a date where one is given."""
    match = _TILE_AND_DATE.fullmatch(key.strip())
    if match is None:
        return []
    digits = re.sub(r"\D", "", match[2] or "")[:14]
    times = np.datetime_as_string(catalogue["time"].to_numpy(), unit="s")
    return [
        i
        for i, (tile, time) in enumerate(zip(catalogue["mgrs_tile"].to_numpy(), times, strict=True))
        if tile == match[1] and re.sub(r"\D", "", time).startswith(digits)
    ]


def _valid(reflectance: xr.DataArray) -> xr.DataArray:
    # Not bool, which no raster format holds and rioxarray does not take.
    valid = ((reflectance > 0) & np.isfinite(reflectance)).all("band").astype(np.uint8)
    return valid.rename("valid").assign_attrs(
        long_name="every band has data: finite, and no DN 0, which is no-data in Level-1C",
        flag_values=[0, 1],
        flag_meanings="no_data valid",
        nodata=0,  # rioxarray's: what it adds around a reprojected scene is not valid
    )


def _with_crs(placed: xr.Dataset, epsg: int) -> xr.Dataset:
    import rioxarray  # noqa: F401, registers .rio
    from affine import Affine

    left, width = _corner_and_step(placed["x"].to_numpy(), PIXEL_SIZE)
    top, height = _corner_and_step(placed["y"].to_numpy(), -PIXEL_SIZE)
    placed = placed.rio.write_crs(epsg).rio.write_transform(Affine(width, 0.0, left, 0.0, height, top))
    return placed.rio.write_coordinate_system()


def _corner_and_step(centres: np.ndarray, step: float) -> tuple[float, float]:
    """Outer edge of the first pixel, and the way to the next; `step` if there is but one."""
    if len(centres) > 1:
        step = float(centres[1] - centres[0])
    return float(centres[0]) - step / 2, step
