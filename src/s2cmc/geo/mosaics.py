"""Put neighbouring scenes on one grid, lazily; odc-geo resamples. Needs ``s2cmc[geo]``."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.geo.scenes import scene
from s2cmc.schema import MASK_MISSING, PIXEL_SIZE, Outline, outlines

if TYPE_CHECKING:
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox


# The common grid.

_MAX_PIXELS = 10**10
"""1e10 pixels of 20 m are 2000 x 2000 km. Scenes farther apart are hardly meant as neighbours."""

_MAX_STEP = 20
"""Times the median distance between neighbouring points of an outline; a longer one means that the CRS is cut there."""

_POINTS = 21  # on each edge: straight edges may be bent in another CRS


def make_grid(scenes: list[Outline], crs: str | int | None, resolution: float | None) -> "GeoBox":
    """Make the smallest grid that holds all outlines; its pixels are those of the first scene in its own CRS.

    Parameters
    ----------
    scenes : list of Outline
    crs : str or int, optional
        By default the UTM zone of all scenes.
    resolution : float, optional
        Width of a pixel in units of the CRS; by default the width of 20 m in the CRS, at the first scene.

    Raises
    ------
    QueryError
        If there is no such grid, or it would be far larger than a mosaic of neighbours.
    """
    from odc.geo.geobox import GeoBox
    from odc.geo.types import xy_

    zones = sorted({outline.epsg for outline in scenes})
    if crs is None and len(zones) > 1:
        raise QueryError(
            f"the scenes lie in {len(zones)} UTM zones (EPSG:{', '.join(map(str, zones))}); say which CRS the mosaic "
            "has, e.g. crs=3857"
        )
    if resolution is not None and not (isinstance(resolution, Real) and 0 < resolution < np.inf):
        raise QueryError(
            f"resolution {resolution!r} is no width of a pixel; it is a number in units of the CRS, above 0"
        )
    target = _parse_crs(zones[0] if crs is None else crs)
    boxes = np.array([bounds(outline, target) for outline in scenes])
    if resolution is not None and resolution > min(right - left for left, _, right, _ in boxes):
        raise QueryError(
            f"resolution {resolution} makes a whole scene less than a pixel; it is in units of crs {target}"
        )
    resolution = resolution or _resolution(scenes[0], target)
    # In the UTM zone of the scenes, pixels have the edges of those of the first scene, so that at 20 m values are only
    # copied. In another CRS, edges are at multiples of the resolution.
    corner = (scenes[0].left, scenes[0].top) if zones == [target.epsg] else (0.0, 0.0)
    anchor = xy_(*(edge / resolution % 1 for edge in corner))
    edges = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    grid = GeoBox.from_bbox(edges, target, resolution=resolution, anchor=anchor)
    if grid.shape.y * grid.shape.x > _MAX_PIXELS:
        raise QueryError(
            f"a mosaic of these scenes has {grid.shape.y} x {grid.shape.x} pixels; select neighbouring ones, or a "
            "coarser resolution"
        )
    return grid


def _parse_crs(text: str | int) -> "CRS":
    """Make a CRS of an EPSG code or a name."""
    from odc.geo.crs import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS(text)
    except (CRSError, TypeError, ValueError) as error:
        raise QueryError(
            f"crs {text!r} is no CRS; give an EPSG code, e.g. 3857, or a name, e.g. 'EPSG:3857'"
        ) from error
    if not (crs.projected or crs.geographic):
        raise QueryError(f"crs {text!r} is no CRS of a map; give a projected one, e.g. 3857, or a geographic one")
    return crs


def _resolution(outline: Outline, crs: "CRS") -> float:
    """Compute the width of a 20 m pixel of a scene in another CRS, in its units."""
    from odc.geo.geobox import GeoBox

    shape = (outline.top - outline.bottom) / PIXEL_SIZE, (outline.right - outline.left) / PIXEL_SIZE
    edges = outline.left, outline.bottom, outline.right, outline.top
    own = GeoBox.from_bbox(edges, outline.epsg, shape=(round(shape[0]), round(shape[1])))
    return float(abs(own.to_crs(crs).resolution.x))


def bounds(outline: Outline, crs: "CRS") -> tuple[float, float, float, float]:
    """Compute left, bottom, right, top of an outline in another CRS, in its units.

    Raises
    ------
    QueryError
        If the CRS is cut through the outline, or is not defined there.
    """
    from pyproj import Transformer

    along = np.linspace(0, 1, _POINTS)
    corners = np.array(outline.ring())
    ring = np.concatenate([a + along[:, np.newaxis] * (b - a) for a, b in pairwise(corners)])
    points = np.column_stack(Transformer.from_crs(outline.epsg, crs.proj, always_xy=True).transform(*ring.T))
    steps = np.hypot(*np.diff(points, axis=0).T)
    if not np.isfinite(points).all() or steps.max() > _MAX_STEP * np.median(steps):
        raise QueryError(
            f"crs {crs} is cut through one of the scenes, as many are at the antimeridian; give another, e.g. 3832, or "
            "the UTM zone of a scene"
        )
    (left, bottom), (right, top) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, bottom, right, top


# The mosaic: chunks of the grid, each made of the scenes that touch it.

_CHUNK = 1024  # pixels
_EMPTY: dict[str, float] = {"reflectance": np.nan, "mask": MASK_MISSING, "alt_mask": MASK_MISSING, "valid": 0}
"""Values of the variables where no scene has data."""


class _Placed(NamedTuple):
    """A scene, its own grid, and its rows and columns on the common grid (first, one past the last)."""

    scene: xr.Dataset
    box: "GeoBox"
    rows: tuple[int, int]
    columns: tuple[int, int]


def mosaic(
    catalogue: xr.Dataset, *, crs: str | int | None = None, resolution: float | None = None, resampling: str = "nearest"
) -> xr.Dataset:
    """Put all scenes of a catalogue on one grid; see `GeoAccessor.mosaic`."""
    try:
        import odc.geo.xr  # noqa: F401, registers .odc
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[geo]'") from error
    from rasterio.warp import SUPPORTED_RESAMPLING

    if not catalogue.sizes["scene"]:
        raise QueryError("there is no scene to put into a mosaic; select at least one")
    if resampling not in (known := [method.name for method in SUPPORTED_RESAMPLING]):
        raise QueryError(f"resampling {resampling!r} is none of {', '.join(known)}")
    bare = catalogue[[name for name in _EMPTY if name in catalogue]]
    scenes = [scene(bare, i) for i in range(catalogue.sizes["scene"])]
    grid = make_grid([outline for outline in outlines(catalogue) if outline], crs, resolution)
    variables = _compose(scenes, grid, resampling)
    # Coordinates of single scenes, and those along y and x, are not those of the mosaic: the bands' are left.
    bands = (
        scenes[0]
        .coords.to_dataset()
        .drop_vars([name for name, c in scenes[0].coords.items() if not c.dims or c.dims[0] in ("y", "x")])
    )
    rows, columns = np.arange(grid.shape.y) + 0.5, np.arange(grid.shape.x) + 0.5
    axes = {"y": grid.transform.f + rows * grid.transform.e, "x": grid.transform.c + columns * grid.transform.a}
    result = bands.assign_coords(axes).assign(variables).assign_attrs(catalogue.attrs)
    return result.rio.write_crs(str(grid.crs)).rio.write_transform(grid.transform).rio.write_coordinate_system()


def _compose(scenes: Sequence[xr.Dataset], grid: "GeoBox", resampling: str) -> dict[str, Any]:
    """Make the variables of the mosaic, in chunks; the task of a chunk depends only on the scenes that touch it."""
    import dask.array
    from dask.delayed import delayed

    placed = [_place(single, grid) for single in scenes]
    bands = scenes[0].sizes["band"]
    dtypes = {name: scenes[0][name].dtype for name in _EMPTY if name in scenes[0]} | {"source": np.dtype(np.int16)}
    blocks: dict[str, list[list[Any]]] = {name: [] for name in dtypes}
    for top, bottom in _spans(grid.shape.y):
        for name in dtypes:
            blocks[name].append([])
        for left, right in _spans(grid.shape.x):
            touching = [
                i for i, (_, _, rows, columns) in enumerate(placed)
                if rows[0] < bottom and top < rows[1] and columns[0] < right and left < columns[1]
            ]  # fmt: skip
            parts = [{name: placed[i].scene[name].data for name in dtypes if name != "source"} for i in touching]
            boxes = [placed[i].box for i in touching]
            chunk = delayed(_chunk)(grid[top:bottom, left:right], touching, boxes, parts, dtypes, bands, resampling)
            for name, dtype in dtypes.items():
                plane = (bottom - top, right - left)
                shape = (bands, *plane) if name == "reflectance" else plane
                blocks[name][-1].append(dask.array.from_delayed(chunk[name], shape, dtype))
    meaning = "position of the scene that the pixel is of, from 0; -1 where none has data"
    attributes = {name: scenes[0][name].attrs for name in dtypes if name != "source"} | {
        "source": {"long_name": meaning}
    }
    dims = {name: ("band", "y", "x") if name == "reflectance" else ("y", "x") for name in dtypes}
    return {name: (dims[name], dask.array.block(blocks[name]), attributes[name]) for name in dtypes}


def _spans(length: int) -> Iterator[tuple[int, int]]:
    """Cut a length into chunks: 1300 gives (0, 1024) and (1024, 1300)."""
    return ((start, min(start + _CHUNK, length)) for start in range(0, length, _CHUNK))


def _place(single: xr.Dataset, grid: "GeoBox") -> _Placed:
    """Find the pixels of the grid that a scene may touch: those within its bounds in the CRS of the grid, and one more.

    The margin allows for rounding, and for edges that are bent between the points of `bounds`.
    """
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    box = GeoBox((single.sizes["y"], single.sizes["x"]), single.rio.transform(), str(single.rio.crs))
    edges = box.boundingbox
    outline = Outline(single.rio.crs.to_epsg(), edges.left, edges.bottom, edges.right, edges.top)
    left, bottom, right, top = bounds(outline, CRS(str(grid.crs)))
    to_pixels = ~grid.transform
    (first, upper), (last, lower) = to_pixels @ (left, top), to_pixels @ (right, bottom)
    return _Placed(single, box, (int(upper) - 1, int(lower) + 2), (int(first) - 1, int(last) + 2))


def _chunk(
    grid: "GeoBox",
    numbers: Sequence[int],
    boxes: Sequence["GeoBox"],
    parts: Sequence[dict[str, np.ndarray]],
    dtypes: dict[str, np.dtype[Any]],
    bands: int,
    resampling: str,
) -> dict[str, np.ndarray]:
    """Make one chunk of every variable. Where scenes overlap, the first one with data counts.

    Parameters
    ----------
    grid : GeoBox
        Grid of the chunk.
    numbers, boxes, parts : sequences
        Position, own grid and variables (..., y, x) of each scene that may touch the chunk.
    dtypes : dict
        Of all variables of the mosaic.
    bands : int
        Number of bands of reflectance.
    resampling : str
        Of reflectance; labels and ``valid`` are those of the nearest pixel.
    """
    shape = (grid.shape.y, grid.shape.x)
    chunk = {
        name: np.full((bands, *shape) if name == "reflectance" else shape, _EMPTY.get(name, -1), dtype)
        for name, dtype in dtypes.items()
    }
    for number, box, part in zip(numbers, boxes, parts, strict=True):
        visible = (_warp(part["valid"], box, grid, "nearest", 0) == 1) & (chunk["source"] < 0)
        if visible.any():
            chunk["source"][visible] = number
            for name, pixels in part.items():
                if name == "reflectance":  # NaN, because resampling must not mix the zeros of no data into neighbours
                    masked = np.where(part["valid"] == 1, pixels, np.float32(np.nan))
                    chunk[name][:, visible] = _warp(masked, box, grid, resampling, np.nan)[:, visible]
                else:
                    chunk[name][visible] = _warp(pixels, box, grid, "nearest", float(_EMPTY[name]))[visible]
    return chunk


def _warp(pixels: np.ndarray, box: "GeoBox", grid: "GeoBox", resampling: str, nodata: float) -> np.ndarray:
    """Resample pixels (..., y, x) from the grid of a scene to another one."""
    from odc.geo.warp import rio_reproject

    warped = np.full((*pixels.shape[:-2], grid.shape.y, grid.shape.x), nodata, pixels.dtype)
    return rio_reproject(
        np.ascontiguousarray(pixels), warped, box, grid, resampling, src_nodata=nodata, dst_nodata=nodata
    )
