"""Differences between two predictions, on the same scenes and resamples."""

import numpy as np
import pytest
import xarray as xr

from s2cmc.errors import PredictionError, QueryError

SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
OVERALL = ["cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]


def _moved(opened: xr.Dataset, by: int) -> xr.DataArray:
    """The masks moved by some pixels: the farther, the worse."""
    moved = np.roll(opened.mask.values, (by, by), axis=(1, 2))
    return xr.DataArray(moved, dims=("scene", "y", "x"), coords={"scene": opened.scene.values})


def _all_clear(opened: xr.Dataset) -> xr.DataArray:
    """A prediction of nothing but clear."""
    return xr.DataArray(
        np.zeros((10, 64, 64), "uint8"), dims=("scene", "y", "x"), coords={"scene": opened.scene.values}
    )


@pytest.fixture(scope="module")
def good(opened: xr.Dataset) -> xr.Dataset:
    return opened.clouds.confusion(_moved(opened, 2)).compute()


@pytest.fixture(scope="module")
def bad(opened: xr.Dataset) -> xr.Dataset:
    return opened.clouds.confusion(_moved(opened, 8)).compute()


def test_identical_predictions_do_not_differ(opened: xr.Dataset, good: xr.Dataset) -> None:
    found = opened.clouds.compare(good, _moved(opened, 2), "difficulty", resamples=50)
    for variable in found.drop_vars(
        ["scenes", "groups", *(f"ignored_prediction_{n}" for n in ("first", "second"))]
    ).values():
        assert (variable.fillna(0) == 0).all()
    assert (found[SCORES].sel(stratum="all").to_array() == 0).all()
    for end in ("lower", "upper"):
        assert (found[f"f1_{end}"].sel(stratum="all") == 0).all()


def test_a_difference_is_that_of_the_scores(opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset) -> None:
    found = opened.clouds.compare(good, bad, ["difficulty", "surface_type"], resamples=50)
    first, second = (opened.clouds.evaluate(c, ["difficulty", "surface_type"], resamples=50) for c in (good, bad))
    for name in [*SCORES, *OVERALL]:
        np.testing.assert_allclose(found[name], first[name] - second[name], atol=1e-15)
    assert found.mask_class.values.tolist() == ["clear", "cloud", "cloud_shadow"]
    assert found.stratum.values.tolist() == first.stratum.values.tolist()


def test_the_better_one_is_ahead(opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset) -> None:
    ahead, behind = (
        opened.clouds.compare(*pair, resamples=200).sel(stratum="all", mask_class="cloud")
        for pair in ((good, bad), (bad, good))
    )
    assert ahead.f1 > 0 > behind.f1
    assert 0 < ahead.f1_lower < ahead.f1 < ahead.f1_upper
    # The same resamples, the other way round.
    for name in ("f1", "recall", "cloud_kappa"):
        np.testing.assert_allclose(ahead[f"{name}_lower"], -behind[f"{name}_upper"], atol=1e-12)


def test_what_is_hard_for_both_cancels_out(opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset) -> None:
    def width(found: xr.Dataset) -> float:
        return float((found.f1_upper - found.f1_lower).sel(stratum="all", mask_class="cloud"))

    single = [width(opened.clouds.evaluate(counts, resamples=200)) for counts in (good, bad)]
    assert width(opened.clouds.compare(good, bad, resamples=200)) < sum(single)


def test_a_comparison_records_its_options(opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset) -> None:
    found = opened.clouds.compare(good, bad, resamples=20, confidence=0.9, seed=4)
    assert {name: found.attrs[name] for name in ("resamples", "confidence", "seed")} == {
        "resamples": 20,
        "confidence": 0.9,
        "seed": 4,
    }
    assert all({"long_name", "units"} <= set(variable.attrs) for variable in found.data_vars.values())
    xr.testing.assert_identical(found, opened.clouds.compare(good, bad, resamples=20, confidence=0.9, seed=4))


def test_lazy_counts_are_compared_too(opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset) -> None:
    lazy = [opened.clouds.confusion(_moved(opened, by).chunk(scene=4)) for by in (2, 8)]
    expected = opened.clouds.compare(good, bad, resamples=20)
    xr.testing.assert_identical(opened.clouds.compare(*lazy, resamples=20), expected)


@pytest.mark.parametrize("part", [slice(0, 7), [8, 3, 1]], ids=str)
def test_a_selection_is_compared_by_the_counts_of_all(
    part: slice | list, opened: xr.Dataset, good: xr.Dataset, bad: xr.Dataset
) -> None:
    some = opened.isel(scene=part)
    expected = some.clouds.compare(good.isel(scene=part), bad.isel(scene=part), resamples=20)
    xr.testing.assert_identical(some.clouds.compare(good, bad, resamples=20), expected)


@pytest.mark.usefixtures("no_compute")
def test_predictions_that_were_not_counted_alike_are_refused(opened: xr.Dataset) -> None:
    labels = _all_clear(opened)
    three = opened.clouds.confusion(labels)
    refused = {
        r"the classes are \['clear', 'cloud', 'cloud_shadow'\] and \['non_cloud', 'cloud'\]; .*merge_shadow=True": (
            opened.clouds.confusion(labels == 1)
        ),
        "truth is primary and A": opened.clouds.confusion(labels, truth="A"),
        "boundary_buffer is 0 and 2": opened.clouds.confusion(labels, boundary_buffer=2),
    }
    for message, other in refused.items():
        with pytest.raises(PredictionError, match=f"were not counted alike: {message}"):
            opened.clouds.compare(three, other)


def test_merged_counts_are_compared_with_those_of_a_cloud_mask(opened: xr.Dataset) -> None:
    labels = _moved(opened, 4).where(lambda p: p != 255, 0)
    merged = opened.clouds.confusion(labels, merge_shadow=True)
    found = opened.clouds.compare(merged, opened.clouds.confusion(labels == 1), resamples=20)
    assert found.mask_class.values.tolist() == ["non_cloud", "cloud"]
    assert (found[["f1", "cloud_kappa"]].to_array() == 0).all()


@pytest.mark.usefixtures("no_compute")
def test_counts_of_other_scenes_are_refused(opened: xr.Dataset, good: xr.Dataset) -> None:
    for pair in ((good, good[{"scene": slice(0, 9)}]), (good[{"scene": slice(0, 9)}], good)):
        with pytest.raises(PredictionError, match=rf"every scene to evaluate on\n  - scene {opened.scene.values[9]}"):
            opened.clouds.compare(*pair)


@pytest.mark.usefixtures("no_compute")
def test_a_prediction_that_does_not_fit_is_refused(opened: xr.Dataset, good: xr.Dataset) -> None:
    labels = _all_clear(opened)
    with pytest.raises(PredictionError, match="y has 60 pixels"):
        opened.clouds.compare(good, labels[:, :60])
    with pytest.raises(PredictionError, match="need a threshold"):
        opened.clouds.compare(labels / 2.0, good)
    with pytest.raises(QueryError, match="resamples 0 is no whole number from 1 on"):
        opened.clouds.compare(good, good, resamples=0)
