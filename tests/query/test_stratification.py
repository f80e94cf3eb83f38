"""Strata: which scenes each question to ask by puts together, against plain numpy and by hand."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import QueryError
from s2cmc.query.stratification import By, scenes_of_stratum, strata
from s2cmc.schema.catalogue import TAG_NAMES, TAGS, TagGroup

pytestmark = pytest.mark.usefixtures("no_compute")  # whatever is asked, no pixel is read


def _members(catalogue: xr.Dataset, by: By) -> dict[str, list[int]]:
    """Positions of the scenes of each stratum but ``all``."""
    found = strata(catalogue, by)
    return {str(name): scenes_of_stratum(found, name).tolist() for name in found["stratum"].values[1:]}


def _where(flags: object) -> list[int]:
    return np.flatnonzero(flags).tolist()


def _labels(values: object, name: str | None = "label") -> xr.DataArray:
    """Labels of the scenes in their order, without their names."""
    return xr.DataArray(np.asarray(values), dims="scene", name=name)


def test_the_first_stratum_is_all_scenes(catalogue: xr.Dataset) -> None:
    for by in (None, "snow_ice", ["season", "split"], []):
        found = strata(catalogue, by)
        assert (found.dims, found.dtype, found.name) == (("stratum", "scene"), bool, "member")
        assert list(found["scene"].values) == list(catalogue["scene"].values)
        assert (str(found["stratum"][0].item()), str(found["by"][0].item())) == ("all", "all")
        assert found[0].all()
    assert strata(catalogue, None).sizes["stratum"] == 1


def test_a_tag_parts_the_scenes_in_two(catalogue: xr.Dataset) -> None:
    expected = {"snow_ice": _where(catalogue.snow_ice), "not snow_ice": _where(~catalogue.snow_ice)}
    assert _members(catalogue, "snow_ice") == expected
    assert expected["snow_ice"]
    # The published name is as good.
    assert _members(catalogue, "snow/ice") == expected


@pytest.mark.parametrize("group", list(map(str, TagGroup)))
def test_a_tag_group_has_a_stratum_for_each_of_its_tags_and_for_none(catalogue: xr.Dataset, group: str) -> None:
    found = _members(catalogue, group)
    names = [tag.name for tag in TAGS if tag.group == group]
    assert list(found) == [*names, f"no {group}"]
    flags = np.stack([catalogue[name].values for name in names])
    assert [found[name] for name in names] == [_where(flag) for flag in flags]
    assert found[f"no {group}"] == _where(~flags.any(axis=0))
    assert set(strata(catalogue, group)["by"].values[1:]) == {group}


def test_strata_of_a_tag_group_overlap(catalogue: xr.Dataset) -> None:
    found = _members(catalogue, "surface_type")
    assert found["no surface_type"] == [5]  # the quirk "overcast_without_surface"
    assert found["forest_jungle"] == [0, 8, 9]
    assert found["agricultural"] == [0, 4, 9]
    assert sum(map(len, found.values())) > 10


def test_tags_are_a_stratum_each_and_overlap(catalogue: xr.Dataset) -> None:
    found = _members(catalogue, "tags")
    assert list(found) == [*TAG_NAMES, "no tags"]
    assert [found[name] for name in TAG_NAMES] == [_where(catalogue[name]) for name in TAG_NAMES]
    assert found["no tags"] == _where(~np.stack([catalogue[name].values for name in TAG_NAMES]).any(axis=0))
    assert set(strata(catalogue, "tags")["by"].values[1:]) == {"tags"}


def test_splits_are_those_of_select(catalogue: xr.Dataset) -> None:
    found = _members(catalogue, "split")
    assert list(found) == ["split=train", "split=test"]
    for name in ("train", "test"):
        chosen = catalogue.clouds.select(split=name)["index"].values.tolist()
        assert found[f"split={name}"] == chosen != []
    assert strata(catalogue, "split")["by"].values.tolist() == ["all", "split", "split"]


def test_seasons_are_local(catalogue: xr.Dataset) -> None:
    """Month and UTM zone by hand: 326xx is the northern hemisphere, 327xx the southern."""
    months = [12, 1, 2, 3, 5, 6, 8, 9, 11, 12]
    northern = catalogue.assign_coords(
        time=("scene", pd.to_datetime([f"2018-{month:02d}-28" for month in months])), epsg=("scene", [32633] * 10)
    )
    expected = {"winter": [0, 1, 2, 9], "spring": [3, 4], "summer": [5, 6], "autumn": [7, 8]}
    assert _members(northern, "season") == {f"season={name}": scenes for name, scenes in expected.items()}
    southern = northern.assign_coords(epsg=("scene", [32733] * 10))
    opposite = {"winter": "summer", "spring": "autumn", "summer": "winter", "autumn": "spring"}
    expected = {name: expected[opposite[name]] for name in expected}
    assert _members(southern, "season") == {f"season={name}": scenes for name, scenes in expected.items()}


def test_a_coordinate_of_ones_own_takes_the_place_of_a_derived_label(catalogue: xr.Dataset) -> None:
    own = catalogue.assign_coords(season=("scene", ["DJF", "JJA"] * 5))
    found = _members(own, "season")
    assert (found["season=DJF"], found["season=JJA"]) == ([0, 2, 4, 6, 8], [1, 3, 5, 7, 9])
    assert list(own.clouds.select("season == 'DJF'").index) == [0, 2, 4, 6, 8]


def test_seasons_of_both_hemispheres_stand_together(catalogue: xr.Dataset) -> None:
    # January, March, April, May, three times August, August, September, December 2018 of the synthetic catalogue.
    assert [f"{epsg // 100 % 10}" for epsg in catalogue.epsg.values.tolist()] == list("6677767766")
    found = {f"season={n}": s for n, s in {"winter": [0, 4, 6, 7, 9], "spring": [1], "summer": [5]}.items()}
    assert _members(catalogue, "season") == found | {"season=autumn": [2, 3, 8]}


def test_latitude_bands_are_those_of_the_centre(catalogue: xr.Dataset) -> None:
    centres = np.array([-75, -60, -59.9, -30, -1e-9, 0, 29.9, 30, 60, 82.0])
    placed = catalogue.assign_coords(lat_min=("scene", centres - 0.1), lat_max=("scene", centres + 0.1))
    assert _members(placed, "latitude_band") == {
        "latitude_band=90S-60S": [0],
        "latitude_band=60S-30S": [1, 2],  # the lower end is in
        "latitude_band=30S-0": [3, 4],
        "latitude_band=0-30N": [5, 6],
        "latitude_band=30N-60N": [7],
        "latitude_band=60N-90N": [8, 9],
    }


def test_a_scene_without_an_outline_is_in_no_latitude_band(catalogue: xr.Dataset) -> None:
    bounds = {name: catalogue[name].copy() for name in ("lat_min", "lat_max")}
    for bound in bounds.values():
        bound[3] = np.nan
    before, after = (_members(ds, "latitude_band") for ds in (catalogue, catalogue.assign_coords(bounds)))
    assert sorted(chain(*before.values())) == list(range(10))
    assert after == {name: [i for i in scenes if i != 3] for name, scenes in before.items()}


def test_every_scene_is_a_stratum_of_its_own(catalogue: xr.Dataset) -> None:
    expected = {str(scene): [i] for i, scene in enumerate(catalogue["scene"].values)}
    assert _members(catalogue, "scene") == expected
    assert list(_members(catalogue, "scene")) == list(expected)


@pytest.mark.parametrize("name", ["mgrs_tile", "platform", "group", "relative_orbit", "epsg", "shadows_marked"])
def test_a_coordinate_has_a_stratum_for_each_of_its_values(catalogue: xr.Dataset, name: str) -> None:
    """Text, whole numbers and booleans, in their order."""
    values = catalogue[name].values
    assert _members(catalogue, name) == {f"{name}={value}": _where(values == value) for value in np.unique(values)}
    assert list(_members(catalogue, name)) == [f"{name}={value}" for value in np.unique(values)]


def test_known_answers_that_no_scene_gives_are_empty_strata(catalogue: xr.Dataset) -> None:
    easy = catalogue.clouds.select(difficulty=1)
    assert _members(easy, "difficulty") == {"difficulty=1": [0, 1]} | {f"difficulty={i}": [] for i in (2, 3, 4, 5)}
    assert list(_members(easy, "dataset")) == ["dataset=MAIN", "dataset=VALIDATION", "dataset=CALIBRATION"]
    assert list(_members(easy, "annotator")) == ["annotator=A", "annotator=B"]
    assert list(_members(easy, "season")) == [f"season={name}" for name in ("winter", "spring", "summer", "autumn")]
    assert len(_members(easy, "latitude_band")) == 6
    # What is not known beforehand has strata for what is there.
    assert len(_members(easy, "mgrs_tile")) == 2


def test_without_scenes_there_are_the_known_strata(catalogue: xr.Dataset) -> None:
    nothing = catalogue.isel(scene=[])
    questions = ["difficulty", "surface_type", "scene", "season", "latitude_band", "snow_ice", "split", "mgrs_tile"]
    found = strata(nothing, questions)
    assert found.shape == (1 + 5 + 12 + 0 + 4 + 6 + 1 + 2 + 0, 0)  # "snow_ice" is there already


def test_several_questions_are_asked_one_after_another(catalogue: xr.Dataset) -> None:
    questions = ["split", _labels(catalogue.cloud_percent.values > 50, "cloudy"), "cumulus"]
    found = strata(catalogue, questions)
    apart = {name: scenes for question in questions for name, scenes in _members(catalogue, question).items()}
    assert _members(catalogue, questions) == apart
    assert _members(catalogue, tuple(questions)) == apart
    assert found["by"].values.tolist() == ["all", "split", "split", "cloudy", "cloudy", "cumulus", "cumulus"]


def test_a_tag_by_itself_and_in_its_group_is_one_stratum(catalogue: xr.Dataset) -> None:
    names = list(_members(catalogue, ["snow_ice", "surface_type", "snow/ice"]))
    assert names[:2] == ["snow_ice", "not snow_ice"]
    assert len(names) == len(set(names)) == 2 + 10 + 1
    by = strata(catalogue, ["snow_ice", "surface_type"])["by"]
    assert by.sel(stratum="snow_ice").item() == "snow_ice", "the question that was asked first"


def test_a_question_asked_twice_is_asked_once(catalogue: xr.Dataset) -> None:
    # By its name and by its values is the same, too.
    assert _members(catalogue, ["difficulty", catalogue.difficulty]) == _members(catalogue, "difficulty")


def test_a_tuple_in_a_list_crosses(catalogue: xr.Dataset) -> None:
    found = _members(catalogue, [("surface_type", "cloud_type")])
    surfaces, clouds = (_members(catalogue, name) for name in ("surface_type", "cloud_type"))
    both = {
        f"{surface} × {cloud}": sorted(set(surfaces[surface]) & set(clouds[cloud]))
        for surface in surfaces
        for cloud in clouds
    }
    assert found == {name: scenes for name, scenes in both.items() if scenes}
    assert list(found) == [name for name in both if both[name]], "in the order of both questions"
    assert found["forest_jungle × cumulus"] == _where(catalogue.forest_jungle & catalogue.cumulus) != []
    assert set(strata(catalogue, [("surface_type", "cloud_type")])["by"].values[1:]) == {"surface_type × cloud_type"}


def test_any_questions_cross_any_labels_and_others_stand_beside_them(catalogue: xr.Dataset) -> None:
    cloudy = _labels(np.where(catalogue.cloud_percent.values > 30, "much", "little"), "cloud")
    found = _members(catalogue, ["split", ("snow_ice", "season", cloudy)])
    assert list(found)[:2] == ["split=train", "split=test"]
    crossed = {name: scenes for name, scenes in found.items() if " × " in name}
    assert sorted(chain(*crossed.values())) == list(range(10)), "none of these three overlaps"
    for name, scenes in crossed.items():
        snow, season, cloud = name.split(" × ")
        assert scenes == _where(
            (catalogue.snow_ice.values == (snow == "snow_ice"))
            & np.isin(np.arange(10), _members(catalogue, "season")[season])
            & (cloudy.values == cloud.removeprefix("cloud="))
        )
    # A tuple by itself is a sequence of questions, as ever.
    assert "split=train" in _members(catalogue, ("split", "season"))


def test_crossing_one_question_drops_the_answers_that_no_scene_gives(catalogue: xr.Dataset) -> None:
    easy = catalogue.clouds.select(difficulty=1)
    assert _members(easy, [("difficulty",)]) == {"difficulty=1": [0, 1]}
    assert _members(catalogue.isel(scene=[]), [("difficulty", "season")]) == {}


def test_labels_are_taken_by_scene(catalogue: xr.Dataset) -> None:
    weekday = catalogue.time.dt.dayofweek.rename("weekday")
    expected = {f"weekday={day}": _where(weekday == day) for day in np.unique(weekday)}
    assert _members(catalogue, weekday) == expected
    assert _members(catalogue, weekday.isel(scene=np.random.default_rng(0).permutation(10))) == expected
    # Of more scenes than there are.
    assert _members(catalogue.isel(scene=[7, 2]), weekday) == {
        f"weekday={weekday[i].item()}": [[7, 2].index(i)] for i in sorted((7, 2), key=lambda i: weekday[i].item())
    }


def test_labels_without_scenes_are_taken_by_position(catalogue: xr.Dataset) -> None:
    assert _members(catalogue, _labels(list("xyxyxyxyxx"))) == {"label=x": [0, 2, 4, 6, 8, 9], "label=y": [1, 3, 5, 7]}
    assert list(_members(catalogue, _labels(list("xyxyxyxyxx"), None))) == ["label=x", "label=y"]
    assert list(_members(catalogue, _labels([10, 9] * 5, "n"))) == ["n=9", "n=10"], "numbers sort as numbers"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array(["x", None, "y", np.nan, "x"] * 2, object), {"q=x": [0, 4, 5, 9], "q=y": [2, 7]}),
        (np.array([1.0, np.nan, 2.0, np.nan, 1.0] * 2), {"q=1.0": [0, 4, 5, 9], "q=2.0": [2, 7]}),
        (np.array([None] * 10, object), {}),
    ],
    ids=["text", "float", "all missing"],
)
def test_a_scene_whose_label_is_missing_belongs_to_none(
    catalogue: xr.Dataset, values: np.ndarray, expected: dict
) -> None:
    assert _members(catalogue, xr.DataArray(values, dims="scene", name="q")) == expected


def test_labels_of_several_types_are_put_in_the_order_of_their_text(catalogue: xr.Dataset) -> None:
    mixed = xr.DataArray(np.array(["b", 2, "a", 10, None] * 2, object), dims="scene", name="q")
    assert list(_members(catalogue, mixed)) == ["q=10", "q=2", "q=a", "q=b"]


def test_a_number_cut_into_intervals_as_the_error_advises(catalogue: xr.Dataset) -> None:
    with pytest.raises(QueryError, match=r"cloud_percent \(float64\) has no strata of its own; cut it into intervals"):
        strata(catalogue, "cloud_percent")
    values = catalogue.cloud_percent.values
    cut = xr.DataArray(pd.cut(values, [-1, 20, 40, 100]).astype(str), dims="scene", name="cloud_percent")
    assert _members(catalogue, cut) == {
        "cloud_percent=(-1, 20]": _where(values <= 20),
        "cloud_percent=(20, 40]": _where((values > 20) & (values <= 40)),
        "cloud_percent=(40, 100]": _where(values > 40),
    }


def test_the_advice_for_floats_can_be_followed_to_the_letter(catalogue: xr.Dataset) -> None:
    with pytest.raises(QueryError, match=r"e\.g\. by=") as error:
        strata(catalogue, "clear_percent")
    advised = eval(str(error.value).partition("e.g. by=")[2], {"ds": catalogue, "pd": pd, "xr": xr})  # noqa: S307
    found = _members(catalogue, advised)
    assert sorted(chain(*found.values())) == list(range(10))
    assert all(name.startswith("clear_percent=(") for name in found)


@pytest.mark.parametrize("name", ["cloud_percent", "x_origin", "time"])
def test_a_coordinate_without_strata_is_refused_alike_by_name_and_handed_over(catalogue: xr.Dataset, name: str) -> None:
    """`x_origin` is whole metres, in floats."""
    with pytest.raises(QueryError, match=rf"{name} .*ds\['{name}'\]") as by_name:
        strata(catalogue, name)
    for handed_over in (catalogue[name], catalogue[name].drop_vars(catalogue[name].coords), catalogue[name][::-1]):
        with pytest.raises(QueryError, match=name) as error:
            strata(catalogue, [handed_over])
        assert str(error.value) == str(by_name.value)


def test_numbers_of_ones_own_are_cut_as_the_error_advises(catalogue: xr.Dataset) -> None:
    ratio = (catalogue.cloud_percent / 7).rename("ratio")
    with pytest.raises(QueryError, match=r"ratio \(float64\) has no strata of its own; cut it") as error:
        strata(catalogue, ratio)
    advised = eval(str(error.value).partition("e.g. by=")[2], {"labels": ratio, "pd": pd, "xr": xr})  # noqa: S307
    assert sorted(chain(*_members(catalogue, advised).values())) == list(range(10))


def test_intervals_themselves_stand_in_their_order_and_leave_out_what_is_in_none(catalogue: xr.Dataset) -> None:
    values = catalogue.cloud_percent.values
    cut = xr.DataArray(pd.cut(values, [5.5, 18.5, 35.5, 99.5]).astype(object), dims="scene", name="cloud")
    found = _members(catalogue, cut)
    # As text, (5.5, 18.5] would come last. 0 % and 100 % are in none.
    assert found == {
        f"cloud={pd.Interval(low, high)}": _where((values > low) & (values <= high))
        for low, high in [(5.5, 18.5), (18.5, 35.5), (35.5, 99.5)]
    }
    assert list(found) == ["cloud=(5.5, 18.5]", "cloud=(18.5, 35.5]", "cloud=(35.5, 99.5]"]
    assert len(list(chain(*found.values()))) == 8


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("snow_ic", "no question 'snow_ic' to ask by; did you mean snow_ice"),
        ("surface", "no question 'surface' to ask by; did you mean surface_type"),
        ("seasons", "did you mean season"),
        ([("split", "seasn")], "no question 'seasn' to ask by; did you mean season"),
        ([()], r"a tuple in `by` crosses one or more questions, e\.g\. by=\[\('surface_type', 'cloud_type'\)\]"),
        ([("split", ("season", "difficulty"))], "a tuple in `by` crosses one or more questions"),
        ("qqqqqq", "there are surface_type, cloud_type, .*, tags, split, season, latitude_band, .*cumulus"),
        ("reflectance", "no question 'reflectance' to ask by"),
        ("band", "no question 'band' to ask by"),
        ("time", r"time is a time; ask by .season., or by=ds"),
        ("lat_min", r"lat_min \(float64\) has no strata of its own; .*pd.cut\(ds\['lat_min'\].values, 5\)"),
        (["split", 3], r"`by` is the name of a question or a DataArray \(scene,\); got int"),
        (["split", None], "got NoneType"),
        (3, r"`by` is the name of a question or a DataArray \(scene,\)"),
    ],
    ids=str,
)
def test_what_is_no_question_is_refused(catalogue: xr.Dataset, by: object, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        strata(catalogue, by)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (xr.DataArray(list("xyz"), dims="scene", name="q"), "'q' has 3 labels for 10 scenes"),
        (xr.DataArray(["x"] * 10, dims="tile", name="q"), r"have dims \('scene',\); 'q' has \('tile',\)"),
        (xr.DataArray([["x"] * 10], dims=("n", "scene")), r"have dims \('scene',\); 'label' has \('n', 'scene'\)"),
        (xr.DataArray("x", name="q"), r"have dims \('scene',\); 'q' has \(\)"),
    ],
    ids=["short", "other dimension", "two dimensions", "none"],
)
def test_labels_that_do_not_fit_the_scenes_are_refused(
    catalogue: xr.Dataset, labels: xr.DataArray, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        strata(catalogue, labels)


def test_labels_that_lack_scenes_are_refused(catalogue: xr.Dataset) -> None:
    first = catalogue["scene"].values[1]
    labels = catalogue.annotator.isel(scene=[0, 2, 3, 4, 5, 6, 7, 9]).rename("who")
    with pytest.raises(QueryError, match=rf"'who' has no label for 2 scenes, the first is {first}"):
        strata(catalogue, labels)


def test_two_different_strata_of_one_name_are_refused(catalogue: xr.Dataset) -> None:
    first, second = _labels(["x", "y"] * 5, None), _labels(["y", "x"] * 5, None)
    with pytest.raises(QueryError, match="two different strata would be named 'label=x'; give each DataArray a name"):
        strata(catalogue, [first, second])
    assert len(_members(catalogue, [first, second.rename("other")])) == 4
    with pytest.raises(QueryError, match="two different strata would be named 'difficulty=1'"):
        strata(catalogue, ["difficulty", catalogue.difficulty[::-1].drop_vars("scene")])


questions = st.lists(
    st.sampled_from([*TAG_NAMES, *map(str, TagGroup), "split", "season", "latitude_band", "difficulty", "mgrs_tile"]),
    max_size=4,
)


@given(by=questions, order=st.lists(st.integers(0, 9), unique=True))
@settings(max_examples=25, deadline=None)
def test_a_scene_belongs_to_the_same_strata_in_whatever_company(
    opened: xr.Dataset, by: list[str], order: list[int]
) -> None:
    """Strata of a part are the part of the strata; each question but a tag group puts every scene into one stratum."""
    whole, part = strata(opened, by), strata(opened.isel(scene=order), by)
    kept = [name for name in whole["stratum"].values if name in part["stratum"].values]
    xr.testing.assert_equal(part.sel(stratum=kept), whole.isel(scene=order).sel(stratum=kept))
    dropped = whole.drop_sel(stratum=kept)
    assert not dropped.isel(scene=order).any()
    for question in set(by) - set(map(str, TagGroup)) - set(TAG_NAMES):
        np.testing.assert_array_equal(part.sel(stratum=part["by"] == question).sum("stratum"), 1)
