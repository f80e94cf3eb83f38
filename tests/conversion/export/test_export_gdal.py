"""GDAL itself, of the system and not of rasterio, reads exported files as what the store holds."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import zarr
from helpers.paths import ROOT
from helpers.requirements import without

from s2cmc.conversion.export.scenes import export
from s2cmc.schema.bands import BAND_NAMES
from s2cmc.schema.catalogue import CLASS_COLORS, CLASS_NAMES, MaskClass

SCRIPT = ROOT / "tests" / "integration" / "readers" / "gdal_geotiff.py"

pytestmark = pytest.mark.slow


class Read(NamedTuple):
    """What GDAL saw of a file."""

    told: dict[str, Any]
    pixels: np.ndarray
    """(band, y, x)"""


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Callable[[Path], Read]:
    """Read a file with a Python that has GDAL: what S2CMC_GDAL_PYTHON says, or that of the system."""
    python = shlex.split(os.environ.get("S2CMC_GDAL_PYTHON", "/usr/bin/python3"))
    try:
        subprocess.run([*python, SCRIPT], check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        without(f"{' '.join(python)} has no GDAL; apt-get install python3-gdal brings it")

    def run(path: Path) -> Read:
        out = tmp_path_factory.mktemp("pixels")
        done = subprocess.run([*python, SCRIPT, path, out], check=False, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        bands = [
            np.frombuffer((out / str(number)).read_bytes(), band["dtype"]).reshape(told["shape"])
            for number, band in enumerate(told["bands"], start=1)
        ]
        return Read(told, np.stack(bands))

    return run


@pytest.fixture(scope="module")
def gdalinfo() -> Callable[[Path], dict[str, Any]]:
    """What the command `gdalinfo` tells of a file."""
    if not shutil.which("gdalinfo"):
        without("gdalinfo is not on PATH; apt-get install gdal-bin brings it")

    def run(path: Path) -> dict[str, Any]:
        done = subprocess.run(["gdalinfo", "-json", path], check=True, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def scenes(opened) -> list[int]:
    """One scene with a second mask, and the one with pixels that are not one-hot."""
    return [int(np.flatnonzero(opened.has_alt_mask)[0]), int(np.flatnonzero(opened.invalid_mask_pixels)[0])]


@pytest.fixture(scope="module", params=["cog", "geotiff"])
def folder(request, store, opened, scenes, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    export(str(store), str(out), format=request.param, scenes=opened.scene.values[scenes].tolist())
    return out


@pytest.fixture(scope="module")
def pictures(store, opened, scenes, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("png")
    export(str(store), str(out), format="png", scenes=opened.scene.values[scenes].tolist())
    return out


def test_it_sees_the_same_digital_numbers(folder, read, store, opened, scenes):
    stored = zarr.open_group(store, mode="r")["reflectance"]
    for i in scenes:
        found = read(folder / f"{opened.scene.values[i]}_reflectance.tif")
        assert found.pixels.dtype == np.uint16
        np.testing.assert_array_equal(found.pixels, np.moveaxis(stored[i], -1, 0))


def test_it_scales_bands_and_names_them(folder, read, opened, scenes):
    found = read(folder / f"{opened.scene.values[scenes[0]]}_reflectance.tif").told
    assert [band["description"] for band in found["bands"]] == list(BAND_NAMES)
    for band in found["bands"]:
        assert (band["scale"], band["offset"], band["unit"], band["nodata"]) == (1e-4, 0, "1", 0)
    assert found["bands"][8]["metadata"]["common_name"] == "nir08"
    assert found["layout"].get("LAYOUT") == ("COG" if "cog" in folder.name else None)
    assert found["metadata"]["scene"] == opened.scene.values[scenes[0]]


def test_it_sees_every_file_where_it_is(folder, pictures, read, opened):
    for path in (*folder.glob("*.tif"), *pictures.glob("*.png")):
        row = opened.sel(scene=path.name[:60])
        found = read(path).told
        assert found["epsg"] == row.epsg
        assert found["transform"] == [row.x_origin, 20, 0, row.y_origin, 0, -20]


def test_it_sees_labels_with_their_names_and_colours(folder, pictures, read, opened, scenes):
    for i in scenes:
        for name in ("mask", "alt_mask") if opened.has_alt_mask[i] else ("mask",):
            tiff = read(folder / f"{opened.scene.values[i]}_{name}.tif")
            png = read(pictures / f"{opened.scene.values[i]}_{name}.png")
            for found in (tiff, png):
                np.testing.assert_array_equal(found.pixels[0], opened[name][i])
                (band,) = found.told["bands"]
                assert (band["categories"], band["nodata"]) == (list(CLASS_NAMES), 255)
                assert band["colours"] == [[*CLASS_COLORS[mask_class], 255] for mask_class in MaskClass]


def test_its_command_shows_the_same(folder, gdalinfo, opened, scenes):
    scene = opened.scene.values[scenes[0]]
    (band,) = gdalinfo(folder / f"{scene}_mask.tif")["bands"]
    assert (band["categories"], band["colorInterpretation"], band["noDataValue"]) == (list(CLASS_NAMES), "Palette", 255)
    assert band["colorTable"]["entries"][2] == [*CLASS_COLORS[MaskClass.CLOUD_SHADOW], 255]
    told = gdalinfo(folder / f"{scene}_reflectance.tif")
    assert [band["description"] for band in told["bands"]] == list(BAND_NAMES)
    assert told["metadata"][""]["scene"] == scene
    corner = opened.sel(scene=scene)
    assert told["geoTransform"] == [corner.x_origin, 20, 0, corner.y_origin, 0, -20]
    assert f'ID["EPSG",{corner.epsg.item()}]' in told["coordinateSystem"]["wkt"]
