"""Tables of the catalogue itself: prevalence counted in the masks, difficulty, tags; against plain numpy and pandas."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.query.stratification import strata
from s2cmc.schema.catalogue import DIFFICULTIES, TAG_NAMES, TAGS
from s2cmc.synthetic.table import NO_CLASS_PIXELS, TWO_CLASS_PIXELS, quirk_scenes

EVERYTHING = ["surface_type", "cloud_type", "snow_ice", "split", "season", "latitude_band", "difficulty", "scene"]
CLASSES = ["clear", "cloud", "cloud_shadow"]
PUBLISHED = ["clear_percent", "cloud_percent", "shadow_percent"]


def _counts(mask: np.ndarray) -> np.ndarray:
    """Pixels of each class in labels of any shape."""
    return np.array([(mask == number).sum() for number in range(3)])


def _planted(catalogue: xr.Dataset, quirk: str) -> int:
    """Position of the scene of a quirk."""
    scene = quirk_scenes(catalogue["scene"].to_series().reset_index(drop=True).to_frame("scene"))[quirk]
    return catalogue["scene"].values.tolist().index(scene)


def test_prevalence_is_that_of_the_pixels(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.prevalence()
    assert (dict(found.sizes), list(found.mask_class.values)) == ({"stratum": 1, "mask_class": 3}, CLASSES)
    counts = _counts(catalogue.mask.values)
    # Five pixels are not one-hot and have no label.
    assert counts.sum() == catalogue.mask.size - NO_CLASS_PIXELS - TWO_CLASS_PIXELS
    np.testing.assert_array_equal(found.pixels.sel(stratum="all"), counts)
    np.testing.assert_allclose(found.percent.sel(stratum="all"), 100 * counts / counts.sum(), rtol=1e-14)
    assert found.scenes.values.tolist() == [10]
    assert {name: str(variable.dtype) for name, variable in found.data_vars.items()} == {
        "scenes": "int64",
        "pixels": "int64",
        "percent": "float64",
        "published_percent": "float64",
        "difference": "float64",
        "differing_scenes": "int64",
    }
    assert all({"long_name", "units"} <= set(variable.attrs) for variable in found.data_vars.values())


def test_prevalence_by_everything(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.prevalence(EVERYTHING).compute()
    member = strata(catalogue, EVERYTHING)
    assert found.stratum.values.tolist() == member.stratum.values.tolist()
    assert found["by"].values.tolist() == member["by"].values.tolist()
    mask, table = catalogue.mask.values, np.stack([catalogue[name].values for name in PUBLISHED], axis=-1)
    for name in found.stratum.values:
        row, scenes = found.sel(stratum=name), member.sel(stratum=name).values
        counts = _counts(mask[scenes])
        assert int(row.scenes) == scenes.sum()
        np.testing.assert_array_equal(row.pixels, counts)
        assert int(row.differing_scenes) == (~catalogue.percentages_agree.values[scenes]).sum()
        if scenes.any():
            np.testing.assert_allclose(row.percent, 100 * counts / counts.sum(), rtol=1e-14)
            np.testing.assert_allclose(row.published_percent, table[scenes].mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.difference, found.percent - found.published_percent)
    assert {"scenes", "pixels", "differing_scenes"} <= {n for n, v in found.data_vars.items() if v.notnull().all()}


def test_a_stratum_without_scenes_has_no_percentage(catalogue: xr.Dataset) -> None:
    row = catalogue.clouds.select(difficulty=[2, 3]).clouds.prevalence("difficulty").sel(stratum="difficulty=1")
    assert (int(row.scenes), int(row.pixels.sum()), int(row.differing_scenes)) == (0, 0, 0)
    for name in ("percent", "published_percent", "difference"):
        assert row[name].isnull().all()


def test_a_scene_without_labels_has_a_published_percentage_alone(catalogue: xr.Dataset) -> None:
    unlabelled = catalogue.assign(mask=catalogue.mask.where(catalogue["index"] != 2, 255).astype("uint8"))
    found = unlabelled.clouds.prevalence(["scene"]).compute()
    row = found.sel(stratum=catalogue["scene"].values[2])
    assert (int(row.scenes), int(row.pixels.sum())) == (1, 0)
    assert row.percent.isnull().all()
    assert row.published_percent.values.tolist() == [catalogue[name].values[2] for name in PUBLISHED]
    # Beside others it adds no pixel.
    np.testing.assert_array_equal(found.pixels.sel(stratum="all"), _counts(np.delete(catalogue.mask.values, 2, 0)))


def test_shadow_that_only_the_table_has_is_found(catalogue: xr.Dataset) -> None:
    """The mask of one scene is clear where the table counts shadow, as in a scene of the real release."""
    odd = _planted(catalogue, "shadow_only_in_table")
    found = catalogue.clouds.prevalence("scene").compute()
    row = found.sel(stratum=catalogue["scene"].values[odd])
    assert int(row.differing_scenes) == 1
    shadow = catalogue.shadow_percent.values[odd]
    assert shadow > 0
    np.testing.assert_allclose(row.difference, [shadow, 0, -shadow], atol=1e-12)
    # The table of one more scene counts its pixels that are not one-hot. All others are alike.
    others = {catalogue["scene"].values[i] for i in (odd, _planted(catalogue, "mask_not_one_hot"))}
    differing = found.differing_scenes.to_series()
    assert set(differing.index[differing > 0]) == {"all", *others}
    assert differing["all"] == 2
    alike = found.drop_sel(stratum=["all", *others])
    np.testing.assert_allclose(alike.difference, 0, atol=1e-12)


@pytest.mark.usefixtures("no_compute")
def test_prevalence_reads_nothing_until_it_is_computed(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.prevalence(EVERYTHING)
    for name in ("pixels", "percent", "difference"):
        assert found[name].chunks is not None
        with pytest.raises(AssertionError, match="a pixel was read"):
            found[name].compute()
    # What the coordinates know is at hand.
    for name in ("scenes", "published_percent", "differing_scenes"):
        assert found[name].chunks is None
    assert int(found.scenes.sel(stratum="all")) == 10


@pytest.fixture(scope="module")
def loaded(opened: xr.Dataset) -> xr.Dataset:
    """The masks in memory. Not to be changed."""
    return opened[["mask"]].compute()


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_chunks_and_the_order_of_scenes_change_nothing(loaded: xr.Dataset, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(10)), label="order")
    chunks = {"scene": data.draw(st.integers(1, 10), label="scenes"), "y": data.draw(st.integers(9, 64), label="rows")}
    by = data.draw(st.sampled_from(["cloud_extent", "season", "split", None]), label="by")
    shuffled = loaded.isel(scene=order).chunk(chunks).clouds.prevalence(by).compute(scheduler="synchronous")
    plain = loaded.clouds.prevalence(by)
    xr.testing.assert_allclose(shuffled, plain, rtol=1e-12)
    xr.testing.assert_identical(shuffled.pixels, plain.pixels)


def test_a_loaded_catalogue_gives_the_same(catalogue: xr.Dataset, loaded: xr.Dataset) -> None:
    xr.testing.assert_identical(loaded.clouds.prevalence("split"), catalogue.clouds.prevalence("split").compute())


def test_prevalence_is_of_the_pixels_that_are_kept(catalogue: xr.Dataset) -> None:
    part = catalogue.isel(y=slice(8, 24), x=slice(None, None, 2)).transpose("x", "y", ...)
    np.testing.assert_array_equal(
        part.clouds.prevalence().pixels.sel(stratum="all"), _counts(catalogue.mask.values[:, 8:24, ::2])
    )


def test_what_is_no_question_is_refused(catalogue: xr.Dataset) -> None:
    with pytest.raises(QueryError, match="no question 'sno' to ask by"):
        catalogue.clouds.prevalence("sno")


@pytest.mark.parametrize(
    ("absent", "by"), [("clear_percent", None), ("snow_ice", "snow_ice"), ("dataset", "split"), ("time", "season")]
)
def test_a_coordinate_that_was_dropped_is_named(catalogue: xr.Dataset, absent: str, by: str | None) -> None:
    with pytest.raises(CatalogueError, match=absent):
        catalogue.drop_vars(absent).clouds.prevalence(by)


def test_a_single_scene_is_a_catalogue_of_one(catalogue: xr.Dataset) -> None:
    of_one = catalogue.isel(scene=[0]).clouds.prevalence(by="dataset")
    assert of_one.scenes.values.tolist() == [1, 1, 0, 0]
    xr.testing.assert_equal(catalogue.isel(scene=0).clouds.prevalence(by="dataset"), of_one)


@pytest.mark.usefixtures("no_compute")
def test_tag_frequencies(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.tag_frequencies()
    assert (dict(found.sizes), list(found.tag.values)) == ({"tag": 24}, list(TAG_NAMES))
    expected = catalogue[list(TAG_NAMES)].to_dataframe()[list(TAG_NAMES)].sum()
    assert found.scenes.to_series().to_dict() == expected.to_dict()
    np.testing.assert_allclose(found.percent, 100 * expected / 10)
    assert (found.scenes.dtype, found.percent.dtype) == ("int64", "float64")
    assert found.tag_group.values.tolist() == [str(tag.group) for tag in TAGS]
    assert found.percent.attrs["units"] == "percent"


@pytest.mark.usefixtures("no_compute")
def test_difficulty(catalogue: xr.Dataset) -> None:
    part = catalogue.clouds.select("difficulty != 3")
    found = part.clouds.difficulty()
    expected = part.difficulty.to_series().value_counts().reindex(DIFFICULTIES, fill_value=0)
    assert found.scenes.to_series().to_dict() == expected.to_dict()
    assert expected[3] == 0
    np.testing.assert_allclose(found.percent, 100 * expected / part.sizes["scene"])
    assert (found.scenes.dtype, found.percent.dtype) == ("int64", "float64")


@pytest.mark.usefixtures("no_compute")
def test_tag_cooccurrence(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.tag_cooccurrence()
    assert (found.dims, found.dtype) == (("tag", "other_tag"), "int64")
    assert list(found.tag.values) == list(found.other_tag.values) == list(TAG_NAMES)
    flags = catalogue[list(TAG_NAMES)].to_dataframe()[list(TAG_NAMES)]
    for one in TAG_NAMES:
        for other in TAG_NAMES:
            assert int(found.sel(tag=one, other_tag=other)) == (flags[one] & flags[other]).sum()
    np.testing.assert_array_equal(np.diagonal(found), catalogue.clouds.tag_frequencies().scenes)


def test_a_catalogue_without_scenes_has_tables_of_nothing(catalogue: xr.Dataset) -> None:
    nothing = catalogue.clouds.select("difficulty > 5").clouds
    for table in (nothing.prevalence(["split", "snow_ice"]).compute(), nothing.tag_frequencies(), nothing.difficulty()):
        assert (table.scenes == 0).all()
        assert table.percent.isnull().all()
    assert (nothing.tag_cooccurrence() == 0).all()
    assert nothing.prevalence().sizes["stratum"] == 1
