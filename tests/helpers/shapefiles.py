"""Shapefiles of polygons, as a release has them."""

import io
from collections.abc import Sequence

import shapefile
from pyproj import CRS

Ring = Sequence[tuple[float, float]]


def shapefile_of(*polygons: Sequence[Ring], epsg: int = 32618) -> dict[str, bytes]:
    """A shapefile of polygons, each a sequence of rings."""
    buffers = {suffix: io.BytesIO() for suffix in (".shp", ".shx", ".dbf")}
    with shapefile.Writer(**{suffix[1:]: buffer for suffix, buffer in buffers.items()}) as writer:
        writer.field("FID", "N", 9)
        for rings in polygons:
            writer.poly(rings)
            writer.record(0)
    contents = {suffix: buffer.getvalue() for suffix, buffer in buffers.items()}
    return contents | {".prj": CRS.from_epsg(epsg).to_wkt("WKT1_ESRI").encode()}
