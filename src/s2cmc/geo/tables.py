"""The footprints of scenes as a GeoDataFrame."""

from typing import TYPE_CHECKING

import xarray as xr

from s2cmc import schema
from s2cmc.errors import CatalogueError

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


def footprints(catalogue: xr.Dataset) -> "GeoDataFrame":
    """Make a table of the footprint and the coordinates of every scene; see `GeoAccessor.footprints`."""
    try:
        import geopandas
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[geo]'") from error
    columns = {str(name): c.to_numpy() for name, c in catalogue.coords.items() if c.dims == ("scene",)}
    scenes = columns.pop("scene")
    shapes = geopandas.GeoSeries(schema.footprints(schema.outlines(catalogue)), index=scenes, crs=4326)
    return geopandas.GeoDataFrame(columns, index=scenes, geometry=shapes).rename_axis("scene")
