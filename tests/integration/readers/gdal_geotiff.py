"""Read a raster with GDAL: ``gdal_geotiff.py FILE OUT``; without arguments it prints GDAL's version.

Prints as JSON what it sees of FILE; the pixels of each band are written to OUT, a file for each, as they are in memory.
"""

import json
import sys
from pathlib import Path

from osgeo import gdal

gdal.UseExceptions()


def band(dataset: gdal.Dataset, number: int, out: Path) -> dict[str, object]:
    """Describe a band, and write its pixels down."""
    found = dataset.GetRasterBand(number)
    values = found.ReadAsArray()
    (out / str(number)).write_bytes(values.tobytes())
    colours, names = found.GetColorTable(), found.GetCategoryNames()
    return {
        "description": found.GetDescription(),
        "dtype": values.dtype.name,
        "scale": found.GetScale(),
        "offset": found.GetOffset(),
        "unit": found.GetUnitType(),
        "nodata": found.GetNoDataValue(),
        "metadata": found.GetMetadata(),
        "categories": names,
        "colours": colours and [colours.GetColorEntry(i) for i in range(len(names or ()))],
        "overviews": found.GetOverviewCount(),
    }


def read(path: str, out: Path) -> dict[str, object]:
    """Describe a raster."""
    dataset = gdal.Open(path)
    reference = dataset.GetSpatialRef()
    return {
        "shape": [dataset.RasterYSize, dataset.RasterXSize],
        "epsg": int(reference.GetAuthorityCode(None)),
        "transform": dataset.GetGeoTransform(),  # before names of categories: GDAL 3.6 looks beside the file only now
        "metadata": dataset.GetMetadata(),
        "layout": dataset.GetMetadata("IMAGE_STRUCTURE"),
        "bands": [band(dataset, number, out) for number in range(1, dataset.RasterCount + 1)],
    }


if __name__ == "__main__":
    sys.stdout.write(gdal.VersionInfo() if len(sys.argv) == 1 else json.dumps(read(sys.argv[1], Path(sys.argv[2]))))
