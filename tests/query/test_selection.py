"""`ds.clouds.select` and its neighbours against the scene coordinates as a pandas table. No pixel is read."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from helpers.places import world_of
from hypothesis import given, settings
from hypothesis import strategies as st

import s2cmc
from s2cmc.errors import CatalogueError, QueryError
from s2cmc.query.stratification import strata

Rule = Callable[[pd.DataFrame], "pd.Series[bool]"]


@pytest.fixture(scope="module")
def ds(store: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(store)


@pytest.fixture(scope="module")
def table(ds: xr.Dataset) -> pd.DataFrame:
    """The scene coordinates of `ds`, the plain way."""
    return pd.DataFrame({name: c.to_numpy() for name, c in ds.coords.items() if c.dims == ("scene",)})


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("conditions", "rule"),
    [
        ({}, lambda t: t.index >= 0),
        ({"expression": "thin and not `snow/ice`"}, lambda t: t.thin & ~t.snow_ice),
        (
            {"expression": "cloud_percent > 35 | annotator == 'A'"},
            lambda t: (t.cloud_percent > 35) | (t.annotator == "A"),
        ),
        ({"expression": "mgrs_tile == '35LND'"}, lambda t: t.mgrs_tile == "35LND"),
        ({"split": "train"}, lambda t: t.dataset == "MAIN"),
        ({"split": "test"}, lambda t: t.dataset.isin(["CALIBRATION", "VALIDATION"])),
        ({"shadows_marked": True}, lambda t: t.shadows_marked),
        ({"shadows_marked": False}, lambda t: ~t.shadows_marked),
        ({"difficulty": 5}, lambda t: t.difficulty == 5),
        ({"difficulty": [1, 3]}, lambda t: t.difficulty.isin([1, 3])),
        ({"difficulty": range(2, 5)}, lambda t: t.difficulty.between(2, 4)),
        ({"difficulty": np.array([1, 5])}, lambda t: t.difficulty.isin([1, 5])),
        ({"dataset": "VALIDATION"}, lambda t: t.dataset == "VALIDATION"),
        ({"dataset": {"MAIN"}}, lambda t: t.dataset == "MAIN"),
        ({"annotator": "A"}, lambda t: t.annotator == "A"),
        ({"annotator": ("A", "B")}, lambda t: t.index >= 0),
        ({"has_alt_mask": True}, lambda t: t.has_alt_mask),
        ({"has_alt_mask": False}, lambda t: ~t.has_alt_mask),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_a_condition_selects_what_pandas_selects(
    ds: xr.Dataset, table: pd.DataFrame, conditions: dict, rule: Rule
) -> None:
    assert list(ds.clouds.select(**conditions).scene.values) == list(table.scene[rule(table)])


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("name", ["season", "latitude_band", "split"])
def test_an_expression_has_the_words_of_by(ds: xr.Dataset, name: str) -> None:
    member = strata(ds, name)[1:]
    words = [str(stratum).partition("=")[2] for stratum in member.stratum.values]
    for word, scenes in zip(words, member.values, strict=True):
        assert list(ds.clouds.select(f"{name} == '{word}'").index) == np.flatnonzero(scenes).tolist()
        assert list(ds.clouds.select(f"{name} != '{word}'").index) == np.flatnonzero(~scenes).tolist()
    assert list(ds.clouds.select(f"{name} in {words[:2]}").index) == np.flatnonzero(member[:2].any("stratum")).tolist()
    assert list(ds.clouds.select(f"{name} not in {words}").index) == []


def test_derived_labels_stand_beside_coordinates(ds: xr.Dataset, table: pd.DataFrame) -> None:
    found = ds.clouds.select("season == 'winter' and (thin or split == 'test') & cloud_percent > 10")
    winter = table.time.dt.month.isin([12, 1, 2]) & (table.epsg < 32700)
    winter |= table.time.dt.month.isin([6, 7, 8]) & (table.epsg > 32700)
    assert list(found.index) == list(
        table.index[winter & (table.thin | (table.dataset != "MAIN")) & (table.cloud_percent > 10)]
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("season == 'DJF'", "no season is called 'DJF'; there are winter, spring, summer, autumn"),
        ("season in ['winter', 'sumer']", "no season is called 'sumer'; did you mean summer"),
        ("'valid' != split", "no split is called 'valid'; there are train, test"),
        ("latitude_band == '0-30'", "no latitude_band is called '0-30'; did you mean 0-30N"),
        ("season > 3", r"season \(text\) cannot be compared with 3 \(number\)"),
        ("seasn == 'winter'", "no scene coordinate 'seasn'; did you mean season"),
    ],
)
def test_a_word_that_no_derived_label_has_is_refused(ds: xr.Dataset, expression: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ds.clouds.select(expression)


def test_a_derived_label_needs_its_coordinates_only_where_it_is_named(ds: xr.Dataset) -> None:
    bare = ds.drop_vars(["epsg", "lat_min", "dataset"])
    assert bare.clouds.select("thin").sizes == ds.clouds.select("thin").sizes
    with pytest.raises(CatalogueError, match="this Dataset has no 'epsg', which is needed to ask by season; keep it"):
        bare.clouds.select("thin and season == 'winter'")


@pytest.mark.parametrize(
    "expression",
    [
        "mgrs_tile == '{}'",
        "'{}' == mgrs_tile",
        "mgrs_tile in ['{}', 'T99XXX']",
        "not mgrs_tile != '{}'",
        "mgrs_tile in ('{}',)",
    ],
)
def test_a_tile_is_the_same_with_and_without_its_t(ds: xr.Dataset, expression: str) -> None:
    tile = str(ds.mgrs_tile.values[3])
    expected = np.flatnonzero(ds.mgrs_tile.values == tile).tolist()
    for name in (tile, f"T{tile}"):
        assert list(ds.clouds.select(expression.format(name)).index) == expected != []


def test_a_tile_is_the_same_in_keys_of_scenes(ds: xr.Dataset) -> None:
    tile, day = str(ds.mgrs_tile.values[1]), str(ds.time.values[1])[:10]
    for name in (tile, f"T{tile}"):
        for key in (f"{name} {day}", (name, day)):
            assert ds.clouds.scene(key).scene.item() == ds.scene.values[1]
            assert ds.clouds.l1c_window(key).mgrs_tile == tile


conditions = st.fixed_dictionaries(
    {},
    optional={
        "expression": st.sampled_from(["thin", "~thick or snow_ice", "cloud_percent > 35", "difficulty > index"]),
        "split": st.sampled_from(["train", "test"]),
        "shadows_marked": st.booleans(),
        "difficulty": st.lists(st.integers(1, 5), max_size=4),
        "annotator": st.sampled_from(["A", "B"]),
        "has_alt_mask": st.booleans(),
        "time": st.sampled_from([("2018-03", "2018-08"), "2018", slice("2018-08-01", None)]),
        "bbox": st.sampled_from([(-180, -90, 0, 90), (-180, 0, 180, 90), (20, -40, 120, 60)]),
    },
)


@pytest.mark.slow
@given(first=conditions, second=conditions)
@settings(max_examples=15, deadline=None)
def test_conditions_together_are_conditions_in_turn(ds: xr.Dataset, first: dict, second: dict) -> None:
    in_turn = list(ds.clouds.select(**first).clouds.select(**second).scene)
    if not first.keys() & second.keys():
        assert list(ds.clouds.select(**first, **second).scene) == in_turn
    assert list(ds.clouds.select(**second).clouds.select(**first).scene) == in_turn


def test_an_empty_selection_is_a_catalogue_that_reduces(ds: xr.Dataset) -> None:
    empty = ds.clouds.select("thin and not thin")
    assert dict(empty.sizes) == dict(ds.sizes) | {"scene": 0}
    assert set(empty.variables) == set(ds.variables)
    assert empty.clouds.class_counts().compute().shape == (0, 3)
    assert empty.clouds.class_fractions().compute().shape == (0, 3)
    assert empty.clouds.one_hot().compute().shape == (0, 64, 64, 3)
    assert empty.clouds.rgb().compute().shape == (0, 64, 64, 3)
    assert empty.clouds.tags.shape == (0, 24)
    assert empty.clouds.select("thick", split="test", time="2018", bbox=(0, 0, 1, 1)).sizes["scene"] == 0


# pandas slices dates in the same way: both ends included, each as coarse as it is written.
@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("time", "start", "stop"),
    [
        ("2018", "2018", "2018"),
        ("2018-08", "2018-08", "2018-08"),
        ("2018-08-13", "2018-08-13", "2018-08-13"),
        ("2018-08-13T06:33", "2018-08-13T06:33", "2018-08-13T06:33"),
        ("2018Q2", "2018-04", "2018-06"),
        (slice("2018-03", "2018-05"), "2018-03", "2018-05"),
        (("2018-03-06", "2018-08-13"), "2018-03-06", "2018-08-13"),
        (("2018-08", None), "2018-08", None),
        ((None, "2018-04-23"), None, "2018-04-23"),
        (slice(None), None, None),
        (("2018-09", "2018-03"), "2018-09", "2018-03"),
        ((datetime(2018, 3, 6), datetime(2018, 8, 13)), "2018-03-06T00:00:00", "2018-08-13T00:00:00"),
        ((pd.Timestamp("2018-08-10"), None), "2018-08-10", None),
        ((date(2018, 3, 6), date(2018, 8, 13)), "2018-03-06", "2018-08-13"),
        (date(2018, 8, 13), "2018-08-13", "2018-08-13"),
        (np.datetime64("2018-08"), "2018-08", "2018-08"),
    ],
    ids=str,
)
def test_time_is_read_as_pandas_slices_dates(
    ds: xr.Dataset, table: pd.DataFrame, time: object, start: str | None, stop: str | None
) -> None:
    expected = table.set_index("time").sort_index().loc[start:stop, "scene"]
    assert set(ds.clouds.select(time=time).scene.values) == set(expected)


@pytest.mark.parametrize(
    "form", [str, pd.Timestamp, pd.Timestamp.to_pydatetime, pd.Timestamp.to_datetime64], ids=lambda form: form.__name__
)
def test_both_ends_of_time_are_included_to_the_second(ds: xr.Dataset, form: Callable) -> None:
    moment = pd.Timestamp(ds.time.values[3])
    second = pd.Timedelta(seconds=1)
    for time in (form(moment), (form(moment), form(moment))):
        assert list(ds.clouds.select(time=time).index) == [3]
    assert ds.clouds.select(time=(form(moment + second), form(moment + second))).sizes["scene"] == 0


@pytest.mark.parametrize("form", [str, pd.Timestamp], ids=["text", "Timestamp"])
def test_a_time_with_a_zone_is_turned_into_utc(ds: xr.Dataset, form: Callable) -> None:
    utc = pd.Timestamp(ds.time.values[3]).tz_localize(UTC)
    local = utc.astimezone(timezone(timedelta(hours=2)))
    for moment in (utc, local):
        assert list(ds.clouds.select(time=form(moment)).index) == [3]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """See `placed.world_of`."""
    return world_of(tmp_path_factory.mktemp("world"))


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("bbox", "tiles"),
    [
        ((-180, -90, 180, 90), ["60NZF", "31UCT", "19HCD"]),
        ((179, 8, 179.9999, 10), ["60NZF"]),
        ((-179.9999, 8, -179, 10), ["60NZF"]),
        ((170, -80, -170, 80), ["60NZF"]),
        ((170, 20, -170, 80), []),
        ((10, -90, 5, 90), ["60NZF", "31UCT", "19HCD"]),
        ((-10, 50, 10, 52), ["31UCT"]),
        ((-80, -40, -60, -30), ["19HCD"]),
        ((-60, -40, -80, -30), []),
        ((0, 0, 0, 0), []),
    ],
    ids=str,
)
def test_bbox_keeps_the_scenes_that_touch_it(world: xr.Dataset, bbox: tuple, tiles: list[str]) -> None:
    assert sorted(world.clouds.select(bbox=bbox).mgrs_tile.values) == sorted(tiles)


@pytest.mark.parametrize("place", [{"bbox": (-180, -90, 180, 90)}, {"intersects": shapely.box(0, 0, 1, 1)}])
def test_a_place_is_refused_where_no_scene_has_an_outline(world: xr.Dataset, place: dict) -> None:
    placed = ("lon_min", "lon_max", "lat_min", "lat_max", "x_origin", "y_origin")
    nowhere = world.assign_coords({name: world[name] * np.nan for name in placed})
    with pytest.raises(
        QueryError, match=r"none of the \d scenes has an outline \(x_origin and lon_min are NaN\), so that"
    ):
        nowhere.clouds.select(**place)
    assert nowhere.isel(scene=[]).clouds.select(**place).sizes["scene"] == 0


def test_bbox_and_intersects_ask_footprints_and_include_their_edges(world: xr.Dataset) -> None:
    """North of its central meridian the eastern edge of a scene leans westwards: its bounds have empty corners."""
    scene = world.clouds.select("mgrs_tile == '31UCT'")
    west, south, east, north = scene.clouds.footprints().total_bounds
    for box in ((west - 1, south, west, north), (east, south, east + 1, north), (west, north, east, north + 1)):
        for place in ({"bbox": box}, {"intersects": shapely.box(*box)}):
            assert list(world.clouds.select(**place).mgrs_tile) == ["31UCT"]
    empty = (west, south, west + 1e-4, south + 1e-4)
    corners = [empty, (east - 1e-4, north - 1e-4, east, north)]
    found = [world.clouds.select(bbox=corner).sizes["scene"] for corner in corners]
    assert found == [0, 0]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"expression": "cirus"}, "no scene coordinate 'cirus'; did you mean cirrus"),
        ({"expression": 5}, "expression"),
        ({"split": "valid"}, "split 'valid' is none of 'train', 'test'"),
        ({"split": ["test"]}, r"split \['test'\] is none of 'train', 'test'"),
        ({"difficulty": 6}, "difficulty 6 is none of 1, 2, 3, 4, 5"),
        ({"difficulty": [1, "2"]}, "difficulty '2' is none of 1"),
        ({"dataset": "main"}, "dataset 'main' is none of 'MAIN', 'VALIDATION', 'CALIBRATION'"),
        ({"annotator": "AB"}, "annotator 'AB' is none of 'A', 'B'"),
        ({"shadows_marked": "yes"}, "shadows_marked 'yes' is none of True, False"),
        ({"has_alt_mask": 2}, "has_alt_mask 2 is none of True, False"),
        ({"time": "2018-06-31"}, "'2018-06-31' is no date; write it like '2018-06'"),
        ({"time": ""}, "'' is no date"),
        ({"time": "0001"}, "'0001' is no date|out of"),
        ({"time": 2018}, "2018 is no date"),
        ({"time": ("2018-01", "soon")}, "'soon' is no date"),
        ({"time": ("2018-01",)}, "has 1 parts; give a start and a stop"),
        ({"time": slice("2018-01", "2018-06", 2)}, "has a step"),
        ({"bbox": (0, 0, 1)}, r"has 3 values; expected \(west, south, east, north\)"),
        ({"bbox": (0, 5, 1, 0)}, "south below north"),
        ({"bbox": (0, 0, 361, 1)}, "in degrees"),
        ({"bbox": (float("nan"), 0, 1, 1)}, "in degrees"),
        ({"bbox": 5}, r"bbox 5 is not \(west, south, east, north\)"),
        ({"bbox": ("west", 0, 1, 1)}, r"is not \(west, south, east, north\)"),
    ],
    ids=str,
)
def test_an_unknown_value_is_answered_with_what_there_is(ds: xr.Dataset, conditions: dict, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ds.clouds.select(**conditions)


@pytest.mark.usefixtures("no_compute")
def test_coordinates_of_the_user_can_be_asked(ds: xr.Dataset) -> None:
    kinds = np.array(["sea", "land"] * 5)
    mine = ds.assign_coords(
        ratio=ds.cloud_percent / 100,
        kind=("scene", kinds),
        note=("scene", pd.Series(kinds)),
        variable_length=("scene", kinds.astype(np.dtypes.StringDType())),
    )
    expected = ds.scene.values[(ds.cloud_percent.values > 30) & (kinds == "sea")]
    for name in ("kind", "note", "variable_length"):
        assert list(mine.clouds.select(f"ratio > 0.3 and {name} == 'sea'").scene.values) == list(expected)


def test_missing_text_of_the_user_equals_nothing(ds: xr.Dataset) -> None:
    mine = ds.assign_coords(note=("scene", np.array(["sea", None] * 5, object)))
    assert list(mine.clouds.select("note == 'sea'").index.values) == [0, 2, 4, 6, 8]
    with pytest.raises(QueryError, match="note"):
        mine.clouds.select("note < 'z'")


def test_plain_xarray_agrees(ds: xr.Dataset) -> None:
    cirrus = ds.clouds.select("cirrus")
    assert list(ds.where(ds.cirrus, drop=True).scene.values) == list(cirrus.scene.values)
    xr.testing.assert_identical(ds.sel(scene=list(cirrus.scene.values)), cirrus)
    xr.testing.assert_identical(ds.isel(scene=ds.cirrus.values), cirrus)
    assert list(ds.query(scene="cloud_percent > 35").scene) == list(ds.clouds.select("cloud_percent > 35").scene)
    for annotator, part in ds.groupby("annotator"):
        xr.testing.assert_identical(part, ds.clouds.select(annotator=annotator))


def test_the_masks_of_where_reduce_as_those_of_select(ds: xr.Dataset) -> None:
    # `where` turns masks into floats, with NaN for what it takes out.
    cirrus = ds.where(ds.cirrus, drop=True)
    np.testing.assert_array_equal(cirrus.reflectance, ds.clouds.select("cirrus").reflectance)
    np.testing.assert_array_equal(cirrus.clouds.class_counts(), ds.clouds.select("cirrus").clouds.class_counts())
