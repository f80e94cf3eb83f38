"""The footprints of scenes as a GeoDataFrame, and as GeoJSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import xarray as xr

from s2cmc import schema
from s2cmc.errors import ArgumentError, CatalogueError

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

Geometry = Literal["polygon", "point"]
"""The footprint of a scene, or its centre, which is seen on a map of the world."""


def footprints(catalogue: xr.Dataset, geometry: Geometry = "polygon") -> "GeoDataFrame":
    """Make a table of the footprint and the coordinates of every scene; see `GeoAccessor.footprints`."""
    try:
        import geopandas
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[geo]'") from error
    if geometry not in ("polygon", "point"):
        raise ArgumentError(f"geometry {geometry!r} is none of 'polygon', 'point'")
    columns = {str(name): c.to_numpy() for name, c in catalogue.coords.items() if c.dims == ("scene",)}
    scenes = columns.pop("scene")
    outlines = schema.outlines(catalogue)
    placed = schema.footprints(outlines) if geometry == "polygon" else schema.centres(outlines)
    shapes = geopandas.GeoSeries(placed, index=scenes, crs=4326)
    return geopandas.GeoDataFrame(columns, index=scenes, geometry=shapes).rename_axis("scene")


def with_times_as_text(table: "GeoDataFrame") -> "GeoDataFrame":
    """Return a table with its times, UTC, as text of RFC 3339, which JSON holds."""
    times = table.select_dtypes("datetime")
    text = {name: [None if pd.isna(time) else f"{time.isoformat()}Z" for time in times[name]] for name in times}
    return table.assign(**text)


def feature_collection(catalogue: xr.Dataset, properties: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a FeatureCollection of GeoJSON (RFC 7946): a feature for each scene, its geometry null without an outline.

    Parameters
    ----------
    catalogue : Dataset
    properties : sequence of mapping
        Of the scenes, in their order, with the product ID as ``scene``.
    """
    from shapely.geometry import mapping

    shapes = schema.footprints(schema.outlines(catalogue))
    features = [
        {
            "type": "Feature",
            "id": of_scene["scene"],
            "geometry": None if shape is None else mapping(shape),
            "properties": dict(of_scene),
        }
        for shape, of_scene in zip(shapes, properties, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}
