"""Read a store with GDAL: ``gdal_read.py PLACE OUT``; without arguments it prints GDAL's version, 3130000 for 3.13.

PLACE is a folder, or an http:// URL. Prints as JSON what there is, with text as it is; numbers are written to OUT,
a file for each array, as they are in memory.
"""

import json
import sys
from pathlib import Path

import numpy as np
from osgeo import gdal

gdal.UseExceptions()
# Over http it looks for a coordinate of each dimension, of which thumbnails have none, and warns that there is none.
gdal.PushErrorHandler("CPLQuietErrorHandler")


AXES = {
    gdal.DIM_TYPE_HORIZONTAL_X: "projection_x_coordinate",
    gdal.DIM_TYPE_HORIZONTAL_Y: "projection_y_coordinate",
}


def told(array: gdal.MDArray, out: Path) -> dict[str, object]:
    """Describe an array; give its text, or write its numbers down."""
    attributes = {attribute.GetName(): attribute.Read() for attribute in array.GetAttributes()}
    if array.GetUnit():  # GDAL takes some attributes for its own, with the same meaning
        attributes["units"] = array.GetUnit()
    if array.GetScale() is not None:
        attributes["scale_factor"] = array.GetScale()
    for dimension in array.GetDimensions():
        if dimension.GetName() == array.GetName() and dimension.GetType() in AXES:
            attributes["standard_name"] = AXES[dimension.GetType()]
    described = {
        "dims": [dimension.GetName() for dimension in array.GetDimensions()],
        "shape": [dimension.GetSize() for dimension in array.GetDimensions()],
        "attrs": attributes,
    }
    if array.GetDataType().GetClass() == gdal.GEDTC_STRING:
        return described | {"dtype": "string", "text": array.Read()}
    values = array.ReadAsArray()
    (out / array.GetName()).write_bytes(values.tobytes())
    return described | {"dtype": values.dtype.name}


def read(place: str, out: Path) -> dict[str, object]:
    """Read every array, and two parts of one."""
    name = f"/vsicurl/{place}" if place.startswith("http") else place
    group = gdal.OpenEx(f'ZARR:"{name}"', gdal.OF_MULTIDIM_RASTER).GetRootGroup()
    arrays = {name: told(group.OpenMDArray(name), out) for name in group.GetMDArrayNames()}
    reflectance = group.OpenMDArray("reflectance")
    height, width = (dimension.GetSize() for dimension in reflectance.GetDimensions()[1:3])
    for part, start, count in (
        ("band", [3, 0, 0, 8], [1, height, width, 1]),
        ("window", [4, 20, 30, 1], [1, 20, 5, 3]),
    ):
        values = np.squeeze(reflectance.ReadAsArray(array_start_idx=start, count=count))
        (out / f"part-{part}").write_bytes(values.tobytes())
        arrays[f"part-{part}"] = {"shape": values.shape}
    scaled = np.squeeze(reflectance.GetUnscaled().ReadAsArray(array_start_idx=[4, 20, 30, 1], count=[1, 20, 5, 3]))
    (out / "part-scaled").write_bytes(scaled.astype("float64").tobytes())
    arrays["part-scaled"] = {"shape": scaled.shape}
    return {"attrs": {a.GetName(): a.Read() for a in group.GetAttributes()}, "arrays": arrays}


if len(sys.argv) == 1:
    sys.stdout.write(gdal.VersionInfo())
else:
    sys.stdout.write(json.dumps(read(sys.argv[1], Path(sys.argv[2]))))
