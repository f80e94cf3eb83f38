"""The schema is the one source of names: it must be the published one."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from s2cmc.schema.bands import BANDS
from s2cmc.schema.catalogue import (
    CLASS_NAMES,
    DATASETS,
    DIMS,
    PIXEL_VARIABLES,
    SCENE_COORDINATES,
    SPLITS,
    TABLE_COLUMNS,
    TABLE_COORDINATES,
    TAG_NAMES,
    TAGS,
    MaskClass,
    SceneCoordinate,
    Tag,
    TagGroup,
    coordinate_name,
)


def test_columns_are_the_33_of_the_genuine_header_in_order(shared_data: Path) -> None:
    with (shared_data / "classification_tags.csv").open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert list(TABLE_COLUMNS) == header
    assert len(TABLE_COLUMNS) == 33


def test_dtypes_hold_every_value_of_the_genuine_table(shared_data: Path) -> None:
    with (shared_data / "classification_tags.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for c in TABLE_COORDINATES:
        texts = [row[c.name if c.published is None else c.published] for row in rows]
        if c.dtype == "bool":
            assert set(texts) <= {"0", "1"}
        elif c.dtype != "O":
            assert np.array_equal(np.array([float(text) for text in texts]).astype(c.dtype), [float(t) for t in texts])


def test_there_are_24_tags_in_five_groups() -> None:
    assert len(TAGS) == 24
    sizes = {group: sum(tag.group is group for tag in TAGS) for group in TagGroup}
    assert sizes == {"surface_type": 11, "cloud_type": 7, "cloud_thickness": 2, "cloud_height": 2, "cloud_extent": 2}


def test_tags_stand_in_the_order_of_the_table() -> None:
    assert [tag.published for tag in TAGS] == list(TABLE_COLUMNS[9:])


def test_a_slash_becomes_an_underscore() -> None:
    assert coordinate_name("wetland/bog/marsh") == "wetland_bog_marsh"
    assert coordinate_name("open_water") == "open_water"


def test_names_are_unique_and_can_stand_in_an_expression() -> None:
    names = [c.name for c in SCENE_COORDINATES]
    assert len(set(names)) == len(names)
    assert not set(names) & set(PIXEL_VARIABLES)
    assert not set(names) & {dim for dims in DIMS.values() for dim in dims if dim != "scene"}
    assert all(name.isidentifier() for name in names)
    assert len(set(TAG_NAMES)) == 24


def test_thin_is_the_only_name_that_a_dataset_method_hides() -> None:
    # ds.thin is xarray's subsampling, the tag is ds["thin"]; every other coordinate can be had as an attribute.
    assert {c.name for c in SCENE_COORDINATES} & set(dir(xr.Dataset)) == {"thin"}


def test_bands_are_the_13_of_the_instrument_by_number() -> None:
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    assert [band.name for band in BANDS] == names
    assert len({band.common_name for band in BANDS}) == 13


def test_bands_have_their_native_resolution() -> None:
    by_resolution = {r: [b.name for b in BANDS if b.resolution == r] for r in (10, 20, 60)}
    assert by_resolution == {
        10: ["B02", "B03", "B04", "B08"],
        20: ["B05", "B06", "B07", "B8A", "B11", "B12"],
        60: ["B01", "B09", "B10"],
    }


def test_wavelengths_rise_from_band_to_band() -> None:
    wavelengths = [band.wavelength for band in BANDS]
    assert wavelengths == sorted(wavelengths)
    assert all(440 < band.wavelength < 2210 and 10 < band.bandwidth < 200 for band in BANDS)


def test_classes_stand_in_the_order_of_the_published_channels() -> None:
    assert CLASS_NAMES == ("clear", "cloud", "cloud_shadow")
    assert [int(c) for c in MaskClass] == [0, 1, 2]


def test_splits_share_out_the_datasets() -> None:
    assert sorted(dataset for datasets in SPLITS.values() for dataset in datasets) == sorted(DATASETS)


@pytest.mark.parametrize("coordinate", SCENE_COORDINATES, ids=lambda c: c.name)
def test_a_coordinate_says_what_it_is(coordinate: SceneCoordinate) -> None:
    assert coordinate.attributes["long_name"]
    assert (coordinate.attributes.get("published_name") is None) == (coordinate not in TABLE_COORDINATES)
    if np.dtype(coordinate.dtype).kind in "fiu" and coordinate.name != "index":
        assert coordinate.attributes["units"]


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag.name)
def test_a_tag_coordinate_carries_its_group_published_name_and_description(tag: Tag) -> None:
    (coordinate,) = (c for c in SCENE_COORDINATES if c.name == tag.name)
    assert coordinate.dtype == "bool"
    assert coordinate.attributes == {
        "long_name": f"tag {tag.published}",
        "published_name": tag.published,
        "tag_group": str(tag.group),
        "description": tag.description,
    }
    assert re.match(r"[a-z]", tag.description)
