"""Neighbouring scenes on one grid, lazily; odc-geo resamples. Needs ``s2cmc[geo]``."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.footprints import outlines
from s2cmc.geo import Outline
from s2cmc.scene import scene
from s2cmc.schema import PIXEL_SIZE

if TYPE_CHECKING:
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import BoundingBox

_MOST_PIXELS = 10**10
"""Of a grid; 1e10 pixels of 20 m are 2000 x 2000 km. Scenes farther apart are hardly meant as neighbours."""
_CHUNK = 1024


def mosaic(
    catalogue: xr.Dataset, *, crs: str | int | None = None, resolution: float | None = None, resampling: str = "nearest"
) -> xr.Dataset:
    """All scenes of a catalogue on one grid; see `GeoAccessor.mosaic`."""
    try:
        import odc.geo.xr  # noqa: F401, registers .odc
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[geo]'") from error
    from rasterio.warp import SUPPORTED_RESAMPLING

    if not catalogue.sizes["scene"]:
        raise QueryError("there is no scene to put into a mosaic; select at least one")
    if resampling not in (known := [method.name for method in SUPPORTED_RESAMPLING]):
        raise QueryError(f"resampling {resampling!r} is none of {', '.join(known)}")
    placed = [scene(catalogue, i) for i in range(catalogue.sizes["scene"])]
    grid = _grid([outline for outline in outlines(catalogue) if outline], crs, resolution)
    on_top = _warped(placed[0], grid, resampling, 0)
    for i, below in enumerate(placed[1:], 1):
        on_top = on_top.where(on_top["source"] >= 0, _warped(below, grid, resampling, i))
    # Only now: what has been merged still says the CRS of the first scene.
    on_top = on_top.drop_vars("spatial_ref").rio.write_crs(str(grid.crs)).rio.write_transform(grid.transform)
    return on_top.rio.write_coordinate_system().assign_attrs(catalogue.attrs)


def _warped(placed: xr.Dataset, grid: "GeoBox", resampling: str, number: int) -> xr.Dataset:
    """A scene on the grid: reflectance resampled as asked, labels by nearest neighbour, all empty where not valid."""
    bare = placed.drop_vars([name for name, c in placed.coords.items() if not c.dims and name != "spatial_ref"])
    labels = bare.drop_vars("reflectance")
    reflectance = bare["reflectance"].where(bare["valid"])  # the zeros of no data must not run into their neighbours
    options = {"always_yx": True, "chunks": (_CHUNK, _CHUNK)}
    warped = labels.odc.reproject(grid, resampling="nearest", **options)
    warped = warped.assign(reflectance=reflectance.odc.reproject(grid, resampling=resampling, **options))
    has_data = warped["valid"] == 1
    for name, variable in warped.data_vars.items():
        variable.attrs.pop("_FillValue", None)  # saved labels would be read as floats
        empty = variable.attrs.get("nodata", np.nan)
        warped[name] = variable.where(has_data, np.array(empty, variable.dtype)).assign_attrs(variable.attrs)
    source = xr.where(has_data, np.int16(number), np.int16(-1))
    meaning = "position of the scene that the pixel is of, from 0; -1 where none has data"
    return warped.assign(source=source.assign_attrs(long_name=meaning))


def _grid(found: list[Outline], crs: str | int | None, resolution: float | None) -> "GeoBox":
    """The smallest grid that holds all outlines; pixels are those of the scenes where CRS and resolution are theirs."""
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import bbox_union
    from odc.geo.types import xy_
    from pyproj.exceptions import CRSError

    zones = sorted({outline.epsg for outline in found})
    if crs is None and len(zones) > 1:
        raise QueryError(
            f"the scenes lie in {len(zones)} UTM zones (EPSG:{', '.join(map(str, zones))}); say which CRS the mosaic "
            "has, e.g. crs=3857"
        )
    if resolution is not None and not resolution > 0:
        raise QueryError(f"resolution {resolution} is no width of a pixel; it is in units of the CRS, above 0")
    try:
        wanted = CRS(zones[0] if crs is None else crs)
    except CRSError as error:
        raise QueryError(f"crs {crs!r} is no CRS; give an EPSG code, e.g. 3857, or a name, e.g. 'EPSG:3857'") from error
    bounds = bbox_union(_bounds(outline, wanted) for outline in found)
    resolution = resolution or _resolution(found[0], wanted)
    # In their own zone, edges of pixels as those of the first scene; elsewhere at multiples of the resolution.
    own = (found[0].left, found[0].top) if zones == [wanted.epsg] else (0.0, 0.0)
    grid = GeoBox.from_bbox(bounds, resolution=resolution, anchor=xy_(*(edge / resolution % 1 for edge in own)))
    if grid.shape.y * grid.shape.x > _MOST_PIXELS:
        raise QueryError(
            f"a mosaic of these scenes has {grid.shape.y} x {grid.shape.x} pixels; select neighbouring ones, or a "
            "coarser resolution"
        )
    return grid


def _resolution(outline: Outline, crs: "CRS") -> float:
    """What a pixel of the scenes measures in another CRS, in its units."""
    from odc.geo.geobox import GeoBox

    shape = (outline.top - outline.bottom) / PIXEL_SIZE, (outline.right - outline.left) / PIXEL_SIZE
    edges = outline.left, outline.bottom, outline.right, outline.top
    own = GeoBox.from_bbox(edges, outline.epsg, shape=(round(shape[0]), round(shape[1])))
    return float(abs(own.to_crs(crs).resolution.x))


def _bounds(outline: Outline, crs: "CRS") -> "BoundingBox":
    from odc.geo.geom import box

    return box(outline.left, outline.bottom, outline.right, outline.top, outline.epsg).to_crs(crs).boundingbox
