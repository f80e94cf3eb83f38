"""Attributes by which readers of GeoZarr locate an array on Earth.

They follow two conventions of Zarr, ``proj`` (CRS) and ``spatial`` (dimensions and transform), version 0.1 of
https://github.com/zarr-conventions/proj and https://github.com/zarr-conventions/spatial. Both describe an array of one
CRS. An array of a catalogue has a CRS for each scene, in the coordinates ``epsg``, ``x_origin`` and ``y_origin``, so
that its store declares neither of them; a scene that is saved by itself can. They are declared by a list of objects,
which netCDF cannot hold: ``xr.open_zarr(store).to_netcdf(...)`` would fail if the root of a store had it.
"""

from typing import Any

import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.schema import Outline


def _convention(name: str, uuid: str, description: str) -> dict[str, str]:
    """Declare a convention; readers recognise it by its UUID or the URL of its schema."""
    repository = f"zarr-conventions/{name}"
    return {
        "uuid": uuid,
        "schema_url": f"https://raw.githubusercontent.com/{repository}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/{repository}/blob/v0.1/README.md",
        "name": name,
        "description": description,
    }


PROJ = _convention(
    "proj",
    "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "Coordinate reference system information for geospatial data",
)
SPATIAL = _convention("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information")


def spatial_attributes(outline: Outline, size: tuple[int, int]) -> dict[str, Any]:
    """Make the attributes of an array (..., y, x) in one CRS, north up.

    Parameters
    ----------
    outline : Outline
        Outer edges of the array, m.
    size : (y, x)
        Pixels.

    Returns
    -------
    dict
        ``proj:code``, and ``spatial:transform`` from the corner of a pixel as rasterio orders it. There is no
        ``spatial:bbox``: it follows from transform and shape, and the convention keeps each fact in one place.
    """
    height, width = size
    pixel_width, pixel_height = (outline.right - outline.left) / width, (outline.top - outline.bottom) / height
    return {
        "zarr_conventions": [PROJ, SPATIAL],
        "proj:code": f"EPSG:{outline.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [pixel_width, 0.0, outline.left, 0.0, -pixel_height, outline.top],
        "spatial:shape": [height, width],
        "spatial:registration": "pixel",
    }


def as_geozarr(scene: xr.Dataset) -> xr.Dataset:
    """Add attributes of GeoZarr to a scene, for ``to_zarr``: ``as_geozarr(scene).to_zarr("scene.zarr")``.

    Call this function last: the attributes describe the scene as it is, and do not change if it is cut or moved later.

    Parameters
    ----------
    scene : Dataset
        Result of ``ds.clouds.scene``, a part of it, or a scene on another grid, north up, with a CRS that has an EPSG
        code.

    Returns
    -------
    Dataset
        A copy of the scene; every variable on y and x has the attributes of `spatial_attributes`.

    Raises
    ------
    CatalogueError
        If the scene has no CRS with an EPSG code, or is not north up.
    """
    import rioxarray  # noqa: F401, registers .rio

    crs = scene.rio.crs
    epsg = crs.to_epsg() if crs is not None else None
    if epsg is None:
        raise CatalogueError("the scene has no CRS with an EPSG code; take it from ds.clouds.scene")
    left, bottom, right, top = scene.rio.bounds(recalc=True)
    if not (left < right and bottom < top and scene["y"].values[0] >= scene["y"].values[-1]):
        raise CatalogueError("the scene is not north up: y must fall and x must rise")
    attributes = spatial_attributes(Outline(epsg, left, bottom, right, top), (scene.sizes["y"], scene.sizes["x"]))
    described = scene.copy()
    for variable in described.data_vars.values():
        if {"y", "x"} <= set(variable.dims):
            variable.attrs = variable.attrs | attributes
    return described
