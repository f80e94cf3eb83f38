"""STAC Collection and Items of a store: valid, true, and enough to open a scene."""

import json
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import xarray as xr
import zarr
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from s2cmc.conversion.layout.attributes import GLOBAL_ATTRIBUTES
from s2cmc.conversion.metadata.documents import describe
from s2cmc.conversion.metadata.stac import make_collection, make_items
from s2cmc.geo.scenes import scene
from s2cmc.geo.tables import footprints
from s2cmc.schema.products import Product

pytestmark = [
    pytest.mark.slow,
    # PySTAC says so of its own module, which reading any Item loads.
    pytest.mark.filterwarnings("ignore:The PySTAC Label Extension is deprecated"),
]

SCHEMAS = Path(__file__).parent / "stac_schemas"
"""Schemas of extensions, which stand on https://stac-extensions.github.io and not in PySTAC."""

WITH_SCHEMA = {"classification", "grid", "projection", "sat", "scientific"}
WITHOUT_SCHEMA = {"eo", "label", "processing", "zarr"}
"""Extensions that are declared and have no schema in that folder: of them `FIELDS` says what there is."""

FIELDS = {
    # What each extension defines, by prefix: its name and version, and its fields (README of its repository).
    "classification": ("classification/v2.0.0", {"classes"}),
    "eo": ("eo/v2.0.0", {"cloud_cover", "common_name", "center_wavelength", "full_width_half_max"}),
    "grid": ("grid/v1.1.0", {"code"}),
    "label": (
        "label/v1.0.1",
        {"type", "properties", "classes", "tasks", "methods", "description", "overviews"},
    ),
    "proj": ("projection/v2.0.0", {"code", "shape", "transform", "bbox"}),
    "processing": ("processing/v1.2.0", {"level", "version"}),
    "sat": ("sat/v1.0.0", {"relative_orbit"}),
    "sci": ("scientific/v1.0.0", {"doi", "citation"}),
    "zarr": ("zarr/v1.1.0", {"node_type", "zarr_format", "consolidated"}),
}

COMMON_NAMES = {
    # Of the eo extension 2.0.0, as far as Sentinel-2 has such bands.
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08", "nir09"),
    *("cirrus", "swir16", "swir22"),
}


def _documents(catalogue: xr.Dataset) -> list[dict[str, Any]]:
    """The Collection and its Items, as they are written."""
    table = footprints(catalogue)
    found = [make_collection(catalogue, table, "../catalogue.zarr", {"footprints.parquet": "application/x"})]
    found += make_items(catalogue, table, "../../catalogue.zarr")
    return [json.loads(json.dumps(one.to_dict(include_self_link=False, transform_hrefs=False))) for one in found]


def _genuine(catalogue: xr.Dataset) -> xr.Dataset:
    """What it would be if its pixels were not made up."""
    found = catalogue.assign_attrs(GLOBAL_ATTRIBUTES)
    del found.attrs["synthetic"]
    return found


def _across_the_antimeridian(catalogue: xr.Dataset) -> xr.Dataset:
    """Its first scene on 180 degrees: 1280 m wide, its left edge 640 m west of it, at 10 N in zone 60."""
    x, y = catalogue["x_origin"].values.copy(), catalogue["y_origin"].values.copy()
    epsg = catalogue["epsg"].values.copy()
    x[0], y[0], epsg[0] = 828_200.0, 1_107_000.0, 32660
    return catalogue.assign_coords(x_origin=("scene", x), y_origin=("scene", y), epsg=("scene", epsg))


def _without_place(catalogue: xr.Dataset) -> xr.Dataset:
    """Its first scene without an outline."""
    x = catalogue["x_origin"].values.copy()
    x[0] = np.nan
    return catalogue.assign_coords(x_origin=("scene", x))


@pytest.fixture(scope="module")
def written(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metadata of `store`. Not to be changed."""
    out = tmp_path_factory.mktemp("metadata")
    describe(str(store), str(out))
    return out


@pytest.fixture(scope="module")
def collection(written: Path) -> pystac.Collection:
    """The Collection as PySTAC reads it."""
    return pystac.Collection.from_file(str(written / "collection.json"))


@pytest.mark.parametrize("made", [_genuine, _across_the_antimeridian, _without_place])
def test_everything_is_valid_stac_1_1(catalogue: xr.Dataset, made: Any) -> None:
    validator = JsonSchemaSTACValidator()  # the schemas of the core come with PySTAC
    for document in _documents(made(catalogue)):
        kind = pystac.STACObjectType.ITEM if document["type"] == "Feature" else pystac.STACObjectType.COLLECTION
        assert document["stac_version"] == "1.1.0"
        validator.validate_core(document, kind, "1.1.0")


@pytest.mark.parametrize("made", [_genuine, _across_the_antimeridian, _without_place])
def test_everything_is_valid_by_the_schemas_of_the_extensions(catalogue: xr.Dataset, made: Any) -> None:
    known = [json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")]
    validator = JsonSchemaSTACValidator()
    validator.schema_cache |= {schema["$id"].rstrip("#"): schema for schema in known}
    tried, untried = set(), set()
    for document in _documents(made(catalogue)):
        kind = pystac.STACObjectType.ITEM if document["type"] == "Feature" else pystac.STACObjectType.COLLECTION
        for extension in document["stac_extensions"]:
            name = extension.removeprefix("https://stac-extensions.github.io/").partition("/")[0]
            if extension in validator.schema_cache:
                validator.validate_extension(document, kind, "1.1.0", extension)
                tried.add(name)
            else:
                untried.add(name)
    assert tried == WITH_SCHEMA - (set() if made is _genuine else {"scientific"})  # synthetic data cite nothing
    assert untried == WITHOUT_SCHEMA


def test_labels_are_as_the_schema_of_their_extension_asks(catalogue: xr.Dataset) -> None:
    """What https://stac-extensions.github.io/label/v1.0.1/schema.json demands of an Item."""
    for item in _documents(catalogue)[1:]:
        assert "https://stac-extensions.github.io/label/v1.0.1/schema.json" in item["stac_extensions"]
        found = item["properties"]
        assert found["label:type"] == "raster"
        assert found["label:properties"] is None  # of raster labels
        assert found["label:description"]
        assert [classes["name"] for classes in found["label:classes"]] == [None]
        assert found["label:classes"][0]["classes"] == ["clear", "cloud", "cloud_shadow"]
        counts = [count["count"] for overview in found["label:overviews"] for count in overview["counts"]]
        assert [type(count) for count in counts] == [int] * 3


def test_a_validator_finds_what_is_wrong(catalogue: xr.Dataset) -> None:
    item = _documents(catalogue)[1] | {"bbox": "everywhere"}
    with pytest.raises(pystac.errors.STACValidationError, match="Validation failed"):
        JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")


def _keys(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from document
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _keys(part)


def test_every_field_of_an_extension_exists_and_the_extension_is_declared(catalogue: xr.Dataset) -> None:
    for document in _documents(_genuine(catalogue)):
        used = set()
        for key in _keys(document):
            prefix, colon, field = key.partition(":")
            if colon and prefix != "s2cmc":
                assert field in FIELDS[prefix][1]
                used.add(f"https://stac-extensions.github.io/{FIELDS[prefix][0]}/schema.json")
        assert used == set(document["stac_extensions"])


def test_pystac_walks_from_the_collection_to_every_scene_and_back(
    collection: pystac.Collection, opened: xr.Dataset
) -> None:
    items = list(collection.get_items())
    assert [item.id for item in items] == opened["scene"].values.tolist()
    assert items[3].get_collection().id == collection.id
    assert items[3].get_parent().id == collection.id


def test_a_scene_is_opened_with_nothing_but_its_item(collection: pystac.Collection, opened: xr.Dataset) -> None:
    for item in collection.get_items():
        expected = opened.sel(scene=item.id)
        for name in ("reflectance", "mask"):
            asset = item.assets[name]
            assert asset.media_type == "application/vnd.zarr; version=3"
            group = xr.open_zarr(asset.get_absolute_href(), consolidated=asset.extra_fields["zarr:consolidated"])
            found = group[asset.extra_fields["s2cmc:variable"]].sel(scene=item.id)
            if name == "mask":  # plain xarray shows the marks of pixels that are not one-hot
                found = found.where(found < 240, 255)
            np.testing.assert_array_equal(found.astype(expected[name].dtype), expected[name])
            assert found.sizes == {"y": 64, "x": 64} | ({"band": 13} if name == "reflectance" else {})


def test_a_reader_without_labels_finds_the_scene_by_its_position(
    collection: pystac.Collection, opened: xr.Dataset
) -> None:
    item = list(collection.get_items())[4]
    asset = item.assets["reflectance"]
    array = zarr.open_group(asset.get_absolute_href(), mode="r")[asset.extra_fields["s2cmc:variable"]]
    dn = array[item.properties["s2cmc:position"]]
    np.testing.assert_array_equal(dn, np.rint(opened.sel(scene=item.id).reflectance * 10_000))


def test_bands_are_named_as_in_the_store(collection: pystac.Collection, opened: xr.Dataset) -> None:
    bands = collection.extra_fields["item_assets"]["reflectance"]["bands"]
    assert [band["name"] for band in bands] == opened["band"].values.tolist()
    assert {band["eo:common_name"] for band in bands} == COMMON_NAMES
    assert not [key for key in _keys(bands) if "wavelength" in key]  # two satellites, which differ
    for item in collection.get_items():
        told = item.assets["reflectance"].extra_fields["bands"]
        assert [{key: band[key] for key in ("name", "eo:common_name")} for band in told] == bands


@pytest.mark.parametrize(("satellite", "wavelength", "width"), [("S2A", 2.2024, 0.175), ("S2B", 2.1857, 0.185)])
def test_wavelengths_are_those_of_the_satellite(
    collection: pystac.Collection, satellite: str, wavelength: float, width: float
) -> None:
    """B12 by ESA's table of the bands of both satellites; STAC counts in micrometres."""
    item = next(item for item in collection.get_items() if item.id.startswith(satellite))
    band = item.assets["reflectance"].extra_fields["bands"][12]
    assert (band["name"], band["eo:center_wavelength"], band["eo:full_width_half_max"]) == ("B12", wavelength, width)


def test_every_value_of_a_mask_has_a_class(collection: pystac.Collection, store: Path) -> None:
    item = next(collection.get_items())
    classes = {one["value"]: one for one in item.assets["mask"].extra_fields["classification:classes"]}
    group = zarr.open_group(store, mode="r")
    stored = set(np.unique(group["mask"][:])) | set(np.unique(group["alt_mask"][:]))
    assert {0, 1, 2, 255} < stored <= set(classes)  # the sample has pixels that are not one-hot
    assert set(classes) == {0, 1, 2, 240, 240 + 3, 240 + 5, 240 + 6, 240 + 7, 255}
    assert [classes[value]["name"] for value in (0, 1, 2)] == ["clear", "cloud", "cloud_shadow"]
    assert all(one["nodata"] for value, one in classes.items() if value >= 240)


def test_an_alternative_mask_is_an_asset_only_where_there_is_one(
    collection: pystac.Collection, opened: xr.Dataset
) -> None:
    has = [("alt_mask" in item.assets) for item in collection.get_items()]
    assert has == opened["has_alt_mask"].values.tolist()
    assert len(set(has)) == 2


def test_an_item_says_what_the_product_id_says(collection: pystac.Collection) -> None:
    for item in collection.get_items():
        product = Product.parse(item.id)
        assert item.datetime == product.time.replace(tzinfo=UTC)
        assert item.properties["platform"] == product.platform.lower()
        assert item.properties["grid:code"] == f"MGRS-{product.mgrs_tile}"
        assert item.properties["sat:relative_orbit"] == product.relative_orbit
        assert item.properties["processing:version"] == product.processing_baseline
        assert item.properties["proj:code"] == f"EPSG:{product.epsg}"


def test_an_item_lies_where_the_scene_lies(collection: pystac.Collection, opened: xr.Dataset) -> None:
    for item in collection.get_items():
        single = scene(opened, item.id)
        assert item.properties["proj:transform"] == list(single.rio.transform())[:6]
        assert item.properties["proj:shape"] == [64, 64]
        assert item.properties["proj:bbox"] == list(single.rio.bounds())
        west, south, east, north = item.bbox
        bounds = [float(opened.sel(scene=item.id)[n]) for n in ("lon_min", "lat_min", "lon_max", "lat_max")]
        np.testing.assert_allclose([west, south, east, north], bounds, atol=3e-5)


def test_labels_and_clouds_are_counted_in_the_mask(collection: pystac.Collection, opened: xr.Dataset) -> None:
    counted = opened.clouds.class_counts().compute()
    for item in collection.get_items():
        (overview,) = item.properties["label:overviews"]
        expected = counted.sel(scene=item.id)
        assert [one["count"] for one in overview["counts"]] == expected.values.tolist()
        assert item.properties["eo:cloud_cover"] == pytest.approx(float(100 * expected.sel(mask_class="cloud")) / 64**2)


def test_tags_and_splits_are_those_of_the_table(collection: pystac.Collection, opened: xr.Dataset) -> None:
    for item in collection.get_items():
        row = opened.sel(scene=item.id)
        assert item.properties["s2cmc:tags"] == [t for t in opened.clouds.tags.tag.values if bool(row[t])]
        assert item.properties["s2cmc:split"] == ("train" if row["dataset"] == "MAIN" else "test")


def test_across_the_antimeridian_west_is_east_of_east(catalogue: xr.Dataset) -> None:
    item = _documents(_across_the_antimeridian(catalogue))[1]
    west, _, east, _ = item["bbox"]
    assert west > 179.9  # RFC 7946, section 5.2
    assert east < -179.9
    assert item["geometry"]["type"] == "MultiPolygon"
    longitudes = [point[0] for (ring,) in item["geometry"]["coordinates"] for point in ring]
    assert min(longitudes) == -180
    assert max(longitudes) == 180


def test_a_scene_of_unknown_place_has_an_item_without_one(catalogue: xr.Dataset) -> None:
    item = _documents(_without_place(catalogue))[1]
    assert item["geometry"] is None
    assert "bbox" not in item
    assert not [key for key in _keys(item) if key.startswith("proj:")]
    assert "mask" in item["assets"]


def test_a_collection_spans_its_scenes(catalogue: xr.Dataset) -> None:
    found, *items = _documents(catalogue)
    (west, south, east, north), *_ = found["extent"]["spatial"]["bbox"]
    edges = np.array([item["bbox"] for item in items])
    assert [west, south] == edges[:, :2].min(axis=0).tolist()
    assert [east, north] == edges[:, 2:].max(axis=0).tolist()
    times = sorted(item["properties"]["datetime"] for item in items)
    assert found["extent"]["temporal"]["interval"] == [[times[0], times[-1]]]
    assert len([link for link in found["links"] if link["rel"] == "item"]) == len(items)


def test_the_catalogue_is_cited(catalogue: xr.Dataset) -> None:
    found, *items = _documents(_genuine(catalogue))
    assert found["license"] == "CC-BY-4.0"
    assert found["sci:doi"] == "10.5281/zenodo.4172871"
    assert "Francis" in found["sci:citation"]
    assert found["providers"][0]["name"] == "Alistair Francis"
    assert not any("synthetic" in json.dumps(document).lower() for document in (found, *items))


def test_synthetic_data_claims_nothing(catalogue: xr.Dataset) -> None:
    found, *items = _documents(catalogue)
    assert found["license"] == "other"
    assert re.match("Synthetic", found["title"])
    assert not re.search("zenodo|Francis|CC-BY|European Space Agency", json.dumps(found))
    assert all(item["properties"]["s2cmc:synthetic"] for item in items)
    assert all(item["properties"]["label:methods"] == ["automated"] for item in items)
