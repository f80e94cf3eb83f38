"""Counts made once answer every later question: by other strata, of fewer scenes, against any annotator."""

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

from s2cmc.errors import CatalogueError, PredictionError, QueryError

pytestmark = pytest.mark.slow

SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
OVERALL = ["cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]


@pytest.fixture(scope="module")
def result(opened: xr.Dataset, counts: xr.Dataset) -> xr.Dataset:
    """Scores of `labels`."""
    return opened.clouds.evaluate(counts, "difficulty", resamples=50)


def test_counts_computed_or_lazy_score_like_the_prediction(
    opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset
) -> None:
    for prediction in (labels, labels.chunk(scene=3, y=50), opened.clouds.confusion(labels)):
        xr.testing.assert_identical(opened.clouds.evaluate(prediction, "difficulty", resamples=50), result)


def test_masks_that_several_counts_need_are_read_once(opened: xr.Dataset, labels: xr.DataArray) -> None:
    read = []

    def note(block: np.ndarray) -> np.ndarray:
        read.append(len(block))
        return block

    mask = opened.mask
    watched = opened.assign(mask=mask.copy(data=mask.data.map_blocks(note, dtype="uint8", meta=mask.data._meta)))
    # Of all scenes for the prediction, and of the doubly annotated ones for the human ceiling.
    watched.clouds.evaluate(labels, resamples=20)
    assert read == [1] * 10


def test_counts_written_to_a_file_score_like_the_prediction(
    opened: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, tmp_path: Path
) -> None:
    counts[["confusion", "ignored", "human"]].reset_coords(drop=True).drop_encoding().to_zarr(
        tmp_path / "counts.zarr", zarr_format=2
    )
    again = xr.open_zarr(tmp_path / "counts.zarr")
    found = opened.clouds.evaluate(again, "difficulty", resamples=50)
    xr.testing.assert_equal(found, result)
    assert found.attrs == result.attrs


def test_counts_of_a_bigger_catalogue_serve_a_selection(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset
) -> None:
    cirrus = opened.clouds.select("cirrus").isel(scene=slice(None, None, -1))
    assert 0 < cirrus.sizes["scene"] < 10
    found = cirrus.clouds.evaluate(counts, resamples=50)
    xr.testing.assert_identical(found, cirrus.clouds.evaluate(labels, resamples=50))
    of_stratum = opened.clouds.evaluate(counts, "cirrus", resamples=50).sel(stratum="cirrus").drop_vars("by")
    xr.testing.assert_equal(of_stratum.drop_vars("stratum"), found.sel(stratum="all").drop_vars(["by", "stratum"]))


def test_counts_of_parts_score_like_those_of_the_whole(
    opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset
) -> None:
    parts = [{"y": slice(0, 30)}, {"y": slice(30, None)}]
    upper, lower = (opened.isel(part).clouds.confusion(labels.isel(part)) for part in parts)
    xr.testing.assert_identical(opened.clouds.evaluate(upper + lower, "difficulty", resamples=50), result)


def test_counts_that_lack_scenes_are_refused(opened: xr.Dataset, counts: xr.Dataset) -> None:
    with pytest.raises(PredictionError, match="do not hold every scene to evaluate on") as caught:
        opened.clouds.evaluate(counts.isel(scene=slice(2, None)))
    assert caught.value.problems == tuple(f"scene {scene} is missing" for scene in opened.scene.values[:2])


def test_another_dataset_is_no_counts(opened: xr.Dataset, result: xr.Dataset) -> None:
    for other in (result, opened[["mask"]]):
        with pytest.raises(PredictionError, match=r"counts are what ds\.clouds\.confusion\(prediction\) gives"):
            opened.clouds.evaluate(other)


@pytest.mark.parametrize(
    "option",
    [{"class_map": "sen2cor"}, {"threshold": 0.5}, {"boundary_buffer": 2}, {"merge_shadow": True}, {"truth": "other"}],
    ids=str,
)
def test_options_of_counting_that_come_too_late_are_refused(
    option: dict, opened: xr.Dataset, counts: xr.Dataset
) -> None:
    (name,) = option
    with pytest.raises(QueryError, match=rf"{name}={option[name]!r} comes too late: .*ds\.clouds\.confusion"):
        opened.clouds.evaluate(counts, **option)


def test_options_of_counting_that_are_those_of_the_counts_are_welcome(opened: xr.Dataset, labels: xr.DataArray) -> None:
    options = {"class_map": "catalogue", "boundary_buffer": 1, "merge_shadow": True, "truth": "B"}
    counts = opened.clouds.confusion(labels, **options)
    found = opened.clouds.evaluate(counts, resamples=20, **options)
    xr.testing.assert_identical(found, opened.clouds.evaluate(labels, resamples=20, **options))


@pytest.mark.parametrize("truth", ["other", "A", "B"])
def test_the_truth_is_any_annotators(truth: str, opened: xr.Dataset, labels: xr.DataArray) -> None:
    masks = opened.clouds.masks(truth)
    assert 0 < masks.sizes["scene"] < 10
    found = opened.clouds.evaluate(labels, "dataset", truth=truth, resamples=20)
    # A catalogue where these masks are the main ones.
    theirs = opened.sel(scene=masks.scene.values)
    theirs["mask"] = masks.drop_vars("annotator")
    expected = theirs.clouds.evaluate(labels, "dataset", resamples=20)
    own = [name for name in found if not name.startswith("human_")]
    xr.testing.assert_equal(found[own], expected[own])
    assert found.scenes.sel(stratum="all", mask_class="cloud") == masks.sizes["scene"]


def test_the_truth_of_both_annotators_differs(opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset) -> None:
    both = opened.clouds.select(has_alt_mask=True)
    primary, other = (both.clouds.evaluate(labels, truth=truth, resamples=20) for truth in ("primary", "other"))
    assert (primary.tp != other.tp).any()
    xr.testing.assert_equal(primary.scenes, other.scenes)


def test_a_truth_that_no_scene_has_leaves_nothing_to_score(opened: xr.Dataset, labels: xr.DataArray) -> None:
    alone = opened.clouds.select(has_alt_mask=False)
    found = alone.clouds.evaluate(labels, truth="other", resamples=20)
    assert int(found.scenes.sum()) == 0
    assert found.f1.isnull().all()


def test_other_masks_are_needed_for_another_truth_only(opened: xr.Dataset, labels: xr.DataArray) -> None:
    without = opened.drop_vars("alt_mask")
    found = without.clouds.evaluate(labels, resamples=20)
    xr.testing.assert_equal(found.f1, opened.clouds.evaluate(labels, resamples=20).f1)
    assert found.human_f1.isnull().all()
    with pytest.raises(CatalogueError, match="no 'alt_mask', which holds masks of the other annotator; keep it"):
        without.clouds.evaluate(labels, truth="other")


def test_a_prediction_that_is_off_by_a_pixel_is_right_away_from_boundaries(opened: xr.Dataset) -> None:
    mask = opened.mask.values
    # Each pixel gets the label of its upper left neighbour; those of the edges keep their own.
    beside = np.pad(mask, ((0, 0), (1, 0), (1, 0)), mode="edge")[:, :-1, :-1]
    labels = opened.mask.copy(data=beside)
    strict, lenient = (opened.clouds.evaluate(labels, boundary_buffer=n, resamples=20) for n in (0, 1))
    for name in [*SCORES, *OVERALL]:
        assert (strict[name] < 1).all(), name
        assert (lenient[name] == 1).all(), name
    assert (int(strict.ignored_boundary[0]), int(lenient.ignored_boundary[0]) > 0) == (0, True)


def test_merged_shadow_is_clear_on_both_sides(opened: xr.Dataset, labels: xr.DataArray) -> None:
    found = opened.clouds.evaluate(labels, merge_shadow=True, resamples=20)
    assert found.mask_class.values.tolist() == ["non_cloud", "cloud"]
    expected = opened.clouds.evaluate(labels.where(labels != 255) == 1, resamples=20)
    unlabelled = int(((labels == 255) & (opened.mask.values != 255)).sum())
    assert int(found.ignored_prediction[0]) == unlabelled
    # Without its few unlabelled pixels it is the prediction of cloud alone.
    changed = np.abs(found[["tp", "fp", "fn", "tn"]] - expected[["tp", "fp", "fn", "tn"]]).to_array()
    assert int(changed.max()) <= unlabelled


def test_an_empty_selection_has_no_scores(opened: xr.Dataset, counts: xr.Dataset) -> None:
    nothing = opened.clouds.select("difficulty > 5")
    found = nothing.clouds.evaluate(counts, "difficulty", resamples=20)
    assert int(found.scenes.sum()) == 0
    assert found[SCORES].to_array().isnull().all()


def test_counts_at_hand_need_no_pixel(opened: xr.Dataset, counts: xr.Dataset) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a pixel was read")

    with dask.config.set(scheduler=refuse):
        found = opened.clouds.evaluate(counts, "cirrus", resamples=20)
    assert found["human_f1"].sel(stratum="all").notnull().any()


def test_the_human_is_counted_in_the_pixels_of_the_prediction(opened: xr.Dataset) -> None:
    # Pixels that the annotators do not agree on get no class, so that both are right wherever the prediction is scored.
    agreed = opened.mask.where(opened.mask == opened.alt_mask, 255).astype("uint8")
    found = opened.clouds.evaluate(agreed, resamples=20).isel(stratum=0)
    for whose in ("human", "doubly"):
        assert set(found[f"{whose}_f1"].dropna("mask_class").values.tolist()) == {1.0}


def test_counts_made_otherwise_do_not_mix(opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset) -> None:
    buffered = opened.clouds.confusion(labels, boundary_buffer=1).compute()
    with pytest.raises(PredictionError, match="do not say boundary_buffer: parts that were counted with other options"):
        opened.clouds.evaluate(counts + buffered)
    twice = xr.concat([counts, counts.isel(scene=[0])], "scene")
    with pytest.raises(PredictionError, match="hold a scene twice"):
        opened.clouds.evaluate(twice)


def test_an_array_without_names_is_no_path(opened: xr.Dataset, labels: xr.DataArray) -> None:
    with pytest.raises(PredictionError, match=r"wrap an array with xr.DataArray\(.*got ndarray$"):
        opened.clouds.confusion(labels.values)
