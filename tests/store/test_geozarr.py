"""Where an array lies on Earth, said by the conventions of Zarr."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rasterio.transform import from_origin as affine_from_origin

from s2cmc.errors import CatalogueError
from s2cmc.geo.scenes import scene
from s2cmc.schema.geometry import Outline
from s2cmc.store.geozarr import PROJ, SPATIAL, as_geozarr, spatial_attributes

pytestmark = pytest.mark.slow

OUTLINE = Outline(32618, 300_000.0, 4_000_000.0, 300_800.0, 4_001_200.0)  # 40 x 60 pixels of 20 m


def test_the_transform_is_that_of_rasterio() -> None:
    found = spatial_attributes(OUTLINE, (60, 40))
    assert found["spatial:transform"] == list(affine_from_origin(300_000.0, 4_001_200.0, 20.0, 20.0))[:6]
    assert found["spatial:shape"] == [60, 40]
    assert found["proj:code"] == "EPSG:32618"
    assert found["spatial:dimensions"] == ["y", "x"]
    assert found["spatial:registration"] == "pixel"  # outer edges, not centres


def test_conventions_are_declared_as_their_version_0_1_asks() -> None:
    # https://github.com/zarr-conventions/spatial and /proj, tag v0.1: the schema fixes UUID, URLs and names.
    assert spatial_attributes(OUTLINE, (60, 40))["zarr_conventions"] == [PROJ, SPATIAL]
    assert SPATIAL == {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
        "name": "spatial",
        "description": "Spatial coordinate information",
    }
    assert (PROJ["name"], PROJ["uuid"]) == ("proj", "f17cb550-5864-4468-aeb7-f3180cfb622f")


def test_a_store_of_many_zones_declares_no_convention(store: Path) -> None:
    """The root has no transform and no CRS to state, and netCDF could not hold the declaration."""
    root = json.loads((store / "zarr.json").read_text())
    for document in (root, *root["consolidated_metadata"]["metadata"].values()):
        assert not [name for name in document["attributes"] if name == "zarr_conventions" or ":" in name]


def test_every_array_of_a_saved_scene_says_where_it_lies(catalogue: xr.Dataset, tmp_path: Path) -> None:
    single = scene(catalogue, 0)
    as_geozarr(single).to_zarr(tmp_path / "scene.zarr", zarr_format=3, consolidated=False)
    for name in ("reflectance", "mask", "alt_mask", "valid"):
        document = json.loads((tmp_path / "scene.zarr" / name / "zarr.json").read_text())
        attributes = document["attributes"]
        assert set(attributes["spatial:dimensions"]) <= set(document["dimension_names"])
        assert attributes["proj:code"] == f"EPSG:{single.rio.crs.to_epsg()}"
        width, _, left, _, height, top = attributes["spatial:transform"]
        assert [left + 0.5 * width, top + 0.5 * height] == [single.x.values[0], single.y.values[0]]
        assert [left + 63.5 * width, top + 63.5 * height] == [single.x.values[-1], single.y.values[-1]]
        assert attributes["spatial:shape"] == [64, 64]


def test_a_part_of_a_scene_lies_where_the_part_lies(catalogue: xr.Dataset) -> None:
    part = scene(catalogue, 0).isel(y=slice(10, 30), x=slice(5, 64))
    attributes = as_geozarr(part)["mask"].attrs
    _, _, left, _, _, top = attributes["spatial:transform"]
    assert left == catalogue["x_origin"].values[0] + 5 * 20
    assert top == catalogue["y_origin"].values[0] - 10 * 20
    assert attributes["spatial:shape"] == [20, 59]


def test_the_scene_itself_is_not_changed(catalogue: xr.Dataset) -> None:
    single = scene(catalogue, 0)
    as_geozarr(single)
    assert "proj:code" not in single["mask"].attrs


def test_a_scene_without_crs_or_upside_down_is_refused(catalogue: xr.Dataset) -> None:
    with pytest.raises(CatalogueError, match=r"no CRS with an EPSG code; take it from ds\.clouds\.scene"):
        as_geozarr(xr.Dataset({"mask": (("y", "x"), np.zeros((2, 2)))}, {"y": [3.0, 1.0], "x": [1.0, 3.0]}))
    with pytest.raises(CatalogueError, match="not north up"):
        as_geozarr(scene(catalogue, 0).isel(y=slice(None, None, -1)))


def test_the_attributes_pass_the_validators_of_the_conventions(catalogue: xr.Dataset, tmp_path: Path) -> None:
    zarr_cm = pytest.importorskip("zarr_cm")
    as_geozarr(scene(catalogue, 0)).to_zarr(tmp_path / "scene.zarr", zarr_format=3, consolidated=False)
    array = json.loads((tmp_path / "scene.zarr" / "reflectance" / "zarr.json").read_text())
    zarr_cm.proj.validate_array_metadata(array)
    zarr_cm.spatial.validate_array_metadata(array)
